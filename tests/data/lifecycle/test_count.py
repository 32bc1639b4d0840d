import collections

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lifecycle.count import Count
from tests.data.texts import BLOCK, block_of, text_of


@pytest.mark.parametrize("modulus", [2, 5])
@pytest.mark.parametrize("length", [64, 128, 512])
def test_the_labels_count_the_marks(modulus, length):
  task = data.load("count", num_values=modulus)
  source = task.evaluation("test", length)
  for i in range(100):
    example = source[i]
    text = text_of(example)
    counts, newest = collections.Counter(), {}
    for n, token in enumerate(text):
      if token == 1:
        key = text[n + 1]
        assert example["updates"][n] == newest.get(key, -1)
        assert example["ground_truth"][n] > 0
        newest[key] = block_of(n)
        counts[key] += 1
      if token == 2:
        key = text[n + 1]
        assert example["label"][n + 1] == counts[key] % modulus
        assert example["answer_position"][n + 1] == newest.get(key, -1)
    assert (example["label"] >= 0).sum() == text.count(2) == 3
    assert (example["invalidates"] == -1).all()
    facts = example["ground_truth"].reshape(-1, BLOCK).any(1).sum()
    assert facts == counts.total()


@pytest.mark.parametrize("modulus", [2, 5])
def test_counts_are_uniform_and_chance_says_so(modulus):
  task = data.load("count", num_values=modulus)
  source = task.evaluation("test", 128)
  labels = np.concatenate([source[i]["label"] for i in range(1000)])
  shares = np.bincount(labels[labels >= 0]) / (labels >= 0).sum()
  assert len(shares) == task.num_classes == len(task.label_names) == modulus
  chance = task.baselines("test", 128)["chance"]
  assert chance == pytest.approx(1 / modulus, abs=0.03)
  np.testing.assert_allclose(shares, 1 / modulus, atol=0.03)


def test_the_limit_of_single_marks_holds_whole_keys_only():
  task = Count()
  # Nothing to hold: no slot, all guessed; a slot per block, nothing guessed.
  assert task.limit_of_single_marks(16, 16) == pytest.approx(1.0)
  none = task.limit_of_single_marks(16, 0)
  rng = np.random.default_rng(1)
  unmarked = np.mean([(task.counts(rng, 16) == 0).mean() for _ in range(4000)])
  assert none == pytest.approx(unmarked + (1 - unmarked) / 5, abs=0.01)
  assert task.limit_of_single_marks(1024, 3) == pytest.approx(0.2, abs=0.001)
