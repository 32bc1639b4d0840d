"""The oracle: closed forms, and that every lifecycle task can be solved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lifecycle_lc, toy_lc
from nema_lc_jax import data
from nema_lc_jax.memory import Candidates, Chunk, init_state, memory_step
from nema_lc_jax.models import make_policy
from nema_lc_jax.training import oracle
from nema_lc_jax.training.experiment import load_data

TASKS = tuple(lifecycle_lc.VARIANTS)


def make(task, *, num_slots=None, budget=None, **options):
  """The config of a task with some options changed, and its data set."""
  config = lifecycle_lc.get_config(task)
  config.data.unlock()
  config.data.update(options)
  if num_slots is not None:
    config.memory.num_slots = num_slots
  if budget is not None:
    config.memory.budget = budget
  return config, load_data(config)


def batches_of(config, dataset, num, *, times=1, batch_size=None):
  return data.eval_batches(
    dataset,
    "test",
    batch_size=batch_size or num,
    length=times * config.data.length,
    limit=num,
  )


def accuracy(task, num, *, times=1, **changes):
  config, dataset = make(task, **changes)
  return oracle.accuracy(
    config, dataset, batches_of(config, dataset, num, times=times)
  )


@pytest.mark.parametrize("task", TASKS)
def test_the_oracle_solves_every_config_at_any_length(task):
  # There is a slot for each of the 50 pairs of `remember`, and no more.
  for times in (1, 4)[: 1 if task == "remember" else 2]:
    assert accuracy(task, 24, times=times) == 1.0


@pytest.mark.parametrize("task", TASKS)
def test_a_budget_of_one_is_enough(task):
  # What is void is at the floor: the next write takes its place, at no cost.
  assert accuracy(task, 48, budget=1) == 1.0


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_recall_with_few_slots_is_the_share_held_and_chance(slots):
  # The oracle holds the first facts; which one is asked is uniform.
  held = slots / 3
  found = accuracy("recall", 1024, num_slots=slots, num_facts=3)
  assert found == pytest.approx(held + (1 - held) / 8, abs=0.04)


def test_pressure_with_few_slots_is_the_share_held_and_chance():
  # It holds facts of the four that may be asked, whenever there are so many.
  found = accuracy("pressure", 1024, num_slots=2)
  assert found == pytest.approx(0.5 + 0.5 / 8, abs=0.04)


def test_mqar_with_few_slots_is_the_share_held_and_chance():
  config, dataset = make("mqar", num_slots=2)
  found = oracle.accuracy(config, dataset, batches_of(config, dataset, 40))
  # Exact: the first two pairs are held in every text, and 6 of 8 are not.
  assert found == pytest.approx(2 / 8 + 6 / 8 / 32, abs=1e-6)


def test_recall_counts_each_text_as_its_first_facts_say():
  # The same, text by text: nothing is left to chance here.
  config, dataset = make("recall", num_slots=2)
  held = []
  for batch in batches_of(config, dataset, 64):
    for truth in (
      batch["ground_truth"].reshape(len(batch["ground_truth"]), -1, 8).max(2)
    ):
      (facts,) = np.nonzero(truth)
      held.append(truth[facts[:2]].max() == 2)
  share = np.mean(held)
  assert 0 < share < 1
  found = oracle.accuracy(config, dataset, batches_of(config, dataset, 64))
  assert found == pytest.approx(share + (1 - share) / 8, abs=1e-6)


def test_without_memory_the_oracle_answers_none_where_that_is_right():
  # Revoke: where the answer is "none" there is no fact to hold.
  config, dataset = make("revoke", budget=0)
  (batch,) = batches_of(config, dataset, 200)
  nones = np.mean(batch["label"] == 8)
  found = oracle.accuracy(config, dataset, batches_of(config, dataset, 200))
  assert found == pytest.approx(nones + (1 - nones) / 9, abs=1e-6)


def test_rows_that_fill_the_last_batch_do_not_count():
  config, dataset = make("recall", num_slots=1)
  few = lambda size: oracle.accuracy(
    config, dataset, batches_of(config, dataset, 10, batch_size=size)
  )
  assert few(8) == pytest.approx(few(10), abs=1e-6)
  assert few(16) == pytest.approx(few(10), abs=1e-6)


def test_a_fact_in_the_chunk_that_asks_needs_no_slot():
  # Two blocks in a chunk: what is in the question's chunk is read there.
  config, dataset = make("recall", num_slots=3)
  config.model.chunk_length = 128
  batches = batches_of(config, dataset, 8)
  assert oracle.accuracy(config, dataset, batches) == 1.0


def test_padded_texts_are_solved_too():
  config, dataset = make("rebind", min_length=64)
  train = dataset.train(128, 0)
  rows = [train[i] for i in range(40)]
  batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  assert not batch["mask"].all()
  batch["weight"] = np.ones(40, np.float32)
  assert oracle.accuracy(config, dataset, [batch]) == 1.0


def test_a_task_without_truth_has_no_oracle():
  config = toy_lc.get_config()
  dataset = load_data(config)
  assert (
    oracle.accuracy(config, dataset, batches_of(config, dataset, 2)) is None
  )


def test_the_policy_needs_a_task_that_knows_the_truth():
  chunk = Chunk(
    query=jnp.zeros((2, 4)),
    candidates=Candidates(content=jnp.ones((1, 4)), valid=jnp.ones(1, bool)),
    valid=jnp.ones(2, bool),
  )
  with pytest.raises(ValueError, match="needs a task with ground truth"):
    memory_step(
      (),
      jax.random.key(0),
      init_state(num_slots=2, width=4),
      chunk,
      policy=make_policy("oracle", width=4),
      budget=1,
    )
