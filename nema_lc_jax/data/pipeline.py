"""From a data set to batches: training streams and complete evaluations."""

from collections.abc import Iterator

import grain
import numpy as np

from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  Example,
  Examples,
  require_at_least,
  require_seed,
  require_split,
)

# Making a batch is mostly Python: one thread hides it behind a training step,
# more fight over the interpreter. A short queue bounds memory on long texts.
READ_OPTIONS = grain.ReadOptions(num_threads=1, prefetch_buffer_size=8)


def train_iterator(
  dataset: Dataset,
  *,
  batch_size: int,
  seed: int,
  length: int,
  shard: tuple[int, int] = (0, 1),
) -> grain.DatasetIterator:
  """An endless iterator of shuffled training batches, this process's rows.

  Every epoch is shuffled anew, and rows of a batch are distinct examples; what
  does not fill a batch is left out of that epoch. `get_state` and `set_state`
  resume bit for bit, also on another number of processes: batches are the same
  on all of them together, and positions count batches.

  Args:
    dataset: what to read.
    batch_size: rows per batch, over all processes.
    seed: of the order, and of what the data set draws anew in each epoch.
    length: tokens of an example.
    shard: (index, count) of this process, which makes that block of each
      batch's rows [batch_size / count, ...].

  Raises:
    DataError: when there are fewer examples than a batch has rows, or a batch
      cannot be split evenly.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  require_seed(seed)
  first, rows = _own_rows(batch_size, shard)
  examples = dataset.train(length, seed).seed(seed).shuffle()
  batches = len(examples) // batch_size
  if not batches:
    raise DataError(
      f"batch_size {batch_size} is larger than the {len(examples)} training "
      f"examples of {dataset.name}"
    )
  stream = examples[: batches * batch_size].repeat()
  own = lambda i: stream[i // rows * batch_size + first + i % rows]
  return iter(
    # Half of what counts as for ever: of all of it, grain's sums overflow.
    grain.MapDataset.source(Examples(len(stream) // (2 * shard[1]), own))
    .batch(rows)
    .to_iter_dataset(READ_OPTIONS)
  )


def _own_rows(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
  """The first of a process's rows in each batch, and how many it has."""
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
) -> Iterator[Example]:
  """All examples of a split, once each and in order, in full batches.

  Every batch has `index` int32 [batch_size], the number of each example, and
  `weight` float32 [batch_size]: 1, and 0 on the rows that repeat the last
  example in order to fill the last batch. With `limit`, the first so many
  examples are all. With `shard`, (index, count) of this process, it makes that
  block of each batch's rows only.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  require_split(split)
  examples = dataset.evaluation(split, length)
  size = len(examples) if limit is None else min(limit, len(examples))
  return _batches(examples, size, batch_size, *_own_rows(batch_size, shard))


def _batches(
  examples: Examples, size: int, batch_size: int, first: int, rows: int
) -> Iterator[Example]:
  for start in range(first, size + first, batch_size):
    numbers = np.arange(start, start + rows, dtype=np.int32)
    weight = (numbers < size).astype(np.float32)
    index = np.minimum(numbers, size - 1)
    made = {i: examples[i] for i in {*index.tolist()}}
    each = [made[i] for i in index.tolist()]
    batch = {name: np.stack([row[name] for row in each]) for name in each[0]}
    yield batch | {"index": index, "weight": weight}
