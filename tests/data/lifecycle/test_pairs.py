import collections

import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import text_of

BLOCK = 4
LENGTHS = {"remember": 204, "rewrite": 204, "pi_updates": 80}


def pairs_of(text, first_value):
  """(position, key, value) in order."""
  return [
    (i, text[i + 1], text[i + 2] - first_value)
    for i, token in enumerate(text)
    if token == 1
  ]


@pytest.mark.parametrize("task", LENGTHS)
def test_the_newest_value_of_a_key_is_its_label(task):
  first_value = 515 if task == "remember" else 19
  source = data.load(task).evaluation("test", LENGTHS[task])
  for i in range(100):
    example = source[i]
    text = text_of(example)
    pairs = pairs_of(text, first_value)
    asked = [i + 1 for i, token in enumerate(text) if token == 2]
    labels = np.full(len(text), -1)
    labels[asked] = (
      example["label"][asked] if task == "pi_updates" else example["label"]
    )
    if task == "pi_updates":
      np.testing.assert_array_equal(example["label"], labels)
    for at in asked:
      said = [(n, value) for n, key, value in pairs if key == text[at]]
      assert labels[at] == said[-1][1]
      assert example["answer_position"][at] == said[-1][0] // BLOCK * BLOCK
      old = example["stale"][at] if task == "pi_updates" else example["stale"]
      assert set(old[old >= 0]) == {v for _, v in said} - {said[-1][1]}
      assert all(np.diff([v for _, v in said]) != 0)
    newest = {}
    for n, key, _ in pairs:
      before = newest.get(key, -1)
      assert example["updates"][n] == example["invalidates"][n] == before
      newest[key] = n // BLOCK * BLOCK
      assert example["ground_truth"][n] > 0
    # A pair in each block, then questions.
    assert len(pairs) + len(asked) == len(text) // BLOCK
    assert max(n for n, *_ in pairs) < min(asked)


@pytest.mark.parametrize(("times", "updates"), [(1, 4), (4, 19), (64, 319)])
def test_each_key_of_pi_updates_has_as_many_values_and_is_asked_for(
  times, updates
):
  source = data.load("pi_updates").evaluation("test", 80 * times)
  for i in range(5):
    text = text_of(source[i])
    counts = collections.Counter(key for _, key, _ in pairs_of(text, 19))
    assert set(counts.values()) == {updates}
    asked = [text[i + 1] for i, token in enumerate(text) if token == 2]
    assert sorted(asked) == sorted(counts)
    assert len(asked) == 4


def test_what_is_left_over_goes_to_some_keys_of_pi_updates():
  text = text_of(data.load("pi_updates", length=88).evaluation("test", 88)[0])
  counts = collections.Counter(key for _, key, _ in pairs_of(text, 19))
  assert sorted(counts.values()) == [4, 4, 5, 5]


def test_keys_of_remember_are_distinct_and_those_of_rewrite_are_few():
  for task, most in (("remember", 50), ("rewrite", 4)):
    first_value = 515 if task == "remember" else 19
    source = data.load(task).evaluation("test", 204)
    for i in range(20):
      pairs = pairs_of(text_of(source[i]), first_value)
      assert len({key for _, key, _ in pairs}) == most


@pytest.mark.parametrize(
  ("task", "options", "message"),
  [
    ("remember", {"length": 2056}, "a length of at most 2052, one block of 4"),
    ("rewrite", {"num_live": 17}, "num_live 17 is above num_keys 16"),
    ("rewrite", {"num_live": 0}, "num_live must be an integer of at least 1"),
    ("pi_updates", {"length": 28}, "at least 32, 8 blocks; got 28"),
  ],
)
def test_errors_name_the_options(task, options, message, error_of):
  assert message in error_of(data.load, task, **options)
