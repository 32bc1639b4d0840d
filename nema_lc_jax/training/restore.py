"""Restores the experiment and the best state of a run from its folder."""

from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from nema_lc_jax import data
from nema_lc_jax.data.byte_text import VOCAB_SIZE
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
  load_data,
  make_experiment,
)
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.steps import TrainState
from nema_lc_jax.training.task import SIZES, TaskSpec, task_spec

# Training examples that are compared with those of another file, at most.
MOST_COMPARED = 2**18


def read_task_spec(workdir: str | Path) -> TaskSpec:
  """The task spec of a run's model.

  Runs of older versions have not kept what the numbers mean. It is taken from
  their data, if these are there and have not changed.
  """
  fields = read_json(workdir, TASK_FILE)
  fields["head"] = RENAMED_HEADS.get(fields["head"], fields["head"])
  if "label_names" in fields:
    lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
    return TaskSpec(**fields | lists)
  spec = TaskSpec(**fields, byte_level=fields["vocab_size"] == VOCAB_SIZE)
  try:
    dataset = load_data(_saved_config(workdir))
    found = task_spec(dataset)
  except ValueError:
    return spec
  changed = other_data(workdir, dataset.fingerprint)
  same = all(getattr(found, name) == fields[name] for name in SIZES)
  return spec if changed or not same else found


def _saved_config(workdir: str | Path) -> ConfigDict:
  """A run's config, without places that its data set does not read."""
  config = read_config(workdir)
  settle(config, ())
  return config


def restore_best(experiment: Experiment, workdir: str | Path) -> TrainState:
  """Restores the best state of a run.

  Raises:
    ConfigError: if the run has none yet, or its model is another one.
  """
  with checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1) as best:
    try:
      restored = best.restore(experiment.steps.template.replace(memory=None))
    except RunError as error:  # The run is only read: it did not fail.
      raise ConfigError(str(error)) from None
  if restored is None:
    raise ConfigError(f"{workdir} has no best checkpoint yet: train it first.")
  return restored.state


def open_run(
  workdir: str | Path, config: ConfigDict | None = None
) -> tuple[Experiment, TrainState]:
  """Opens a run: its experiment and its best state.

  Warns if the run's own data are used and have changed. Other data are read in
  the run's numbers of tokens and labels.

  Args:
    workdir: folder of the run.
    config: replaces the run's own, for other data.

  Raises:
    ConfigError: in one line, if there is no such run, or if this version builds
      another model from its config.
  """
  trained = read_config(workdir)
  config = _saved_config(workdir) if config is None else config
  task = read_task_spec(workdir)
  experiment = make_experiment(config, task)
  dataset = experiment.dataset
  changed = other_data(workdir, dataset.fingerprint)
  if config.data.to_json() == trained.data.to_json() and changed:
    logging.warning(changed)
  if changed and config.data.name == "file" and not task.label_names:
    _require_no_names(workdir, dataset)
  if dataset.split_by_seed and not changed and config.seed != trained.seed:
    raise ConfigError(
      f"config.seed must be {trained.seed}, as in training, got {config.seed}:"
      " it splits the file, and another seed would test on trained examples."
    )
  return experiment, restore_best(experiment, workdir)


def _require_no_names(workdir: str | Path, dataset: data.Dataset) -> None:
  """Raises ConfigError if the labels of a file have names."""
  if dataset.label_names:
    raise ConfigError(
      f"{workdir} is of an older version, which has not kept the names of its"
      " labels, and its own data have changed or are gone: which of its classes"
      f" is {dataset.label_names[0]!r} cannot be told."
    )


def trained_examples(
  workdir: str | Path, experiment: Experiment, split: str
) -> int | None:
  """How many examples of a split the run was trained on; None if unknown.

  Texts are compared as the model reads them. It is unknown where the run's own
  data have changed or are not there any more, or have more than MOST_COMPARED
  training examples, as those that are drawn anew.
  """
  length = experiment.config.data.length
  try:
    own = load_data(_saved_config(workdir))
    if other_data(workdir, own.fingerprint):
      return None
    trained = read_task_spec(workdir).fit(own).evaluation("train", length)
  except ValueError:
    return None
  if len(trained) > MOST_COMPARED:
    return None
  known = set(map(_tokens, map(trained.__getitem__, range(len(trained)))))
  evaluated = experiment.dataset.evaluation(split, length)
  return sum(_tokens(evaluated[i]) in known for i in range(len(evaluated)))


def _tokens(example: data.Example) -> tuple[bytes, ...]:
  """What a model reads of an example."""
  return tuple(
    np.where(example["mask" + part], example["inputs" + part], -1).tobytes()
    for part in ("", "2")
    if "inputs" + part in example
  )
