"""Self-supervised training before the task: what it hands over; it resumes."""

import jax
import numpy as np
import pytest

from nema_lc_jax.runs.metrics_log import read_metrics
from nema_lc_jax.training import train
from nema_lc_jax.training.experiment import (
  make_experiment,
  make_pretraining,
)
from nema_lc_jax.training.loop import TrainLoop
from tests.helpers import run, tiny_config


def config_of(**pretrain):
  config = tiny_config()
  config.memory.policy = "fifo"
  config.train.curriculum = ()
  config.eval.length_multipliers = (1,)
  config.pretrain.update({"steps": 6, **pretrain})
  return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run's summary; its parameters before and after each training."""
  seen = {}
  fit = TrainLoop.run

  def noting(self):
    before = jax.device_get(self.state.params)
    fit(self)
    after = jax.device_get(self.state.params)
    seen[self.experiment.dataset.head] = before, after

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(TrainLoop, "run", noting)
    summary = run(config_of(), tmp_path_factory.mktemp("whole"))
  return summary, seen


def test_all_but_the_head_is_handed_over(whole):
  _, seen = whole
  assert list(seen) == ["masked_lm", "classify"]
  _, pretrained = seen["masked_lm"]
  started, _ = seen["classify"]
  fresh = make_experiment(config_of()).steps.init(0, 1.0)
  assert set(pretrained) == set(started) == set(fresh.params)
  expected = pretrained | {"head": jax.device_get(fresh.params["head"])}
  jax.tree.map(np.testing.assert_array_equal, started, expected)


class Killed(BaseException):
  """Stands for a kill, which no code can catch."""


def test_a_killed_pretraining_resumes_exactly(
  whole, tmp_path, monkeypatch, capsys
):
  save = TrainLoop.save

  def dying(self, step):
    save(self, step)
    if self.train.steps == 6:
      raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(TrainLoop, "save", dying)
    with pytest.raises(Killed):
      train.run(config_of(), tmp_path)
  capsys.readouterr()
  resumed = run(config_of(), tmp_path)
  assert "masked_lm of recall, from step 3 to 6" in capsys.readouterr().out
  assert resumed.params_sha256 == whole[0].params_sha256
  rows = read_metrics(tmp_path / "pretrain")
  steps = [row["step"] for row in rows if row["split"] == "train"]
  assert steps == [2, 3, 4, 6]


def test_every_part_learns_from_hidden_tokens():
  """All that is handed over has a gradient to be worth it."""
  config = config_of()
  config.memory.policy = "learned"
  experiment = make_pretraining(make_experiment(config))
  stage = experiment.stages[0]
  state = experiment.steps.init(0, 1e-2)
  before = jax.device_get(state.params)
  batches = experiment.batches(stage)
  step = experiment.steps.train_step(stage.num_slots)
  for _ in range(4):
    state, _ = step(state, experiment.steps.put(next(batches)))
  after = jax.device_get(state.params)
  for part in before:
    moved = jax.tree.map(
      lambda a, b: np.abs(a - b).max(), before[part], after[part]
    )
    assert max(jax.tree.leaves(moved)) > 1e-4, part


@pytest.mark.parametrize(
  ("pretrain", "message"),
  [
    ({"steps": -1}, "config.pretrain.steps must be a whole number, at least 0"),
    (
      {"objective": "mask"},
      "must be one of masked_lm, causal_lm; got",
    ),
    (
      {"learning_rate": 0.0},
      "config.pretrain.learning_rate must be a number, above 0",
    ),
  ],
)
def test_what_cannot_be_is_said_before_anything_runs(
  tmp_path, pretrain, message
):
  with pytest.raises(ValueError, match=message) as error:
    train.run(config_of(**pretrain), tmp_path / "run")
  assert not (tmp_path / "run").exists()
  assert "\n" not in str(error.value)
