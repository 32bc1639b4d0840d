"""A run's config as JSON, and what a command line changes in it."""

import json
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import CONFIG_FILE

# Fields that may be unset, whose types JSON does not keep.
UNSET = {"data.dir": str, "data.path": str, "model.truncate": int}


def load_config(workdir: str | Path) -> ConfigDict:
  """The config that a run was started with.

  Raises:
    ConfigError: if the folder holds no run.
  """
  return config_from_json(read_json(workdir, CONFIG_FILE))


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


def read_json(workdir: str | Path, name: str) -> dict[str, Any]:
  """A JSON file of a run's folder.

  Raises:
    ConfigError: in one line, if it is not there or damaged.
  """
  path = Path(workdir) / name
  try:
    return json.loads(path.read_text())
  except OSError:
    raise ConfigError(
      f"{workdir} is not the folder of a run: it has no {name}."
    ) from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged: {error}.") from None
