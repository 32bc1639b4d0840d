"""Batches of texts of similar lengths, which need less padding.

A batch is as long as its bucket, the first that holds all of its texts. Shapes
are few, so programs are. Texts that fill no batch of their bucket go into one
of the next.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nema_lc_jax.data.types import DataError, Example

# Data that are drawn anew have more examples, and no lengths to know.
MOST_EXAMPLES = 2**20


class Batch(NamedTuple):
  """The numbers of a batch's examples, and their length."""

  numbers: np.ndarray
  length: int


def sizes_of(examples: Sequence[Example], name: str) -> np.ndarray:
  """The tokens of each example up to its padding, of pairs the longer one's.

  Raises:
    DataError: if there are too many examples to look at each.
  """
  if len(examples) > MOST_EXAMPLES:
    raise DataError(
      f"config.train.buckets needs texts whose lengths are known; {name} has"
      f" {len(examples):,} examples, more than {MOST_EXAMPLES:,}"
    )
  return np.array([_size(examples[i]) for i in range(len(examples))], int)


def _size(example: Example) -> int:
  masks = [x for name, x in example.items() if name in ("mask", "mask2")]
  return max(int(np.max(np.flatnonzero(m), initial=-1)) + 1 for m in masks)


def batches_of(
  sizes: np.ndarray,
  buckets: Sequence[int],
  batch_size: int,
  rng: np.random.Generator | None = None,
) -> list[Batch]:
  """All batches of a pass, in a random order; the last texts may be left out.

  Args:
    sizes: of the examples, in tokens, none more than the last bucket.
    buckets: lengths, rising.
    batch_size: examples per batch.
    rng: shuffles examples and batches; None: they are in order, and the last
      batch may have fewer examples, so that none is left out.
  """
  bucket = np.searchsorted(buckets, sizes)
  found, waiting = [], np.zeros(0, int)
  for i, length in enumerate(buckets):
    own = np.flatnonzero(bucket == i)
    waiting = np.concatenate(
      [waiting, own if rng is None else rng.permutation(own)]
    )
    whole = len(waiting) // batch_size * batch_size
    parts = waiting[:whole].reshape(-1, batch_size)
    found += [Batch(part, length) for part in parts]
    waiting = waiting[whole:]
  if rng is None:
    return found + [Batch(waiting, buckets[-1])] * (len(waiting) > 0)
  return [found[i] for i in rng.permutation(len(found))]


def cut(example: Example, length: int) -> Example:
  """An example [L] without its padding after `length`."""
  L = len(example["mask"])
  # These are of the whole text, whatever their number is.
  whole = {"label", "stale"} if not np.ndim(example.get("label", 0)) else set()
  return {
    name: x[:length] if np.ndim(x) and len(x) == L and name not in whole else x
    for name, x in example.items()
  }


class Epochs:
  """Endless training batches: number k is always the same."""

  def __init__(
    self, sizes: np.ndarray, buckets: Sequence[int], batch_size: int, seed: int
  ):
    """See `batches_of`; each epoch is shuffled anew.

    Raises:
      DataError: if there are fewer examples than a batch has.
    """
    if len(sizes) < batch_size:
      raise DataError(
        f"config.train.buckets needs at least config.train.batch_size="
        f"{batch_size} training examples, got {len(sizes)}"
      )
    self._per_epoch = len(sizes) // batch_size

    @functools.lru_cache(maxsize=2)
    def epoch(number: int) -> list[Batch]:
      key = np.array([seed, number], np.uint64)
      rng = np.random.Generator(np.random.Philox(key=key))
      return batches_of(sizes, buckets, batch_size, rng)

    self._epoch = epoch

  def __getitem__(self, number: int) -> Batch:
    epoch, place = divmod(number, self._per_epoch)
    return self._epoch(epoch)[place]
