"""A finished run, read back: its experiment and its best state."""

from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError, RunError
from nema_lc_jax.runs.config_json import (
  RENAMED_HEADS,
  read_config,
  read_json,
)
from nema_lc_jax.runs.files import TASK_FILE
from nema_lc_jax.runs.folder import other_data
from nema_lc_jax.training import checkpoint
from nema_lc_jax.training.experiment import (
  Experiment,
  TaskSpec,
  make_experiment,
)
from nema_lc_jax.training.steps import TrainState


def read_task_spec(workdir: str | Path) -> TaskSpec:
  """What the model of a run was built for."""
  found = read_json(workdir, TASK_FILE)
  head = RENAMED_HEADS.get(found["head"], found["head"])
  return TaskSpec(**found | {"head": head})


def restore_best(experiment: Experiment, workdir: str | Path) -> TrainState:
  """The best state of a run.

  Raises:
    ConfigError: if the run has none yet, or it is of another model.
  """
  with checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1) as best:
    try:
      restored = best.restore(experiment.steps.template)
    except RunError as error:  # No run had to stop: this one is only read.
      raise ConfigError(str(error)) from None
  if restored is None:
    raise ConfigError(f"{workdir} has no best checkpoint yet: train it first.")
  return restored.state


def open_run(
  workdir: str | Path, config: ConfigDict | None = None
) -> tuple[Experiment, TrainState]:
  """A run's experiment and its best state.

  If the data are to be the run's own, and have changed, a warning says so.

  Args:
    workdir: folder of the run.
    config: in place of the run's own, for other data.

  Raises:
    ConfigError: in one line, if there is no such run, or its model is another
      one than this version's.
  """
  trained = read_config(workdir)
  config = trained if config is None else config
  experiment = make_experiment(config, read_task_spec(workdir))
  own = config.data.to_json() == trained.data.to_json()
  changed = other_data(workdir, experiment.dataset.fingerprint)
  if own and changed:
    logging.warning(changed)
  return experiment, restore_best(experiment, workdir)
