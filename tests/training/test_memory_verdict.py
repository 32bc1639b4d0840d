"""What a run's memory is reported as, by hand-made numbers."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from nema_lc_jax.models import make_policy
from nema_lc_jax.training import evaluation
from nema_lc_jax.training.evaluation import Evaluated, memory_verdict
from nema_lc_jax.training.experiment import make_experiment
from tests.helpers import tiny_config

CHUNKS = 10  # of tiny_config


def verdict(
  *, slots=3, policy="learned", rate=0.5, gain=(0.1, 0.2), candidates=1
):
  config = tiny_config()
  assert config.data.length == CHUNKS * config.model.chunk_length
  config.memory.update(num_slots=slots, policy=policy)
  config.memory.update(num_candidates=candidates, budget=1)
  result = {
    "metrics": {"accuracy": 0.6, "write_rate": rate},
    "accuracy_memory_off": 0.5,
    "memory_gain_interval": gain,
  }
  key = jax.random.key(0)
  params = make_policy(policy, width=8).init(
    key, num_slots=slots, num_candidates=candidates
  )
  template = SimpleNamespace(params={"policy": params})
  experiment = SimpleNamespace(
    config=config, has_memory=True, steps=SimpleNamespace(template=template)
  )
  return memory_verdict(experiment, result)


def my_gate(*, width):
  """A learned policy of one's own, by the name of this module."""
  return make_policy("write_gate", width=width)


def my_rule(*, width):
  return make_policy("fifo", width=width)


def test_a_memory_that_writes_and_helps_is_fine():
  assert verdict() is None


@pytest.mark.parametrize(
  ("wrong", "said"),
  [
    ({"rate": 0.0}, "nothing is written"),
    ({"rate": 1.0}, "everything is written"),
    ({"rate": 1.0, "slots": CHUNKS - 1}, "everything is written"),
    ({"rate": 0.25, "candidates": 4}, "everything is written"),
    ({"gain": (-0.1, 0.1)}, "is the same with the memory off"),
    ({"gain": (-0.2, -0.1)}, "is worse with the memory on"),
  ],
)
def test_what_is_wrong_is_said(wrong, said):
  assert said in verdict(**wrong)


@pytest.mark.parametrize(
  "fine",
  [
    {"slots": CHUNKS, "rate": 1.0},
    # No more than the budget is ever written.
    {"slots": CHUNKS, "rate": 0.25, "candidates": 4},
    {"policy": "fifo", "rate": 1.0},
  ],
)
def test_writing_everything_is_fine(fine):
  """Where there is room for it, or where the policy is to do just that."""
  assert verdict(**fine) is None


def test_a_policy_of_one_s_own_is_learned_if_it_has_parameters():
  full = "everything is written"
  assert full in verdict(policy=f"{__name__}:my_gate", rate=1.0)
  assert verdict(policy=f"{__name__}:my_rule", rate=1.0) is None


def warning(monkeypatch, *, rate, off, thorough):
  """After a validation of which the memory gets half of the answers right."""
  config = tiny_config()
  config.eval.examples = 20
  params = make_policy("learned", width=8).init(
    jax.random.key(0), num_slots=3, num_candidates=1
  )
  template = SimpleNamespace(params={"policy": params})
  experiment = SimpleNamespace(
    config=config, has_memory=True, steps=SimpleNamespace(template=template)
  )
  asked = []

  def evaluate(experiment, params, split, *, budget, limit):
    asked.append((split, budget, limit))
    return Evaluated({}, np.full(limit, off), np.ones(limit, int), None)

  monkeypatch.setattr(evaluation, "evaluate", evaluate)
  on = Evaluated(
    {"write_rate": rate}, np.array([1.0, 0.0] * 50), np.ones(100, int), None
  )
  line = evaluation.early_warning(experiment, None, on, thorough=thorough)
  assert asked == [("validation", 0, 20)] * thorough
  return line


@pytest.mark.parametrize(
  ("rate", "off", "young", "later"),
  [
    (0.5, 0.0, None, None),
    (0.0, 0.0, "nothing is written (write rate 0).",
     "nothing is written (write rate 0)."),
    (1.0, 0.0, None, "everything is written (write rate 1.000, saturated)."),
    (0.5, 0.5, None, "accuracy is the same with the memory off (0.500 with the"
     " memory, 0.500 without)."),
    (0.5, 1.0, None, "accuracy is worse with the memory on (0.500 with the"
     " memory, 1.000 without)."),
  ],
)  # fmt: skip
def test_of_a_young_memory_only_that_it_is_empty_is_said(
  rate, off, young, later, monkeypatch
):
  for thorough, line in ((False, young), (True, later)):
    found = warning(monkeypatch, rate=rate, off=off, thorough=thorough)
    assert found == line


def test_a_memory_has_settled_when_curriculum_and_ramp_are_over():
  config = tiny_config(steps=100, curriculum=((0.3, 80, 4),))
  config.loss.update(start=0.1, ramp=0.2)
  after = lambda: make_experiment(config).settled_after
  assert after() == 50
  config.loss.ramp = 0.5
  assert after() == 60
  config.train.curriculum = ((0.7, 80, 4),)
  assert after() == 70


def test_no_memory_has_no_verdict():
  assert verdict(policy="none", rate=0.0) is None
