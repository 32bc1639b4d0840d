"""ListOps of the Long Range Arena: the value of a nested list of operations.

[MAX 4 3 [MIN 2 3 ] 1 0 ] is 4. The operators are MIN, MAX, MED (the median;
of an even number of values the mean of the middle two, rounded down) and SM
(the sum modulo 10), so the answer is a digit.

The lists are generated here once, or read from the release's files. Token ids:
0 padding, 1..10 the digits 0..9, 11 [MIN, 12 [MAX, 13 [MED, 14 [SM, 15 ].
Brackets are kept. The files also have parentheses, which are redundant and are
dropped, as in the reference (google-research/long-range-arena,
lra_benchmarks/listops).
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
import tensorflow_datasets as tfds

from nema_lc_jax.data.byte_text import tokens
from nema_lc_jax.data.lra import listops_trees as trees
from nema_lc_jax.data.lra.release import find_release, majority
from nema_lc_jax.data.prepare import Record, cache_directory, prepare
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  checksum,
  fingerprint,
  require_at_least,
  require_seed,
  require_split,
)

FILES = {
  "train": "basic_train.tsv",
  "validation": "basic_val.tsv",
  "test": "basic_test.tsv",
}
FOLDER = "listops-1000"
HEADER = b"Source\tTarget"
IDS = {name.encode(): 1 + i for i, name in enumerate(trees.TOKENS)}
DROPPED = {b"(", b")"}
LABELS = {str(digit).encode(): digit for digit in range(10)}
# Among shorter lists, the same one could be drawn twice.
SHORTEST = 50


class _Lists(NamedTuple):
  """The lists of all splits before they are prepared."""

  identity: str  # a sha256
  splits: dict[str, Callable[[], Iterator[Record]]]  # generate the records
  origin: str  # for the description


def load(
  *,
  dir: str | None = None,
  length: int = 2000,
  min_length: int = 500,
  max_length: int = 2000,
  data_seed: int = 0,
  num_train: int = 96_000,
  num_eval: int = 2000,
  num_test: int = 2000,
) -> Dataset:
  """Lists of operations, each cut to its first `length` tokens.

  Args:
    dir: the folder of the release's files, or one above it as in the release.
      By default lists are generated, and only these use the options below.
    length: the default length, 2000 in the protocol.
    min_length: a list has more tokens than this, and fewer than `max_length`.
    max_length: see `min_length`.
    data_seed: of the lists. They do not depend on the seed of the run.
    num_train: number of training lists.
    num_eval: number of validation lists.
    num_test: number of test lists.

  Raises:
    DataError: if files are missing or malformed; names the file and the line.
  """
  del length  # lists are cut when examples are made
  if dir is None:
    sizes = (num_train, num_eval, num_test)
    lists = _generated_lists(sizes, min_length, max_length, data_seed)
  else:
    lists = _release_lists(dir)
  records = prepare(
    "listops",
    fingerprint=lists.identity,
    features={"tokens": tfds.features.Text(), "label": np.int64},
    splits=lists.splits,
    cache=cache_directory(),
  )

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    return _examples(records[split], length)

  def baselines(split: str, length: int) -> dict[str, float]:
    both = examples("train", length), examples(split, length)
    first = lambda example: int(example["inputs"][0])
    return {
      "majority": majority(*both),
      "root_operator": majority(*both, first),
    }

  return Dataset(
    name="listops",
    head="classify",
    vocab_size=1 + len(trees.TOKENS),
    num_classes=10,
    num_examples={split: len(source) for split, source in records.items()},
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=baselines,
    fingerprint=lists.identity,
    description=f"listops: LRA's nested lists, {lists.origin} tokens",
  )


def _generated_lists(
  sizes: tuple[int, int, int], min_length: int, max_length: int, data_seed: int
) -> _Lists:
  _check(min_length, max_length, data_seed, sizes)
  options = (min_length, max_length, data_seed)
  return _Lists(
    fingerprint(generated=trees.VERSION, sizes=sizes, lists=options),
    {
      split: functools.partial(_generate, split, size, *options)
      for split, size in zip(SPLITS, sizes, strict=True)
    },
    f"generated with more than {min_length}, fewer than {max_length}",
  )


def _release_lists(directory: str) -> _Lists:
  paths = find_release("listops", directory, FOLDER, FILES)
  return _Lists(
    fingerprint(files={split: checksum(paths[split]) for split in paths}),
    {split: functools.partial(read_lists, paths[split]) for split in paths},
    "the release's files of up to 2000",
  )


def _check(
  min_length: int, max_length: int, data_seed: int, sizes: Sequence[int]
) -> None:
  require_seed(data_seed, "data_seed")
  require_at_least(SHORTEST, min_length=min_length)
  require_at_least(min_length + 50, max_length=max_length)
  names = ("num_train", "num_eval", "num_test")
  require_at_least(1, **dict(zip(names, sizes, strict=True)))


def _generate(
  split: str, size: int, min_length: int, max_length: int, data_seed: int
) -> Iterator[Record]:
  key = np.array([data_seed, SPLITS.index(split)], np.uint64)
  rng = np.random.Generator(np.random.Philox(key=key))
  lists = trees.draw(rng, min_length, max_length)
  for _, (ids, label) in zip(range(size), lists, strict=False):
    yield {"tokens": (1 + ids).tobytes(), "label": label}


def read_lists(path: Path) -> Iterator[Record]:
  """The records of a file; DataError names the first malformed line."""
  line = 1
  with path.open("rb") as file:
    header = file.readline().rstrip(b"\r\n")
    if header != HEADER:
      raise DataError(
        f"{path}:1: expected the columns Source and Target between a tab, got "
        f"{header[:40].decode(errors='replace')!r}"
      )
    for line, text in enumerate(file, 2):
      try:
        yield _parse(text.rstrip(b"\r\n"))
      except ValueError as error:
        raise DataError(f"{path}:{line}: {error}") from None
  if line == 1:
    raise DataError(f"{path}: the file has no lists")


def _parse(line: bytes) -> Record:
  columns = line.split(b"\t")
  if len(columns) != 2:
    raise ValueError(
      f"expected 2 columns between tabs (Source, Target), got {len(columns)}"
    )
  source, label = columns
  if label not in LABELS:
    raise ValueError(
      "expected a target of 0 to 9, got "
      f"{label[:20].decode(errors='replace')!r}"
    )
  try:
    ids = bytes(IDS[token] for token in source.split() if token not in DROPPED)
  except KeyError as error:
    token = error.args[0][:20].decode(errors="replace")
    raise ValueError(
      f"unknown token {token!r}; known: {' '.join(trees.TOKENS)} ( )"
    ) from None
  if not ids:
    raise ValueError("the source is empty")
  _require_closed(source)
  return {"tokens": ids, "label": LABELS[label]}


def _require_closed(source: bytes) -> None:
  """Raises ValueError unless all brackets match."""
  depth = 0
  for token in source.split():
    depth += token.startswith(b"[") - (token == b"]")
    if depth < 0:
      break
  if depth:
    raise ValueError("the source has brackets that do not match")


def _examples(records: Sequence[Record], length: int) -> Examples:
  def make(i: int) -> Example:
    record = records[i]
    ids = np.frombuffer(record["tokens"], np.uint8).astype(np.int32)
    return tokens(ids, length) | {"label": np.int32(record["label"])}

  return Examples(len(records), make)
