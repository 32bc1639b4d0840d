"""Batches of similar lengths: every text once, and shapes that are few."""

import collections

import grain
import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.buckets import batches_of, cut, sizes_of
from nema_lc_jax.data.byte_text import tokens
from nema_lc_jax.data.types import Dataset, Examples

SIZES = np.random.default_rng(0).integers(0, 33, 101)
SIZES[:4] = 0, 8, 9, 32


def examples(length, sizes=SIZES):
  def make(i):
    row = np.full(sizes[i], i + 1, np.int32)
    return tokens(row, length) | {"label": np.int32(i)}

  return Examples(len(sizes), make)


def dataset(sizes=SIZES):
  return Dataset(
    name="sized",
    head="classify",
    vocab_size=200,
    num_classes=200,
    num_examples={"train": len(sizes), "test": len(sizes)},
    train=lambda length, _: grain.MapDataset.source(examples(length, sizes)),
    evaluation=lambda _, length: examples(length, sizes),
    baselines=lambda *_: {},
    fingerprint="",
    description="",
  )


def training(batches, **options):
  options = {"batch_size": 8, "seed": 3, "length": 32, "buckets": (8, 16)} | (
    options
  )
  iterator = data.train_iterator(dataset(), **options)
  return [next(iterator) for _ in range(batches)]


def test_an_epoch_has_every_text_once_in_batches_of_the_least_length():
  rows, lengths = collections.Counter(), collections.Counter()
  for batch in training(101 // 8):
    length = batch["inputs"].shape[1]
    lengths[length] += 1
    sizes = SIZES[batch["label"]]
    assert sizes.max() <= length
    np.testing.assert_array_equal(batch["mask"].sum(1), sizes)
    rows.update(batch["label"].tolist())
  assert set(lengths) == {8, 16, 32}
  assert set(rows.values()) == {1}
  assert len(rows) == 96
  # All but a batch of each length are of texts of no other bucket.
  short = sum(SIZES <= 8)
  assert lengths[8] == short // 8
  assert lengths[16] == (sum(SIZES <= 16) - lengths[8] * 8) // 8


def test_epochs_differ_and_a_position_is_always_the_same_batch():
  order = [batch["label"].tolist() for batch in training(24)]
  assert order == [batch["label"].tolist() for batch in training(24)]
  assert sorted(order[:12]) != sorted(order[12:])
  assert order[:12] != [b["label"].tolist() for b in training(12, seed=4)]
  iterator = data.train_iterator(
    dataset(), batch_size=8, seed=3, length=32, buckets=(8, 16)
  )
  for _ in range(15):
    state, batch = iterator.get_state(), next(iterator)
  iterator.set_state(state)
  np.testing.assert_array_equal(next(iterator)["label"], batch["label"])
  # Two processes have the halves of each batch.
  halves = [training(3, shard=(i, 2)) for i in range(2)]
  for k, whole in enumerate(training(3)):
    parts = [half[k]["inputs"] for half in halves]
    np.testing.assert_array_equal(np.concatenate(parts), whole["inputs"])


@pytest.mark.parametrize("limit", [None, 30, 1])
def test_evaluation_has_each_text_once_whatever_the_buckets(limit):
  found = {}
  for buckets in ((), (8, 16)):
    seen = collections.Counter()
    for batch in data.eval_batches(
      dataset(), "test", batch_size=8, length=32, limit=limit, buckets=buckets
    ):
      assert len(batch["index"]) == 8
      np.testing.assert_array_equal(batch["index"], batch["label"])
      seen.update(batch["index"][batch["weight"] > 0].tolist())
    found[buckets] = seen
  assert found[()] == found[(8, 16)]
  assert set(found[()].values()) == {1}
  assert len(found[()]) == (limit or 101)


def test_texts_that_fill_no_batch_go_into_a_longer_one_by_hand():
  sizes = np.array([3, 9, 4, 8, 20, 10, 1])
  found = batches_of(sizes, (8, 16, 32), 3)
  assert [(b.numbers.tolist(), b.length) for b in found] == [
    ([0, 2, 3], 8),  # one of the four of at most 8 tokens is left
    ([6, 1, 5], 16),
    ([4], 32),
  ]
  assert batches_of(sizes[:0], (8,), 3) == []


def test_the_size_of_a_pair_is_the_longer_ones_and_padding_inside_counts():
  pair = {
    "mask": np.array([1, 1, 0, 0], bool),
    "mask2": np.array([0, 0, 1, 0], bool),
  }
  assert sizes_of(
    [pair, pair | {"mask2": np.zeros(4, bool)}], "x"
  ).tolist() == [
    3,
    2,
  ]


def test_only_what_is_of_tokens_is_cut():
  example = {
    "inputs": np.arange(4),
    "mask": np.ones(4, bool),
    "label": np.int32(1),
    "stale": np.arange(4),
  }
  found = cut(example, 2)
  shapes = {name: np.shape(x) for name, x in found.items()}
  assert shapes == {"inputs": (2,), "mask": (2,), "label": (), "stale": (4,)}
  each = example | {"label": np.arange(4), "stale": np.ones((4, 3))}
  found = cut(each, 2)
  assert (found["label"].shape, found["stale"].shape) == ((2,), (2, 3))


def test_what_has_no_lengths_or_no_batch_is_refused(error_of):
  drawn = data.load("recall", seed=0)
  message = error_of(
    data.train_iterator, drawn, batch_size=8, seed=0, length=128, buckets=(64,)
  )
  assert "recall has 1,073,741,824 examples, more than 1,048,576" in message
  message = error_of(
    data.train_iterator,
    dataset(SIZES[:5]),
    batch_size=8,
    seed=0,
    length=32,
    buckets=(8,),
  )
  assert "config.train.batch_size=8 training examples, got 5" in message
