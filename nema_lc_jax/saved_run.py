"""What the folder of a run says of it: its config, its data, its best state."""

import json
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict, config_dict, config_flags

from nema_lc_jax import checkpoint
from nema_lc_jax.errors import ConfigError, RunError
from nema_lc_jax.experiment import (
  Experiment,
  Interface,
  make_experiment,
  state_template,
)
from nema_lc_jax.step import TrainState

CONFIG_FILE = "config.json"
INTERFACE_FILE = "interface.json"
DATA_FILE = "data.json"  # the fingerprint of what a run was begun on
# Fields that may be unset, whose types JSON does not keep.
UNSET = {"data.dir": str, "data.path": str, "model.truncate": int}


def load_config(workdir: str | Path) -> ConfigDict:
  """The config that a run was started with.

  Raises:
    ConfigError: if the folder holds no run.
  """
  return config_from_json(_load_json(workdir, CONFIG_FILE))


def config_from_json(values: dict[str, Any]) -> ConfigDict:
  """A config as it was before it became JSON, which knows no tuples."""
  config = ConfigDict(values)
  for path, kind in UNSET.items():
    section, field = path.split(".")
    if config[section][field] is None:
      config[section][field] = config_dict.placeholder(kind)
  config.train.curriculum = tuple(map(tuple, config.train.curriculum))
  config.eval.lengths = tuple(config.eval.lengths)
  return config


def first_difference(found: Any, wanted: Any, path: str = "config") -> str:
  """Where two configs, as JSON values, first differ, in words."""
  for name in sorted({*found, *wanted}):
    here, there = found.get(name), wanted.get(name)
    if isinstance(here, dict) and isinstance(there, dict):
      if here != there:
        return first_difference(here, there, f"{path}.{name}")
    elif here != there:
      return f"{path}.{name} is {here!r} there and {there!r} here"
  return "no difference"


def override(config: ConfigDict, argv: list[str]) -> ConfigDict:
  """A config with what `--config.FIELD=VALUE` of a command line sets.

  Raises:
    ConfigError: on an unknown field or argument, or a value of another type.
  """
  values = flags.FlagValues()
  try:
    holder = config_flags.DEFINE_config_dict(
      "config", config, flag_values=values, sys_argv=argv
    )
    left = values(argv)[1:]
  except (flags.Error, AttributeError, KeyError, TypeError) as error:
    raise ConfigError(" ".join(str(error).split())) from None
  if left:
    raise ConfigError(f"unknown argument {left[0]!r}; see --help.")
  return holder.value


def load_interface(workdir: str | Path) -> Interface:
  """What the model of a run was built for."""
  return Interface(**_load_json(workdir, INTERFACE_FILE))


def other_data(workdir: str | Path, fingerprint: str) -> str | None:
  """What is wrong if a run was begun on other data; None if it was on these."""
  if not (Path(workdir) / DATA_FILE).exists():  # Killed before.
    return None
  found = _load_json(workdir, DATA_FILE).get("fingerprint", "unknown")
  if found == fingerprint:
    return None
  return (
    f"the run in {workdir} was begun on other data (fingerprint {found[:12]},"
    f" now {fingerprint[:12]})"
  )


def restore_best(experiment: Experiment, workdir: str | Path) -> TrainState:
  """The best state of a run.

  Raises:
    RunError: if the run has none yet, or it is of another model.
  """
  with checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1) as best:
    restored = best.restore(state_template(experiment))
  if restored is None:
    raise RunError(f"{workdir} has no best checkpoint yet: train it first.")
  return restored.state


def open_run(
  workdir: str | Path, config: ConfigDict
) -> tuple[Experiment, TrainState]:
  """A run's experiment with the data of `config`, and its best state.

  If these are to be the run's own, and have changed, that is said.

  Raises:
    ValueError, RunError: in one line, if there is no such run, or its model is
      another one than this version's.
  """
  experiment = make_experiment(config, load_interface(workdir))
  own = config.data.to_json() == load_config(workdir).data.to_json()
  changed = other_data(workdir, experiment.dataset.fingerprint)
  if own and changed:
    logging.warning(changed)
  return experiment, restore_best(experiment, workdir)


def _load_json(workdir: str | Path, name: str) -> dict[str, Any]:
  path = Path(workdir) / name
  try:
    return json.loads(path.read_text())
  except OSError:
    raise ConfigError(
      f"{workdir} is not the folder of a run: it has no {name}."
    ) from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged: {error}.") from None
