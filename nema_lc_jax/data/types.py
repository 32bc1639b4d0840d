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
# A further split of some data sets: all their examples.
ALL = "all"
# The name of the token for words without one of their own.
UNKNOWN_WORD = "<unk>"
MAX_SEED = 2**32 - 1
ENDLESS = 2**62  # examples of data without an end
MAX_OPTION = 2**31 - 1
# Of a generated text: the name of each is held, and an example may draw a
# permutation of them.
MAX_TOKENS = 2**20

Example = dict[str, np.ndarray]


class DataError(ValueError):
  """A mistake in options or files; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Examples:
  """A random-access source: example i is `make(i)`.

  An index outside of 0..size-1 is an IndexError.
  """

  size: int
  make: Callable[[int], Example]

  def __len__(self) -> int:
    return self.size

  def __getitem__(self, index: int) -> Example:
    if not 0 <= index < self.size:
      raise IndexError(f"example {index} of {self.size}")
    return self.make(int(index))


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set, its splits, and what is known about it without a model.

  An example is a dict of NumPy arrays whose shapes depend on `length` L only:

  inputs int32 [L]: token ids;
  mask bool [L]: False on padding;
  label int32 [], or [L] for causal_lm and masked_lm, where a negative label
    means that the token has no question;
  inputs2, mask2: the second text, for the head match;
  group int32 []: the document's id, in place of `label` in training pairs with
    in-batch negatives;
  task int32 []: the number of the example's task, if there are several;
  ground_truth int8 [L]: 0 noise, 1 a fact that an ideal memory keeps, 2 a fact
    that is asked about; absent if it is not known.

  Lifecycle tasks add four arrays, which are -1 where they do not apply:

  invalidates int32 [L]: at an item, the position of the fact that it makes
    invalid;
  updates int32 [L]: at an item, the position of the newest fact about the same
    thing;
  answer_position int32 [L]: at a question, the position of the fact that
    answers it;
  stale int32 [S], or [L, S] for causal_lm: labels that were right earlier in
    the text.
  """

  name: str
  head: str  # "classify", "match", "causal_lm" or "masked_lm"
  vocab_size: int  # ids are 0..vocab_size-1; 0 is padding
  num_classes: int
  num_examples: Mapping[str, int]  # of SPLITS, and of ALL if it has it
  # (length, seed) -> examples in a fixed order. The seed is that of examples
  # that are drawn anew in each epoch. These three functions may hold a whole
  # corpus, which must not be printed.
  train: Callable[[int, int], grain.MapDataset] = dataclasses.field(repr=False)
  # (split, length) -> examples in their final order
  evaluation: Callable[[str, int], Examples] = dataclasses.field(repr=False)
  # (split, length) -> accuracies that need no model
  baselines: Callable[[str, int], dict[str, float]] = dataclasses.field(
    repr=False
  )
  # sha256 of the files and options. The seed is no part of it.
  fingerprint: str
  description: str  # one line
  # How the ids and the labels are written for people to read, in their order;
  # without names they are written as numbers.
  token_names: Sequence[str] = dataclasses.field(default=(), repr=False)
  label_names: Sequence[str] = dataclasses.field(default=(), repr=False)
  # (split, length, number of slots) -> accuracies that bound memories of so
  # many slots, by name.
  limits: Callable[[str, int, int], dict[str, float]] = dataclasses.field(
    default=lambda *_: {}, repr=False
  )
  # (length, seed, rows) -> endless examples: number n is of row n % rows, whose
  # next one is number n + rows. Each has `continues` bool []: whether it begins
  # where the one before it in its row has ended. None: no such streams.
  streams: Callable[[int, int, int], Examples] | None = dataclasses.field(
    default=None, repr=False
  )
  # Whether the tokens are the bytes of a text, as `byte_text.encode` makes
  # them; such data need no token_names.
  byte_level: bool = False
  # Of texts of words: the tokens of a sentence, padded, as `prose.encode` makes
  # them; the last one is the question. 0 for other texts.
  sentence_length: int = 0
  # Whether a question about a document ends each example, as `layout.place`
  # puts it.
  questions: bool = False
  # Whether another seed puts other examples of the same files in each split.
  split_by_seed: bool = False
  # Where `vocab_size` and `num_classes` come from, such as "id 9 in row 3 of
  # `inputs`", by name of the field; for errors about models that are too large.
  origins: Mapping[str, str] = dataclasses.field(
    default_factory=dict, repr=False
  )


def fingerprint(**fields: Any) -> str:
  """A sha256 of named JSON values, the same in every process."""
  text = json.dumps(fields, sort_keys=True, allow_nan=False)
  return hashlib.sha256(text.encode()).hexdigest()


def checksum(path: Path) -> str:
  """The sha256 of a whole file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def shuffled(size: int, seed: int = 0) -> np.ndarray:
  """0 to size-1 in an order that follows from the seed alone."""
  return np.random.Generator(np.random.Philox(seed)).permutation(size)


def example_rng(
  seed: int, split: str, index: int, length: int
) -> np.random.Generator:
  """The random generator of one example of one split.

  Seed, split and length are the key of a counter-based generator, and the index
  is its counter. So the random numbers of two examples never overlap.
  """
  key = np.array([seed, SPLITS.index(split) << 32 | length], np.uint64)
  counter = np.array([0, 0, 0, index], np.uint64)
  return np.random.Generator(np.random.Philox(key=key, counter=counter))


def require_split(split: str) -> None:
  """Raises DataError unless `split` is one that all data sets have."""
  if split not in SPLITS:
    raise DataError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")


def require_seed(seed: int, name: str = "seed") -> None:
  """Raises DataError unless 0 <= seed < 2**32."""
  if not _is(int, seed) or not 0 <= seed <= MAX_SEED:
    raise DataError(f"{name} must be an integer in 0..{MAX_SEED}, got {seed!r}")


def require_between(low: float, high: float, **options: float) -> None:
  """Raises DataError naming the first option outside of [low, high]."""
  for name, value in options.items():
    if not _is(int | float, value) or not low <= value <= high:
      raise DataError(f"{name} must be in [{low}, {high}], got {value!r}")


def _is(kind: Any, value: Any) -> bool:
  """Whether a value is a number of a kind, which a bool is not."""
  return isinstance(value, kind) and not isinstance(value, bool)


def require_at_least(
  minimum: int, *, most: int = MAX_OPTION, **options: int
) -> None:
  """Raises DataError naming the first option outside of minimum..most."""
  for name, value in options.items():
    if not _is(int, value) or value < minimum:
      raise DataError(
        f"{name} must be an integer of at least {minimum}, got {value!r}"
      )
    if value > most:
      raise DataError(
        f"{name} must be an integer of at most {most}, got {value!r}"
      )


def require_sentences(
  name: str,
  length: int,
  sentence_length: int,
  *,
  least: int = 1,
  what: str = "a sentence",
) -> None:
  """Raises DataError unless a length is whole sentences, and enough.

  Args:
    name: of the data set.
    length: tokens of a text.
    sentence_length: tokens of a sentence, and of the question.
    least: the fewest sentences before the question.
    what: says what needs so many.
  """
  shortest = (least + 1) * sentence_length
  if length % sentence_length or length < shortest:
    raise DataError(
      f"{name} needs a length that is a multiple of sentence_length="
      f"{sentence_length} and at least {shortest}, {what} and a question; got"
      f" {length}"
    )
