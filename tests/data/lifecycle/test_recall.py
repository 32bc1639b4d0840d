import sys

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lifecycle.recall import ASK, MARK

KEYS, VALUES = range(3, 11), range(11, 19)  # eight of each; noise from 19
LENGTH = 128


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
  source = recall.evaluation("test", LENGTH)
  return [source[i] for i in range(500)]


def test_reading_near_misses_never_solves_it(examples):
  for example in examples:
    text = example["inputs"]
    key, known = asked_key(text), facts(text)
    misses = near_misses(text)
    for missed_key, value in misses:
      assert known[missed_key] != value  # a fact's key, never its value
    told = {value - VALUES[0] for k, value in misses if k == key}
    assert example["label"] not in told


def test_near_misses_are_in_half_of_the_other_blocks(examples):
  counts = [len(near_misses(e["inputs"])) for e in examples]
  assert np.mean(counts) == pytest.approx(6, abs=0.3)  # 12 blocks are left
  assert np.var(counts) == pytest.approx(3, abs=0.6)  # each by itself


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


def test_facts_stand_anywhere_and_near_misses_too(examples):
  places = np.concatenate(
    [np.flatnonzero(e["ground_truth"] == 2) for e in examples]
  )
  assert set(places // 8) == set(range(15))
  firsts = [np.flatnonzero(e["inputs"] == MARK)[0] // 8 for e in examples]
  misses = [near_misses(e["inputs"][: 8 * f]) for e, f in
            zip(examples, firsts, strict=True)]  # fmt: skip
  assert sum(map(bool, misses)) > 100  # before the first fact


def test_no_key_is_asked_more_often_than_another(examples):
  asked = np.bincount([asked_key(e["inputs"]) for e in examples])[3:]
  assert len(asked) == 8
  assert asked.min() > 35  # 62 expected


@pytest.mark.parametrize("length", [128, 1920])
def test_distractor_rate_scales_with_length(length):
  recall = data.load("recall", distractor_rate=0.25)
  source = recall.evaluation("test", length)
  counts = [len(near_misses(source[i]["inputs"])) for i in range(60)]
  free = length // 8 - 4
  assert abs(np.mean(counts) / free - 0.25) < 0.06


@pytest.mark.parametrize(("rate", "misses"), [(0, 0), (1, 12)])
def test_none_or_all_of_the_other_blocks_hold_near_misses(rate, misses):
  source = data.load("recall", distractor_rate=rate).evaluation("test", LENGTH)
  for i in range(30):
    assert len(near_misses(source[i]["inputs"])) == misses


def lines_run(function) -> int:
  """How many lines of Python run in a call."""
  count = 0

  def trace(frame, event, arg):
    nonlocal count
    count += event == "line"
    return trace

  before = sys.gettrace()
  sys.settrace(trace)
  try:
    function()
  finally:
    sys.settrace(before)
  return count


def test_examples_are_cheap_enough_to_draw_during_a_step():
  """An example takes lines for each fact and block, none for each token."""
  source = data.load("recall").evaluation("test", LENGTH)
  source[0]
  cost = np.mean([lines_run(lambda i=i: source[i]) for i in range(50)])
  assert cost < 400  # 270, and a loop over the 128 tokens 250 more
