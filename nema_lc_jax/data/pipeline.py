"""Batches of a data set: endless for training, complete for evaluation."""

from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.buckets import Batch, Epochs, batches_of, cut, sizes_of
from nema_lc_jax.data.types import (
  ENDLESS,
  DataError,
  Dataset,
  Example,
  Examples,
  require_at_least,
  require_seed,
)

# Batches are made mostly in Python: one thread makes them while a step trains,
# and more threads would compete for the interpreter. A short queue bounds the
# memory that long texts need.
READ_OPTIONS = grain.ReadOptions(num_threads=1, prefetch_buffer_size=8)


def train_iterator(
  dataset: Dataset,
  *,
  batch_size: int,
  seed: int,
  length: int,
  shard: tuple[int, int] = (0, 1),
  streams: bool = False,
  buckets: Sequence[int] = (),
) -> grain.DatasetIterator:
  """This process's rows of an endless sequence of shuffled training batches.

  Every epoch is shuffled anew, and the rows of a batch are distinct examples.
  Examples that do not fill a batch are left out of their epoch. A batch with
  more rows than there are examples has several epochs, which is logged.
  `get_state` and `set_state` resume bit for bit, even on another number of
  processes: the batches of all processes together are the same, and positions
  count batches.

  Args:
    dataset: whose training examples.
    batch_size: rows per batch, over all processes.
    seed: of the order, and of examples that are drawn anew in each epoch.
    length: tokens of an example.
    shard: (index, count) of this process, which gets block number `index` of
      each batch's rows, [batch_size / count, ...].
    buckets: shorter lengths, rising; a batch has the least that holds its
      texts, which are of similar lengths.
    streams: each row goes on where it ended in the batch before, if the data
      set has such streams.

  Raises:
    DataError: if a batch cannot be split evenly, or lengths are not known.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  require_seed(seed)
  first, rows = _own_rows(batch_size, shard)
  if streams and dataset.streams:
    stream = dataset.streams(length, seed, batch_size)
  elif buckets:
    stream = _bucketed(dataset, batch_size, seed, (*buckets, length))
  else:
    stream = _shuffled_epochs(dataset, batch_size, seed, length)
  own = lambda i: stream[i // rows * batch_size + first + i % rows]
  return iter(
    # Lengths are the largest possible; half of it keeps grain's sums from
    # overflowing.
    grain.MapDataset.source(Examples(len(stream) // (2 * shard[1]), own))
    .batch(rows)
    .to_iter_dataset(READ_OPTIONS)
  )


def _bucketed(
  dataset: Dataset, batch_size: int, seed: int, buckets: Sequence[int]
) -> Examples:
  """All examples, again and again, in whole batches of similar lengths."""
  examples = dataset.train(buckets[-1], seed).seed(seed)
  sizes = sizes_of(examples, dataset.name)
  epochs = Epochs(sizes, buckets, batch_size, seed)

  def example(i: int) -> Example:
    numbers, length = epochs[i // batch_size]
    return cut(examples[int(numbers[i % batch_size])], length)

  return Examples(ENDLESS, example)


def _shuffled_epochs(
  dataset: Dataset, batch_size: int, seed: int, length: int
) -> grain.MapDataset:
  """All examples, again and again, in whole batches."""
  examples = dataset.train(length, seed).seed(seed).shuffle()
  whole = len(examples) // batch_size * batch_size
  if not whole:
    # Each stage of a curriculum begins anew.
    logging.log_first_n(
      logging.WARNING,
      "config.train.batch_size=%d is more than the %d training examples of %s:"
      " a batch has examples more than once",
      1, batch_size, len(examples), dataset.name,
    )  # fmt: skip
  return examples[: whole or None].repeat()


def _own_rows(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
  """The first row of a process in each batch, and the number of its rows."""
  index, count = shard
  if not 0 <= index < count:
    raise DataError(f"shard {index} of {count} does not exist")
  if batch_size % count:
    raise DataError(
      f"batch_size {batch_size} must be a multiple of the number of processes,"
      f" {count}"
    )
  rows = batch_size // count
  return index * rows, rows


def eval_batches(
  dataset: Dataset,
  split: str,
  *,
  batch_size: int,
  length: int,
  limit: int | None = None,
  shard: tuple[int, int] = (0, 1),
  buckets: Sequence[int] = (),
) -> Iterator[Example]:
  """All examples of a split, once each and in order, in full batches.

  Every batch has `index` int32 [batch_size], the number of each example, and
  `weight` float32 [batch_size]: 1, and 0 on the rows that repeat the last
  example in order to fill the last batch.

  Args:
    dataset: whose examples.
    split: one of `dataset.num_examples`.
    batch_size: rows per batch, over all processes.
    length: tokens of an example.
    limit: only the first so many examples; None: all.
    shard: (index, count) of this process, as for `train_iterator`.
    buckets: as for `train_iterator`; batches are then in the order of lengths.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  if split not in dataset.num_examples:
    known = ", ".join(dataset.num_examples)
    raise DataError(f"{dataset.name} has no split {split!r}; it has: {known}")
  examples = dataset.evaluation(split, length)
  size = len(examples) if limit is None else min(limit, len(examples))
  own = _own_rows(batch_size, shard)
  if buckets:
    sizes = sizes_of(Examples(size, examples.__getitem__), dataset.name)
    planned = batches_of(sizes, (*buckets, length), batch_size)
  else:
    planned = [
      Batch(np.arange(start, min(start + batch_size, size)), length)
      for start in range(0, size, batch_size)
    ]
  return _batches(examples, planned, batch_size, *own)


def _batches(
  examples: Examples,
  planned: Sequence[Batch],
  batch_size: int,
  first: int,
  rows: int,
) -> Iterator[Example]:
  for numbers, length in planned:
    real = np.arange(batch_size) < len(numbers)
    weight = real.astype(np.float32)[first : first + rows]
    index = np.pad(numbers, (0, batch_size - len(numbers)), "edge")
    index = index[first : first + rows].astype(np.int32)
    made = {i: cut(examples[i], length) for i in {*index.tolist()}}
    each = [made[i] for i in index.tolist()]
    batch = {name: np.stack([row[name] for row in each]) for name in each[0]}
    yield batch | {"index": index, "weight": weight}
