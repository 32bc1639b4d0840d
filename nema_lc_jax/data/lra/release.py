"""Common parts of the Long Range Arena: files, sizes, baselines."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from nema_lc_jax.data.byte_text import encode, tokens
from nema_lc_jax.data.prepare import Record
from nema_lc_jax.data.types import (
  DataError,
  Example,
  Examples,
  require_at_least,
  require_split,
  shuffled,
)

ARCHIVE = (
  "get the LRA release archive, lra_release.gz, named in the README of "
  "google-research/long-range-arena, unpack it, and name its folder by dir"
)
# Enough for the most frequent label, overall or in each of a few groups.
FIT_EXAMPLES = 4000


def find_release(
  name: str, directory: str | None, folder: str, files: Mapping[str, str]
) -> dict[str, Path]:
  """The path of each of `files`, in the first folder that has all of them.

  Args:
    name: of the data set, for errors.
    directory: the user's: the folder of the files, or one above `folder`.
    folder: of the release; its archive is nested once or twice.
    files: names below `folder`, by key.

  Raises:
    DataError: if a folder has only some of the files, or none has any.
  """
  places = (folder, f"lra_release/{folder}")
  places += (f"lra_release/lra_release/{folder}",)
  return find_all(
    name,
    Path(directory or ".").expanduser(),
    places,
    files,
    otherwise=f"below it in {', '.join(places)}; {ARCHIVE}",
  )


def find_all(
  name: str,
  root: Path,
  places: Sequence[str],
  files: Mapping[str, str],
  *,
  otherwise: str,
  exists: Callable[[Path], bool] = Path.exists,
) -> dict[str, Path]:
  """The path of each of `files`, in `root` or the first of `places` below it.

  Args:
    name: of the data set, for errors.
    root: the folder that the user names.
    places: folders below `root`, which are searched after it.
    files: names, by key.
    otherwise: the end of the error if nothing is found.
    exists: whether a path is there and of the right kind.

  Raises:
    DataError: if a folder has only some of the files, or none has any.
  """
  for place in ("", *places):
    paths = {key: root / place / file for key, file in files.items()}
    missing = [files[key] for key, path in paths.items() if not exists(path)]
    if not missing:
      return paths
    if len(missing) < len(paths):
      raise DataError(f"{name}: {root / place} lacks {', '.join(missing)}")
  first = next(iter(files.values()))
  raise DataError(f"{name}: no {first} in {root} or {otherwise}")


def subset(
  examples: Examples, split: str, *, num_eval: int | None, num_test: int | None
) -> Examples:
  """The first num_eval or num_test examples of a fixed permutation; None: all.

  The permutation is needed because files may be sorted. Training is not cut. If
  there are fewer examples, all are used, and a warning says so.

  Raises:
    DataError: if less than 1 is asked for.
  """
  options = {
    "validation": {"num_eval": num_eval},
    "test": {"num_test": num_test},
  }
  for option, count in options.get(split, {}).items():
    if count is not None:
      return _choose(examples, option, count)
  return examples


def _choose(examples: Examples, option: str, count: int) -> Examples:
  require_at_least(1, **{option: count})
  if count > len(examples):
    warn_of_fewer(option, count, len(examples))
  order = shuffled(len(examples))
  return Examples(min(count, len(examples)), lambda i: examples[int(order[i])])


@functools.cache  # Once, however often the examples are made.
def warn_of_fewer(option: str, count: int, used: int) -> None:
  """Warns that there are fewer examples than an option asks for."""
  logging.warning(
    "config.data.%s=%d is more than there are; %d are used", option, count, used
  )


def byte_text(content: bytes, label: int, length: int) -> Example:
  """An example of bytes, which may be the grey values of an image row by row.

  Token id = byte + 1; 0 is padding.
  """
  return tokens(encode(content[:length]), length) | {"label": np.int32(label)}


def images(
  name: str,
  records: Mapping[str, Sequence[Record]],
  pixels: int,
  *,
  num_eval: int | None,
  num_test: int | None,
) -> Callable[[str, int], Examples]:
  """A function (split, length) -> examples of records of images.

  Args:
    name: of the data set, for errors.
    records: of each split, with `pixels` and `label`.
    pixels: number of pixels of an image.
    num_eval: as for `subset`.
    num_test: as for `subset`.
  """

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    require_whole(name, length, pixels)
    source = records[split]
    make = lambda i: byte_text(source[i]["pixels"], source[i]["label"], length)
    whole = Examples(len(source), make)
    return subset(whole, split, num_eval=num_eval, num_test=num_test)

  return examples


def require_whole(name: str, length: int, pixels: int) -> None:
  """Raises DataError unless `length` is at least the number of pixels."""
  if length < pixels:
    raise DataError(
      f"{name}: length must be at least {pixels}, one token per pixel; got "
      f"{length}"
    )


def majority(
  fit: Examples,
  split: Examples,
  group: Callable[[Example], int] = lambda _: 0,
) -> float:
  """Accuracy of the most frequent label of each group.

  Labels are counted on the first `FIT_EXAMPLES` of `fit`, and the accuracy is
  that on all of `split`. By default there is one group.
  """
  seen = [_answer(fit[i], group) for i in range(min(len(fit), FIT_EXAMPLES))]
  size = 1 + max(label for _, label in seen)
  counts: dict[int, np.ndarray] = {}
  for key, label in seen:
    counts.setdefault(key, np.zeros(size, int))[label] += 1
  everyone = sum(counts.values())
  asked = [_answer(split[i], group) for i in range(len(split))]
  right = [counts.get(k, everyone).argmax() == label for k, label in asked]
  return float(np.mean(right))


def _answer(
  example: Example, group: Callable[[Example], int]
) -> tuple[int, int]:
  return group(example), int(example["label"])
