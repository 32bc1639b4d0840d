import time

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.recall import ASK, MARK

KEYS, VALUES = range(3, 11), range(11, 19)  # eight of each; noise from 19


def asked_key(text):
  assert text[-2] == ASK
  return text[-1]


def facts(text):
  """[MARK, key, value] as {key: value}; a second one of a key would show."""
  (marks,) = np.nonzero(text == MARK)
  found = [(text[m + 1], text[m + 2]) for m in marks]
  assert len(dict(found)) == len(found)
  return dict(found)


def near_misses(text):
  """(key, value) side by side without a MARK before them."""
  return [
    (text[i], text[i + 1])
    for i in range(len(text) - 1)
    if text[i] in KEYS
    and text[i + 1] in VALUES
    and (i == 0 or text[i - 1] != MARK)
  ]


@pytest.fixture(scope="module")
def examples():
  recall = data.load("recall", num_test=500)
  source = recall.evaluation("test", 192)
  return [source[i] for i in range(500)]


def test_reading_marked_facts_solves_it(examples):
  for example in examples:
    text = example["inputs"]
    value = facts(text)[asked_key(text)]
    assert value - VALUES[0] == example["label"]


def test_reading_near_misses_never_solves_it(examples):
  for example in examples:
    text = example["inputs"]
    key, known = asked_key(text), facts(text)
    misses = near_misses(text)
    assert len(misses) == 6
    for missed_key, value in misses:
      assert known[missed_key] != value  # a fact's key, never its value
    told = {value - VALUES[0] for k, value in misses if k == key}
    assert example["label"] not in told


def test_near_misses_are_about_the_asked_key_too(examples):
  about = [
    sum(k == asked_key(e["inputs"]) for k, _ in near_misses(e["inputs"]))
    for e in examples
  ]
  assert 1.7 < np.mean(about) < 2.3  # 6 misses over 3 facts


def test_a_block_holds_one_item_and_none_straddles(examples):
  for example in examples:
    blocks = example["inputs"].reshape(-1, 8)
    marks = (blocks == MARK).sum(1)
    keys = np.isin(blocks, KEYS).sum(1)
    values = np.isin(blocks, VALUES).sum(1)
    np.testing.assert_array_equal(keys[:-1], values[:-1])
    assert keys.max() == 1
    assert marks.sum() == 3
    assert (marks <= keys).all()
    assert (keys[-1], values[-1]) == (1, 0)  # the question
    assert (blocks == ASK).sum() == 1


def test_truth_marks_the_facts_and_the_asked_one(examples):
  for example in examples:
    text, truth = example["inputs"], example["truth"]
    for m in np.flatnonzero(text == MARK):
      expected = 2 if text[m + 1] == asked_key(text) else 1
      assert (truth[m : m + 3] == expected).all()
    assert (truth > 0).sum() == 9


def test_labels_and_places_are_uniform(examples):
  labels = np.bincount([e["label"] for e in examples], minlength=8)
  assert labels.min() > 35  # 62 expected
  places = np.concatenate([np.flatnonzero(e["truth"] == 2) for e in examples])
  assert set(places // 8) == set(range(23))
  assert data.load("recall").baselines("test", 192) == {
    "chance": 1 / 8,
    "best_possible": 1.0,
  }


def test_distractor_rate_scales_with_length():
  recall = data.load("recall", distractor_rate=0.25, num_distractors=0)
  for length in (192, 1920):
    source = recall.evaluation("test", length)
    counts = [len(near_misses(source[i]["inputs"])) for i in range(50)]
    free = length // 8 - 4
    assert abs(np.mean(counts) / free - 0.25) < 0.05


def test_min_length_mixes_lengths_in_training_only(equal):
  recall = data.load("recall", min_length=96)
  train = recall.train(192, 0)
  seen = set()
  for i in range(300):
    example = train[i]
    size = int(example["mask"].sum())
    assert example["mask"][:size].all()
    assert not example["inputs"][size:].any()
    assert (example["inputs"][:size] > 0).all()
    text = example["inputs"][:size]
    assert facts(text)[asked_key(text)] - VALUES[0] == example["label"]
    seen.add(size)
  assert seen == set(range(96, 193, 8))
  full = data.load("recall").evaluation("test", 192)
  assert equal(recall.evaluation("test", 192)[7], full[7])
  assert full[7]["mask"].all()


def test_examples_are_cheap_enough_to_draw_during_a_step():
  source = data.load("recall").evaluation("test", 192)
  source[0]
  times = []
  for _ in range(5):  # the best of five: the machine is shared
    start = time.perf_counter()
    for i in range(200):
      source[i]
    times.append((time.perf_counter() - start) / 200)
  assert min(times) < 5e-4  # 7e-5 when alone


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"length": 190}, "a length that is a multiple of block=8 and at least 80"),
    ({"length": 72}, "at least 80, one block for each item"),
    ({"min_length": 40}, "a min_length that is a multiple of block=8"),
    ({"min_length": 384}, "min_length 384 is above length 192"),
    ({"num_facts": 9}, "num_facts 9 is above num_keys 8"),
    ({"distractor_rate": 1.5}, "distractor_rate must be in [0, 1] or None"),
    ({"block": 2}, "block must be an integer of at least 3, got 2"),
    ({"num_values": 1}, "num_values must be an integer of at least 2, got 1"),
  ],
)
def test_errors_name_the_option(options, message, error_of):
  assert message in error_of(data.load, "recall", **options)
