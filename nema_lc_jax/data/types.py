"""What a data set is: `Dataset`, its examples, and the errors of its users."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

SPLITS = ("train", "validation", "test")
MAX_SEED = 2**32 - 1

Example = dict[str, np.ndarray]


class DataError(ValueError):
  """A mistake in options or files; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Examples:
  """A random-access source: example i is `make(i)`, for i < `size`."""

  size: int
  make: Callable[[int], Example]

  def __len__(self) -> int:
    """Number of examples."""
    return self.size

  def __getitem__(self, index: int) -> Example:
    """Makes example `index`; IndexError outside [0, size)."""
    if not 0 <= index < self.size:
      raise IndexError(f"example {index} of {self.size}")
    return self.make(int(index))


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set, its splits, and what is known about it without a model.

  An example is a dict of NumPy arrays whose shapes depend on `length` L only:
  `inputs` int32 [L]; `mask` bool [L], False on padding; `label` int32 [], or
  [L] for causal_lm, where a negative label is not asked. The match head adds
  `inputs2` and `mask2`; in-batch training pairs carry `group` int32 [] (the
  document's id) in place of `label`. A data set of several tasks adds `task`
  int32 [], the number of each example's. Where it is known there is
  `ground_truth` int8 [L]: 0 noise, 1 a fact that an ideal memory keeps, 2 one
  that is asked about; and of the lifecycle tasks, all -1 where there is none:

  invalidates int32 [L]: at an item, the position of the fact that it makes
    invalid;
  answer_position int32 [L]: at a question, the position of the fact that
    answers it;
  stale int32 [S], or [L, S] for causal_lm: labels that were right once.
  """

  name: str
  head: str  # "classify", "match", "causal_lm" or "masked_lm"
  vocab_size: int  # ids are 0..vocab_size-1; 0 is padding
  num_classes: int
  num_examples: Mapping[str, int]  # train, validation, test
  # (length, seed) -> examples in a fixed order; the seed drives what is drawn
  # anew in each epoch, where the data set draws at all. These three may hold a
  # corpus, which a repr should not.
  train: Callable[[int, int], grain.MapDataset] = dataclasses.field(repr=False)
  # (split, length) -> examples in their final order
  evaluation: Callable[[str, int], Examples] = dataclasses.field(repr=False)
  # (split, length) -> accuracies that need no model
  baselines: Callable[[str, int], dict[str, float]] = dataclasses.field(
    repr=False
  )
  # sha256 of what the data is; seeds of one data set share it.
  fingerprint: str
  description: str  # one line
  # How the ids and the labels are written for people to read, in their order;
  # without names they are written as numbers.
  token_names: Sequence[str] = dataclasses.field(default=(), repr=False)
  label_names: Sequence[str] = dataclasses.field(default=(), repr=False)
  # Whether the tokens are the bytes of a text, as `byte_text.encode` makes
  # them; such data need no token_names.
  byte_level: bool = False


def fingerprint(**fields: Any) -> str:
  """A sha256 of named JSON values, the same in every process."""
  text = json.dumps(fields, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def checksum(path: Path) -> str:
  """The sha256 of a whole file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def shuffled(size: int, seed: int = 0) -> np.ndarray:
  """0 to size-1 in an order that follows from the seed alone."""
  return np.random.Generator(np.random.Philox(seed)).permutation(size)


def stream(seed: int, split: str, index: int, length: int):
  """A random generator that belongs to one example of one split.

  The split and the length are part of the key of a counter-based generator and
  the index is its counter, so the streams of two examples never meet.
  """
  key = np.array([seed, SPLITS.index(split) << 32 | length], np.uint64)
  counter = np.array([0, 0, 0, index], np.uint64)
  return np.random.Generator(np.random.Philox(key=key, counter=counter))


def require_split(split: str) -> None:
  """Raises DataError unless `split` is a known one."""
  if split not in SPLITS:
    raise DataError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")


def require_seed(seed: int) -> None:
  """Raises DataError unless 0 <= seed < 2**32."""
  if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
    raise DataError(f"seed must be an integer in 0..{MAX_SEED}, got {seed!r}")


def require_at_least(minimum: int, **options: int) -> None:
  """Raises DataError naming the first option that is below `minimum`."""
  for name, value in options.items():
    if not isinstance(value, int) or value < minimum:
      raise DataError(
        f"{name} must be an integer of at least {minimum}, got {value!r}"
      )
