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
  """An endless iterator of shuffled training batches [batch_size, ...].

  Every epoch is shuffled anew, and rows of a batch are distinct examples; what
  does not fill a batch is left out of that epoch. `get_state` and `set_state`
  resume bit for bit.

  Args:
    dataset: what to read.
    batch_size: rows per batch of this process.
    seed: of the order, and of what the data set draws anew in each epoch.
    length: tokens of an example.
    shard: (index, count) of this process; shards are disjoint, equally large.

  Raises:
    DataError: when a shard has fewer examples than a batch.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  require_seed(seed)
  index, count = shard
  if not 0 <= index < count:
    raise DataError(f"shard {index} of {count} does not exist")
  examples = dataset.train(length, seed).seed(seed).shuffle()
  per_shard = len(examples) // count
  if per_shard < batch_size:
    raise DataError(
      f"batch_size {batch_size} is larger than the {per_shard} training "
      f"examples of {dataset.name} per process"
    )
  return iter(
    examples[: per_shard * count][index::count]
    .batch(batch_size, drop_remainder=True)
    .repeat()
    .to_iter_dataset(READ_OPTIONS)
  )


def eval_batches(
  dataset: Dataset,
  split: str,
  *,
  batch_size: int,
  length: int,
  limit: int | None = None,
) -> Iterator[Example]:
  """All examples of a split, once each and in order, in full batches.

  Every batch has `index` int32 [batch_size], the number of each example, and
  `weight` float32 [batch_size]: 1, and 0 on the rows that repeat the last
  example in order to fill the last batch. With `limit`, the first so many
  examples are all.
  """
  require_at_least(1, batch_size=batch_size, length=length)
  require_split(split)
  examples = dataset.evaluation(split, length)
  size = len(examples) if limit is None else min(limit, len(examples))
  return _batches(examples, size, batch_size)


def _batches(
  examples: Examples, size: int, batch_size: int
) -> Iterator[Example]:
  for start in range(0, size, batch_size):
    numbers = np.arange(start, start + batch_size, dtype=np.int32)
    weight = (numbers < size).astype(np.float32)
    index = np.minimum(numbers, size - 1)
    made = [examples[i] for i in range(start, min(start + batch_size, size))]
    rows = [made[i - start] for i in index]
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    yield batch | {"index": index, "weight": weight}
