"""What a run's memory is reported as, by hand-made numbers."""

import functools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from nema_lc_jax.models import make_policy
from nema_lc_jax.training import evaluation
from nema_lc_jax.training.evaluation import Evaluated, memory_verdict
from nema_lc_jax.training.experiment import make_experiment, under_fifo
from tests.helpers import tiny_config


def verdict(*, policy="learned", rate=0.5, gain=(0.1, 0.2), fifo=None):
  config = tiny_config()
  config.memory.policy = policy
  result = {
    "accuracy": 0.6,
    "metrics": {"accuracy": 0.6, "write_rate": rate},
    "accuracy_memory_off": 0.5,
    "memory_gain_interval": gain,
  }
  if fifo is not None:
    result["fifo_gain_interval"] = fifo
  experiment = SimpleNamespace(config=config, has_memory=True)
  return memory_verdict(experiment, result)


@pytest.mark.parametrize(
  "fine",
  [
    {},
    {"policy": "fifo", "rate": 1.0},
    # A rate alone says nothing: it may be that all is worth writing.
    {"rate": 1.0, "fifo": (-0.01, 0.02)},
    {"fifo": (0.1, 0.2)},
    # Not measured, as of a run with an older version.
    {"fifo": None},
  ],
)
def test_a_memory_that_helps_is_fine(fine):
  assert verdict(**fine) is None


@pytest.mark.parametrize(
  ("wrong", "said"),
  [
    (
      {"gain": (-0.1, 0.1), "rate": 0.0},
      "accuracy is the same with the memory off (0.600 with the memory, 0.500"
      " without); write rate 0.",
    ),
    (
      {"gain": (-0.2, -0.1), "policy": "fifo"},
      "accuracy is worse with the memory on (0.600 with the memory, 0.500"
      " without); write rate 0.5.",
    ),
    (
      {"fifo": (-0.3, -0.1), "rate": 0.01},
      "fifo with the same parameters is more accurate by 0.100 to 0.300; write"
      " rate 0.01.",
    ),
  ],
)
def test_what_is_wrong_is_said(wrong, said):
  assert verdict(**wrong) == f"COLLAPSED MEMORY: {said}"


def test_a_model_is_compared_with_itself_without_its_decisions(trained):
  experiment, params = trained
  found = evaluation.compare(experiment, params, "validation")
  few = experiment.config.eval.examples
  under, fifo_params = under_fifo(experiment, params)
  assert under.config.memory.policy == "fifo"
  assert experiment.config.memory.policy == "learned"
  fifo = evaluation.evaluate(under, fifo_params, "validation", limit=few)
  assert found["accuracy_under_fifo"] == fifo.metrics["accuracy"]
  # Everything is written, at most one candidate a chunk.
  assert fifo.metrics["write_rate"] == 1.0
  assert found["metrics"]["write_rate"] < 1.0
  on = evaluation.evaluate(experiment, params, "validation", limit=few)
  low, high = found["fifo_gain_interval"]
  gain = on.metrics["accuracy"] - fifo.metrics["accuracy"]
  assert (low + high) / 2 == pytest.approx(gain, abs=1e-6)


def test_as_in_training_all_slots_count(trained):
  experiment, params = trained
  few = experiment.config.eval.examples
  relaxed = evaluation.evaluate(
    experiment, params, "validation", relaxed=True, limit=few
  )
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(0), np.arange(few)
  )
  (batch,) = evaluation.eval_batches(experiment, "validation", 1, few)
  batch = {name: rows[:few] for name, rows in batch.items()}
  apply = functools.partial(experiment.model.apply, train=True)
  output = jax.jit(apply)(params, keys, batch)
  right = output.logits.argmax(-1) == batch["label"]
  spare = experiment.config.memory.overprovisioned_slots
  assert output.state.age.shape[1] == experiment.config.memory.num_slots + spare
  np.testing.assert_array_equal(relaxed.correct, right)
  found = evaluation.compare(experiment, params, "validation")
  assert found["accuracy_relaxed"] == relaxed.metrics["accuracy"]
  on = evaluation.evaluate(experiment, params, "validation", limit=few)
  low, high = found["relaxed_gain_interval"]
  gain = on.metrics["accuracy"] - relaxed.metrics["accuracy"]
  assert (low + high) / 2 == pytest.approx(gain, abs=1e-6)


def test_a_model_of_more_classes_than_the_data_have_is_compared_too(trained):
  experiment, params = trained
  config = experiment.config.copy_and_resolve_references()
  config.data.noise_vocab = 4
  fewer = make_experiment(config, experiment.task)
  assert fewer.dataset.vocab_size < experiment.task.vocab_size
  assert "accuracy_under_fifo" in evaluation.compare(
    fewer, params, "validation"
  )


def my_gate(*, width):
  """A learned policy of one's own, by the name of this module."""
  return make_policy("write_gate", width=width)


def my_rule(*, width):
  return make_policy("fifo", width=width)


def test_a_policy_of_one_s_own_is_learned_if_it_has_parameters():
  config = tiny_config()
  for function, learns in (("my_gate", True), ("my_rule", False)):
    config.memory.policy = f"{__name__}:{function}"
    assert make_experiment(config).learns_policy == learns


def test_only_learned_policies_are_compared_with_fifo():
  config = tiny_config()
  config.memory.policy = "fifo"
  experiment = make_experiment(config)
  params = experiment.init().params
  found = evaluation.compare(experiment, params, "validation")
  assert "accuracy_memory_off" in found
  assert not {name for name in found if "fifo" in name or "relaxed" in name}


@pytest.fixture(scope="module")
def trained():
  """An experiment with a gate that admits about half, and its parameters."""
  config = tiny_config()
  config.memory.update(num_slots=3, overprovisioned_slots=2, budget=1)
  config.eval.update(examples=8, diagnostics=True)
  experiment = make_experiment(config)
  params = experiment.init().params
  logit = params["policy"]["gate"]["logit"]
  logit["kernel"] = logit["kernel"] * 300.0
  return experiment, params


def warning(monkeypatch, *, rate, off, thorough):
  """After a validation of which the memory gets half of the answers right."""
  config = tiny_config()
  config.eval.examples = 20
  experiment = SimpleNamespace(config=config, has_memory=True)
  asked = []

  def evaluate(experiment, params, split, *, budget, limit):
    asked.append((split, budget, limit))
    return Evaluated({}, np.full(limit, off), np.ones(limit, int), None)

  monkeypatch.setattr(evaluation, "evaluate", evaluate)
  on = Evaluated(
    {"write_rate": rate}, np.array([1.0, 0.0] * 50), np.ones(100, int), None
  )
  line = evaluation.early_warning(experiment, None, on, thorough=thorough)
  looked = thorough and rate > 0  # An empty memory needs no second look.
  assert asked == [("validation", 0, 20)] * looked
  return line


@pytest.mark.parametrize(
  ("rate", "off", "young", "later"),
  [
    (0.5, 0.0, None, None),
    (0.0, 0.0, "nothing is written (write rate 0).",
     "nothing is written (write rate 0)."),
    (1.0, 0.0, None, None),
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
