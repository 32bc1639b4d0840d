"""What an evaluation reports; a loss that is not finite is an error."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax import evaluate as command
from nema_lc_jax.data.lifecycle.gather import Gather
from nema_lc_jax.errors import ConfigError, RunError
from nema_lc_jax.training import evaluation
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.restore import open_run
from tests.helpers import run, small_config, tiny_config


@pytest.fixture(scope="module")
def experiment():
  return make_experiment(small_config())


def filled(experiment, value):
  """Parameters of which one array has that value."""
  params = experiment.init().params
  kernel = params["head"]["logits"]["kernel"]
  params["head"]["logits"]["kernel"] = jnp.full_like(kernel, value)
  return params


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_model_that_is_not_finite_has_no_accuracy(experiment, value, split):
  params = filled(experiment, value)
  with pytest.raises(RunError, match="loss on the") as error:
    evaluation.compare(experiment, params, split, at_step=7)
  assert f"loss on the {split} split is nan" in str(error.value)
  assert "of step 7: the parameters or the data are the cause" in str(
    error.value
  )
  evaluation.evaluate(experiment, filled(experiment, 0.0), split)


def test_one_text_of_many_is_enough(experiment):
  make = experiment.dataset.evaluation

  def evaluated(split, length):
    examples = make(split, length)
    label = lambda i, e: e | {"label": np.int32(-1 if i else e["label"])}
    return dataclasses.replace(
      examples, make=lambda i: label(i, examples.make(i))
    )

  asked = dataclasses.replace(experiment.dataset, evaluation=evaluated)
  found = dataclasses.replace(experiment, dataset=asked)
  params = experiment.init().params
  result = evaluation.evaluate(found, params, "test")
  assert result.metrics["accuracy"] in (0, 1)


def test_a_split_that_asks_nothing_is_an_error(experiment):
  make = experiment.dataset.evaluation

  def evaluated(split, length):
    examples = make(split, length)
    return dataclasses.replace(
      examples, make=lambda i: examples.make(i) | {"label": np.int32(-1)}
    )

  silent = dataclasses.replace(experiment.dataset, evaluation=evaluated)
  found = dataclasses.replace(experiment, dataset=silent)
  with pytest.raises(ConfigError, match="nothing is asked in the test split"):
    evaluation.evaluate(found, experiment.init().params, "test")


def test_a_run_whose_parameters_overflow_ends_without_an_accuracy(tmp_path):
  config = small_config()
  config.train.learning_rate = 1e38
  config.train.warmup_steps = 0
  with pytest.raises(RunError, match=r"loss on the validation split is"):
    run(config, tmp_path / "run")
  assert not (tmp_path / "run" / "summary.json").exists()


def test_evaluate_says_so_in_one_line(finished, monkeypatch, capsys):
  workdir, _ = finished
  experiment, state = open_run(workdir)
  broken = state.replace(
    params=jax.tree.map(lambda x: x * jnp.nan, state.params)
  )
  monkeypatch.setattr(command, "open_run", lambda *_: (experiment, broken))
  assert command.main([f"--workdir={workdir}"]) == 1
  printed = capsys.readouterr()
  assert printed.out == ""
  assert printed.err.startswith("error: the loss on the test split is nan")
  assert printed.err.count("\n") == 1


def test_tasks_that_need_updates_say_what_is_possible_without():
  config = tiny_config("gather")
  found = make_experiment(config).baselines("test")
  task = Gather()
  blocks, slots = config.data.length // 8, config.memory.num_slots
  best = task.limit_without_updates(blocks, slots)
  assert found["best_without_updates"] == best
  assert found["best_possible"] == 1.0
  assert "best_without_updates" not in make_experiment(tiny_config()).baselines(
    "test"
  )


def test_where_everything_is_held_accuracy_is_that_if_held():
  config = tiny_config()
  config.memory.policy = "fifo"
  config.memory.num_slots = config.data.length // config.model.chunk_length
  config.train.curriculum = ()
  # 40 texts in batches of 16: the last one is padded.
  everything = make_experiment(config)
  params = everything.init().params
  found = evaluation.evaluate(everything, params, "test").metrics
  assert 0 < found["accuracy"] < 1
  assert found["accuracy_if_held"] == pytest.approx(found["accuracy"])
  config.memory.num_slots = 1
  few = evaluation.evaluate(make_experiment(config), params, "test").metrics
  # In one slot there is only what the chunk before the question said.
  assert few["premature_forget_rate"] > 0.3
  assert few.get("accuracy_if_held") != few["accuracy"]


def test_padding_to_a_bucket_or_to_the_whole_length_is_the_same(tmp_path):
  rng = np.random.default_rng(0)
  line = lambda: f"{rng.integers(3)}\t{'ab c' * int(rng.integers(1, 20))}\n"
  (tmp_path / "a.tsv").write_text("".join(line() for _ in range(250)))
  config = tiny_config()
  config.data = {"name": "file", "path": str(tmp_path / "a.tsv"), "length": 80}
  config.model.pool = "mean"
  found = {}
  for buckets in ((), (16, 48)):
    config.train.buckets = buckets
    one = make_experiment(config)
    lengths = set()
    for batch in evaluation.eval_batches(one, "train", 1):
      lengths.add(batch["inputs"].shape[1])
    assert lengths == {*buckets, 80}
    found[buckets] = evaluation.evaluate(one, one.init().params, "train")
  one, other = found.values()
  np.testing.assert_array_equal(one.correct, other.correct)
  assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


@pytest.mark.parametrize("buckets", [(12,), (16, 16), (32, 16)])
def test_buckets_that_are_not_lengths_are_refused(buckets):
  config = tiny_config(buckets=buckets)
  with pytest.raises(
    ConfigError, match=r"train\.buckets=.*must rise and be mul"
  ):
    make_experiment(config)
