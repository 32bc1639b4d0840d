"""Small runs that tests share."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import lifecycle_lc, toy_lc
from nema_lc_jax.plotting import style
from nema_lc_jax.runs import files
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.training import checkpoint, train
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.task import task_spec


def tiny_config(variant: str = "recall", **train) -> ConfigDict:
  """A run of a few seconds, compile included."""
  configs = toy_lc if variant == "toy" else lifecycle_lc
  c = configs.get_config(variant)
  c.data.length = 80
  c.data.num_eval = 24
  c.data.num_test = 40
  c.eval.length_multipliers = (1, 2)
  c.eval.examples = 10
  c.eval.diagnostics = False  # two programs more to compile
  c.model.chunk_length = 8
  c.model.num_layers = 0  # fewer operations to compile
  c.model.width = 8
  c.model.num_heads = 2
  c.memory.num_slots = 3
  c.memory.controller.hidden = 4
  # Two stages, so that resuming crosses one.
  c.train.curriculum = ((0.375, 80, 4),)
  c.train.steps = 8
  c.train.batch_size = 8
  c.train.eval_batch_size = 16
  c.train.warmup_steps = 2
  c.train.log_every = 2
  c.train.eval_every = 3
  c.train.checkpoint_every = 3
  c.train.update(train)
  return c


def small_config() -> ConfigDict:
  """A run that compiles in a few seconds: without a memory."""
  c = tiny_config()
  c.model.encoder = "local"
  c.model.num_layers = 1
  c.model.num_layers_after = 0
  c.eval.length_multipliers = (1,)
  return c


@contextlib.contextmanager
def figures(*names: str) -> Iterator[None]:
  """Only the figures of these names are drawn.

  To draw all figures of a run takes longer than to train a tiny one.
  """
  save = style.save

  def save_some(figure, folder, name):
    if name in names:
      return save(figure, folder, name)
    folder.mkdir(parents=True, exist_ok=True)  # Tables go there, too.
    return []

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(style, "save", save_some)
    yield


def mistake_in(path: Path, source: str | None, use: Callable) -> str:
  """The line that a bad file of the user causes; a source of None: no file."""
  if source is not None:
    path.write_text(source)
  with pytest.raises(ValueError, match=r".") as error:
    use()
  assert "\n" not in str(error.value)
  return str(error.value)


def run(config: ConfigDict, workdir) -> Summary:
  """Trains a run, and draws none of its figures."""
  with figures():
    return train.run(config, str(workdir))


def save_run(config, folder):
  """A run's folder, as if its first state were its best."""
  experiment = make_experiment(config)
  files.write_json(folder / files.CONFIG_FILE, json.loads(config.to_json()))
  files.write_json(
    folder / files.TASK_FILE,
    dataclasses.asdict(task_spec(experiment.dataset)),
  )
  state = experiment.steps.init(np.uint32(0), np.float32(1e-3))
  with checkpoint.Checkpoints(folder, checkpoint.BEST, keep=1) as best:
    best.save(1, state, info={})
  return folder
