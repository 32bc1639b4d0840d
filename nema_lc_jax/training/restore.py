"""Restores the experiment and the best state of a run from its folder."""

import copy
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
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.steps import TrainState


def read_task_spec(workdir: str | Path) -> TaskSpec:
  """The task spec of a run's model."""
  fields = read_json(workdir, TASK_FILE)
  head = RENAMED_HEADS.get(fields["head"], fields["head"])
  return TaskSpec(**fields | {"head": head})


def restore_best(experiment: Experiment, workdir: str | Path) -> TrainState:
  """Restores the best state of a run.

  Raises:
    ConfigError: if the run has none yet, or its model is another one.
  """
  with checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1) as best:
    try:
      restored = best.restore(experiment.steps.template)
    except RunError as error:  # The run is only read: it did not fail.
      raise ConfigError(str(error)) from None
  if restored is None:
    raise ConfigError(f"{workdir} has no best checkpoint yet: train it first.")
  return restored.state


def open_run(
  workdir: str | Path, config: ConfigDict | None = None
) -> tuple[Experiment, TrainState]:
  """Opens a run: its experiment and its best state.

  Warns if the run's own data are used and have changed.

  Args:
    workdir: folder of the run.
    config: replaces the run's own, for other data.

  Raises:
    ConfigError: in one line, if there is no such run, or if this version builds
      another model from its config.
  """
  trained = read_config(workdir)
  if config is None:
    config = copy.deepcopy(trained)
    settle(config, ())
  experiment = make_experiment(config, read_task_spec(workdir))
  own_data = config.data.to_json() == trained.data.to_json()
  changed = other_data(workdir, experiment.dataset.fingerprint)
  if own_data and changed:
    logging.warning(changed)
  return experiment, restore_best(experiment, workdir)
