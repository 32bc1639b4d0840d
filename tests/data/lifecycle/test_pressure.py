import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import assert_reads_as, most_held, pressure, text_of


def facts_of(example):
  """(priority, key) in the order of the text."""
  text = text_of(example)
  return [
    (token - 2, text[i + 1]) for i, token in enumerate(text) if 2 <= token <= 5
  ]


@pytest.fixture(scope="module")
def examples():
  source = data.load("pressure").evaluation("test", 128)
  return [source[i] for i in range(600)]


def test_there_are_more_facts_than_are_kept(examples):
  counts = [len(facts_of(example)) for example in examples]
  assert (min(counts), max(counts)) == (4, 8)
  assert np.mean(np.array(counts) > 4) > 0.8


def test_keys_are_distinct_and_priorities_uniform(examples):
  found = [fact for example in examples for fact in facts_of(example)]
  for example in examples:
    keys = [key for _, key in facts_of(example)]
    assert len(set(keys)) == len(keys)
  share = np.bincount([priority for priority, _ in found]) / len(found)
  assert share == pytest.approx([0.25] * 4, abs=0.04)


def test_the_asked_one_is_among_the_most_important(examples):
  ranks = []
  for example in examples:
    facts = facts_of(example)
    order = sorted(range(len(facts)), key=lambda i: (-facts[i][0], -i))
    keys = [facts[i][1] for i in order]
    ranks.append(keys.index(example["inputs"][-1]))
  share = np.bincount(ranks) / len(ranks)
  assert share == pytest.approx([0.25] * 4, abs=0.07)


def test_keeping_the_newest_is_not_enough(examples):
  """Else fifo would solve it: the order is by priority first."""
  newest = [
    e["inputs"][-1] in [key for _, key in facts_of(e)[-4:]] for e in examples
  ]
  assert np.mean(newest) < 0.85


@pytest.mark.parametrize("kept", [1, 2, 6])
def test_any_number_may_be_kept(kept):
  dataset = data.load("pressure", num_kept=kept)
  source, most = dataset.evaluation("test", 128), []
  for i in range(150):
    assert_reads_as(source[i], pressure(text_of(source[i]), kept))
    most.append(most_held(source[i]))
  assert max(most) == kept
