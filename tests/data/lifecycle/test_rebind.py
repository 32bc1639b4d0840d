import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import text_of


def facts_of(example):
  """(key, value) in the order of the text."""
  text = text_of(example)
  return [
    (text[i + 1], text[i + 2]) for i, token in enumerate(text) if token == 1
  ]


@pytest.fixture(scope="module")
def examples():
  source = data.load("rebind").evaluation("test", 128)
  return [source[i] for i in range(600)]


def test_a_new_value_always_differs_from_the_one_before(examples):
  rebound = 0
  for example in examples:
    values = {}
    for key, value in facts_of(example):
      assert values.get(key) != value
      rebound += key in values
      values[key] = value
  assert rebound > 1000


def test_each_text_has_three_keys_and_the_share_of_facts_it_should(examples):
  facts = [facts_of(example) for example in examples]
  assert {len({key for key, _ in f}) for f in facts} == {3}
  assert min(map(len, facts)) == 3
  # Binomial of 15 blocks and rate 0.4, but never below 3.
  assert np.mean([len(f) for f in facts]) == pytest.approx(6.03, abs=0.25)


def test_the_first_value_is_a_poor_guess_and_the_last_of_any_key_too(examples):
  first, last = [], []
  for example in examples:
    facts, asked = facts_of(example), example["inputs"][-1]
    values = [value - 11 for key, value in facts if key == asked]
    first.append(values[0] == example["label"])
    last.append(facts[-1][1] - 11 == example["label"])
  assert np.mean(first) < 0.7
  assert np.mean(last) < 0.6
  stale = [(e["stale"] >= 0).any() for e in examples]
  assert np.mean(stale) > 0.4


def test_the_rate_of_facts_scales_with_length():
  source = data.load("rebind", fact_rate=0.2).evaluation("test", 2048)
  counts = [len(facts_of(source[i])) for i in range(40)]
  assert np.mean(counts) / 255 == pytest.approx(0.2, abs=0.02)


def test_rate_zero_binds_each_key_once():
  source = data.load("rebind", fact_rate=0, num_live=5).evaluation("test", 128)
  for i in range(40):
    assert len({key for key, _ in facts_of(source[i])}) == 5
    assert len(facts_of(source[i])) == 5
    assert (source[i]["invalidates"] == -1).all()
