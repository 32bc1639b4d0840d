"""One battery for the tasks about facts: what they say is what is marked."""

import dataclasses

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lifecycle.facts import Facts, Item, Script
from tests.data.texts import (
  BLOCK,
  FACTS,
  IDS,
  LIVE,
  READERS,
  Reading,
  assert_reads_as,
  most_held,
  text_of,
)

LENGTH = 128
ASKING = {"delayed_qa": 1}

every_task = pytest.mark.parametrize("task", FACTS)


def examples_of(task, num, *, times=1, split="test", **options):
  source = data.load(task, **options).evaluation(split, times * LENGTH)
  return [source[i] for i in range(num)]


@pytest.fixture(scope="module")
def examples():
  """400 texts of each task."""
  return {task: examples_of(task, 400) for task in FACTS}


# The readers, on texts by hand: blocks of 8, 20 and above is noise everywhere.

# fmt: off
HAND = [
  # Key 3 has value 2; 4 has 1; a near miss gives 3 the value 1.
  ("recall",
   [1, 3, 13, 30, 30, 30, 30, 30, 30, 1, 4, 12, 30, 30, 30, 30,
    30, 3, 12, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 2, 3],
   Reading(2, [0, 8], 0, {}, set())),
  # Key 5: 0, then 4, then 0 again; what was right once is 4 alone.
  ("rebind",
   [1, 5, 11, 30, 30, 30, 30, 30, 30, 1, 5, 15, 30, 30, 30, 30,
    30, 30, 30, 30, 30, 1, 5, 11, 30, 30, 30, 30, 30, 30, 2, 5],
   Reading(0, [0, 8, 16], 16, {9: 0, 10: 0, 11: 0, 21: 8, 22: 8, 23: 8}, {4})),
  ("rebind",
   [1, 5, 11, 30, 30, 30, 30, 30, 30, 1, 6, 15, 30, 30, 30, 30,
    30, 30, 30, 30, 30, 1, 5, 12, 30, 30, 30, 30, 30, 30, 2, 6],
   Reading(4, [0, 8, 16], 8, {21: 0, 22: 0, 23: 0}, set())),
  # Key 4 is bound to 3, unbound, and asked for: none, which is label 8.
  ("revoke",
   [1, 4, 15, 30, 30, 30, 30, 30, 30, 3, 4, 30, 30, 30, 30, 30,
    30, 30, 30, 30, 30, 1, 5, 12, 30, 30, 30, 30, 30, 30, 2, 4],
   Reading(8, [0, 16], -1, {9: 0, 10: 0}, {3})),
  # Bound anew to 1: 3 is what was right once.
  ("revoke",
   [1, 4, 15, 30, 30, 30, 30, 30, 30, 3, 4, 30, 30, 30, 30, 30,
    30, 30, 30, 30, 30, 1, 4, 13, 30, 30, 30, 30, 30, 30, 2, 4],
   Reading(1, [0, 16], 16, {9: 0, 10: 0}, {3})),
  ("delayed_qa",
   [30, 30, 5, 1, 12, 30, 30, 30, 30, 3, 30, 30, 30, 30, 7, 2],
   Reading(9, [0], 0, {}, set())),
]
# Priorities 2, 5, 2, 3 (the lowest is 2), two kept. The third equals the first
# and is newer: it takes its place; then the fourth takes the third's.
PRESSURE = [2, 6, 14, 30, 30, 30, 30, 30, 30, 5, 7, 15, 30, 30, 30, 30,
            30, 30, 30, 30, 30, 2, 8, 16, 3, 9, 17, 30, 30, 30, 30, 30,
            2, 10, 18, 30, 30, 30, 1, 7]
# fmt: on


@pytest.mark.parametrize(("task", "text", "expected"), HAND)
def test_the_readers_read_texts_by_hand(task, text, expected):
  assert READERS[task](text) == expected


def test_the_reader_of_pressure_keeps_the_newest_of_equals():
  invalidates = {21: 0, 22: 0, 23: 0, 24: 16, 25: 16, 26: 16}
  expected = Reading(1, [0, 8, 16, 24], 8, invalidates, set())
  # The fifth fact is below both that are kept: it is not worth a slot.
  assert READERS["pressure"](PRESSURE, kept=2) == expected


# The rendering of a script, by hand.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(Facts):
  """Blocks of three tokens, so that nothing is left to chance."""

  block: int = 3
  num_values: int = 2
  noise_vocab: int = 1

  name = "fixed"
  summary = "by hand"
  commands = ("MARK", "ASK")
  min_blocks = 1

  def write(self, rng, blocks):
    items = [
      Item(0, (1, 3, 11), is_fact=True),
      Item(1, (1, 3, 12), is_fact=True, invalidates=0),
      Item(3, (1, 4, 11), is_fact=True),
    ]
    return Script(items, (2, 3), label=1, source=1, stale=(0,))


def test_a_script_is_written_where_it_says():
  example = Fixed(length=15).dataset().evaluation("test", 15)[0]
  expected = {
    "inputs": [1, 3, 11, 1, 3, 12, 13, 13, 13, 1, 4, 11, 13, 2, 3],
    "ground_truth": [1, 1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 0, 0, 0],
    "updates": [-1] * 15,
    "invalidates": [-1] * 3 + [0] * 3 + [-1] * 9,
    "answer_position": [-1] * 13 + [3, 3],
    "stale": [0, -1],
    "mask": [True] * 15,
    "label": 1,
  }
  assert {k: v.tolist() for k, v in example.items()} == expected


# The battery.


@every_task
def test_all_that_is_marked_is_what_the_text_says(task, examples):
  for example in examples[task]:
    reading = READERS[task](text_of(example))
    assert_reads_as(example, reading, ASKING.get(task, 2))


@every_task
@pytest.mark.parametrize(("times", "num"), [(4, 40), (64, 5)])
def test_longer_texts_say_as_clearly_what_is_asked(task, times, num):
  for example in examples_of(task, num, times=times):
    reading = READERS[task](text_of(example))
    assert_reads_as(example, reading, ASKING.get(task, 2))
    assert most_held(example) <= LIVE[task]


@every_task
def test_following_the_truth_needs_few_slots_and_answers(task, examples):
  most = [most_held(example) for example in examples[task]]
  assert max(most) == LIVE[task]


@every_task
def test_one_who_knows_the_source_knows_the_answer(task, examples):
  sourceless = 0
  for example in examples[task]:
    text, source = example["inputs"], example["answer_position"].max()
    (told,) = np.nonzero(example["ground_truth"] == 2)
    if source < 0:
      sourceless += 1
      assert not len(told)
      assert example["label"] == 8  # none
      continue
    assert set(told // BLOCK * BLOCK) == {source}
    assert text[told[-1]] - IDS[task][1] == example["label"]
  # Only what may be revoked has no source, and it often has one.
  if task == "revoke":
    assert 100 < sourceless < 220  # 160 expected
  else:
    assert sourceless == 0


@every_task
def test_the_best_constant_answer_is_the_chance_baseline(task):
  dataset = data.load(task)
  examples = examples_of(task, 3000, num_test=3000)
  labels = np.bincount([e["label"] for e in examples]) / len(examples)
  chance = dataset.baselines("test", LENGTH)["chance"]
  assert labels.max() == pytest.approx(chance, abs=0.03)
  assert len(labels) == dataset.num_classes
  values = labels[:10] if task == "delayed_qa" else labels[:8]
  assert np.ptp(values) < 0.04  # values are uniform


@every_task
def test_an_item_stays_in_its_block_and_noise_holds_no_item(task, examples):
  key, value, noise = IDS[task]
  for example in examples[task][:100]:
    blocks = example["inputs"].reshape(-1, BLOCK)
    assert blocks.max() < data.load(task).vocab_size
    items = blocks < noise if task != "delayed_qa" else blocks < key
    starts = items.argmax(1)
    for n in np.flatnonzero(items.any(1)):
      (at,) = np.nonzero(items[n])
      np.testing.assert_array_equal(at, starts[n] + np.arange(len(at)))
      assert len(at) <= 3
    held = example["ground_truth"].reshape(-1, BLOCK).any(1)
    marked = example["ground_truth"] > 0
    if task != "delayed_qa":
      assert (items.sum(1)[held] == 3).all()
    assert not example["ground_truth"][-BLOCK:].any()
    assert (example["inputs"][marked] < noise).all()
    assert value < noise


@every_task
def test_items_stand_anywhere_in_their_block(task, examples):
  offsets = np.concatenate(
    [np.flatnonzero(e["ground_truth"] == 2) % BLOCK for e in examples[task]]
  )
  assert set(offsets) == set(range(BLOCK))


@every_task
def test_min_length_mixes_lengths_in_training_only(task, equal):
  mixed = data.load(task, min_length=64)
  train, sizes = mixed.train(LENGTH, 0), []
  for i in range(200):
    example = train[i]
    sizes.append(int(example["mask"].sum()))
    reading = READERS[task](text_of(example))
    assert_reads_as(example, reading, ASKING.get(task, 2))
  assert set(sizes) == set(range(64, LENGTH + 1, BLOCK))
  full = data.load(task).evaluation("test", LENGTH)[7]
  assert equal(mixed.evaluation("test", LENGTH)[7], full)
  assert full["mask"].all()


@every_task
def test_without_min_length_training_texts_are_full(task):
  train = data.load(task).train(LENGTH, 0)
  assert all(train[i]["mask"].all() for i in range(50))


@every_task
def test_the_shortest_text_is_one_too(task):
  blocks = {"recall": 4, "rebind": 4, "pressure": 5}.get(task, 4)
  source = data.load(task).evaluation("test", blocks * BLOCK)
  for i in range(100):
    reading = READERS[task](text_of(source[i]))
    assert_reads_as(source[i], reading, ASKING.get(task, 2))


@every_task
@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"length": 124}, "a length that is a multiple of block=8 and at least"),
    ({"length": 24}, " blocks; got 24"),
    ({"min_length": 60}, "a min_length that is a multiple of block=8"),
    ({"min_length": 0}, "min_length must be an integer of at least 1, got 0"),
    ({"min_length": 256}, "min_length 256 is above length 128"),
    ({"block": 1}, "block must be an integer of at least "),
    ({"num_values": 1}, "num_values must be an integer of at least 2, got 1"),
    ({"noise_vocab": 0}, "noise_vocab must be an integer of at least 1, got 0"),
    ({"num_keys": 8.5}, "num_keys must be an integer of at least "),
    ({"num_keys": -3}, "num_keys"),
    ({"num_eval": 0}, "num_eval must be an integer of at least 1, got 0"),
    ({"num_test": 2.5}, "num_test must be an integer of at least 1, got 2.5"),
    ({"fact_rat": 1}, "unknown option 'fact_rat' of data set "),
  ],
)
def test_errors_name_the_option(task, options, message, error_of):
  assert message in error_of(data.load, task, **options)


@pytest.mark.parametrize(
  ("task", "options", "message"),
  [
    ("recall", {"num_facts": 9}, "num_facts 9 is above num_keys 8"),
    ("recall", {"num_facts": 0}, "num_facts must be an integer of at least 1"),
    ("recall", {"distractor_rate": 1.5}, "distractor_rate must be in [0, 1]"),
    ("rebind", {"num_live": 9}, "num_live 9 is above num_keys 8"),
    ("rebind", {"fact_rate": -0.1}, "fact_rate must be in [0, 1], got -0.1"),
    ("revoke", {"num_live": 8}, "num_live 8 must be below num_keys 8"),
    ("revoke", {"event_rate": float("nan")}, "event_rate must be in [0, 1]"),
    ("revoke", {"none_rate": "x"}, "none_rate must be in [0, 1], got 'x'"),
    ("pressure", {"num_kept": 9}, "num_kept 9 is above num_keys 8"),
    ("pressure", {"num_priorities": 0}, "num_priorities must be an integer"),
    ("pressure", {"fact_rate": 2}, "fact_rate must be in [0, 1], got 2"),
    ("recall", {"length": 16}, "at least 32, 4 blocks; got 16"),
    ("pressure", {"num_kept": 8, "length": 64}, "at least 72, 9 blocks"),
  ],
)
def test_errors_name_the_options_of_the_task(task, options, message, error_of):
  assert message in error_of(data.load, task, **options)


def test_a_longer_evaluation_than_loaded_for_is_checked_too(error_of):
  dataset = data.load("rebind")
  assert "a length that is a multiple of block=8" in error_of(
    dataset.evaluation, "test", 1025
  )
