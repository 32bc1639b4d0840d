"""Your own data from a file: `.npz` arrays, `.tsv` texts, `.jsonl` questions.

npz: `inputs` [n, L] of token ids; `labels` [n], or [n, L] with one per token,
negative where there is no question (head causal_lm); optional `inputs2` (head
match), `mask` and `mask2`. Without a mask, token 0 is padding. Labels far
apart, such as 5 and 1000000, are numbered in their order.

tsv: label and text, or label, text1 and text2, in UTF-8. Tokens are bytes.
Labels are any strings, and are numbered in sorted order over all splits. A
first line of the columns' names (label or class; text, text1, text2, ...) is
recognised, and gives their order.

jsonl: each line is a JSON object with the strings `document`, `question` and
`answer`. A tsv with these three names as its first line, in any order, is read
the same way. Tokens are bytes, and answers are labels. `layout.place` puts the
document at the beginning of an example and the question at its end.

`path` is one of three things: a single file, which the seed splits 80/10/10
(equal texts, and questions about one document, stay together); a path with
`{split}` in it; or a folder of train, validation and test files of one kind. A
single file has a fourth split, "all", of all its rows.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data import layout
from nema_lc_jax.data.byte_text import VOCAB_SIZE, fit, tokens
from nema_lc_jax.data.text import split as splitting
from nema_lc_jax.data.text.file_readers import READERS
from nema_lc_jax.data.text.table import Table
from nema_lc_jax.data.types import (
  ALL,
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  checksum,
  fingerprint,
  require_split,
)

NOT_ASKED = -1
# Labels are numbered anew where fewer than one of so many numbers is a label.
SPARSE = 2
# An id beyond so many, and beyond so many per different id, is worth a warning.
MANY_IDS, IDS_PER_TOKEN = 10_000, 10


def load(*, seed: int = 0, path: str | None = None) -> Dataset:
  """The data set at `path`; `seed` splits a single file.

  Rows are cut or padded to the requested length. The numbers of tokens and
  classes are those of whole rows: a longer evaluation reads more of them.

  Raises:
    DataError: if a file is missing or malformed; names the file, and the line
      or the key.
  """
  tables, paths, identity = _read(path, seed)
  tables, num_classes, names, classes_from = _numbered(path, tables)
  first = next(iter(tables.values()))
  byte_level = _byte_level(paths)
  vocab_size, ids_from = _vocabulary(path, tables, byte_level=byte_level)
  splits = {split: tables[split] for split in SPLITS if split in tables}
  # Each table is checked, and each warning given, once for a length.
  check = functools.cache(lambda split, n: _check(path, split, tables, n))
  warn_of_cut = functools.cache(lambda n: _warn_of_cut(path, tables, n))
  compare = functools.cache(
    lambda n: _compare(path, splits, names, n, by_seed=ALL in tables)
  )

  def require(split: str, length: int) -> None:
    if split != ALL:
      require_split(split)
    if split not in tables:
      raise DataError(_cannot_be_split(path, first))
    # The whole file comes first, since errors name its rows.
    for name in (ALL,) if split == ALL else tables:
      check(name, length)

  def examples(split: str, length: int) -> Examples:
    require(split, length)
    warn_of_cut(length)
    if split != ALL:
      compare(length)
    return _examples(tables[split], length)

  def baselines(split: str, length: int) -> dict[str, float]:
    require(split, length)
    known = tables[ALL if split == ALL else "train"].asked(length)
    return {"majority": _majority(known, tables[split].asked(length))}

  return Dataset(
    name="file",
    head=first.head,
    vocab_size=vocab_size,
    num_classes=max(2, num_classes),
    num_examples=dict.fromkeys(SPLITS, 0)
    | {split: len(table) for split, table in tables.items()},
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=baselines,
    fingerprint=identity,
    description=f"{first.kind} on {', '.join(file.name for file in paths)}",
    label_names=names,
    byte_level=byte_level,
    questions=bool(first.questions),
    split_by_seed=ALL in tables,
    origins={"vocab_size": ids_from, "num_classes": classes_from},
  )


class Measures(NamedTuple):
  """What a model for a user's own data has to fit."""

  kind: str  # the head, and "questions" if there are any
  rows: int  # of training
  lengths: np.ndarray  # [n] tokens of each row
  longest_question: int  # tokens; 0: none
  byte_level: bool


def measure(path: str) -> Measures:
  """Measures the data at a path.

  Raises:
    DataError: as `load` does, or if a single file cannot be split.
  """
  tables, paths, _ = _read(path, seed=0)
  every = list(_whole(tables).values())
  if "train" not in tables:
    raise DataError(_cannot_be_split(path, every[0]))
  asked = [table.questions.lengths for table in every if table.questions]
  return Measures(
    kind=every[0].kind,
    rows=len(tables["train"]),
    lengths=np.concatenate([table.lengths for table in every]),
    longest_question=int(max((x.max() for x in asked), default=0)),
    byte_level=_byte_level(paths),
  )


def _byte_level(paths: Sequence[Path]) -> bool:
  return paths[0].suffix != ".npz"


def _whole(tables: Mapping[str, Table]) -> Mapping[str, Table]:
  """The tables that have each row once."""
  return {ALL: tables[ALL]} if ALL in tables else tables


def _read(
  path: str | None, seed: int
) -> tuple[dict[str, Table], list[Path], str]:
  """The table of each split, the files that were read, and a fingerprint."""
  if not path:
    raise DataError(
      "file: path is needed: a .npz, .tsv or .jsonl file, a path with {split}"
      " in it, "
      "or a folder of train, validation and test files"
    )
  paths = _files(Path(path).expanduser())
  read = [_read_file(file) for file in paths]
  identity = {"files": [checksum(file) for file in paths]}
  if any(table.header for table in read):
    identity["header"] = True  # Once, it was a row.
  if len(read) > 1:
    tables = dict(zip(SPLITS, read, strict=True))
    kinds = {split: table.kind for split, table in tables.items()}
    if len(set(kinds.values())) > 1:
      found = ", ".join(f"{split}: {kind}" for split, kind in kinds.items())
      raise DataError(f"{path}: the splits are of different kinds ({found})")
    return tables, paths, fingerprint(**identity)
  tables = {ALL: read[0]}
  group = splitting.groups(tables[ALL].keys())
  sizes = np.bincount(group)
  if len(sizes) >= len(SPLITS):
    for split, rows in splitting.split_rows(group, seed).items():
      tables[split] = tables[ALL].take(rows)
    if sizes.min() != sizes.max():
      identity["split"] = "shares of rows"  # Once, it was shares of groups.
  return tables, paths, fingerprint(**identity)


def _cannot_be_split(path: str, table: Table) -> str:
  count = len(set(table.keys()))
  what = "documents" if table.questions else "different rows"
  return (
    f"{path}: {count} {what} can't be split in three, at least 3 are needed"
  )


def _files(path: Path) -> list[Path]:
  """The files at a path: one, or one for each split."""
  if path.is_dir():
    found = [s for s in READERS if (path / f"train{s}").is_file()]
    if len(found) > 1:
      raise DataError(
        f"{path} has train files of several kinds: {', '.join(found)}; choose"
        f" one by {path / '{split}'}{found[0]} or the like"
      )
    suffix = found[0] if found else ".tsv"
    return [path / f"{split}{suffix}" for split in SPLITS]
  if "{split}" in path.name:
    return [path.with_name(path.name.replace("{split}", s)) for s in SPLITS]
  return [path]


def _read_file(path: Path) -> Table:
  if path.suffix not in READERS:
    raise DataError(
      f"{path}: expected a name that ends in .npz, .tsv or .jsonl"
    )
  if not path.is_file():
    raise DataError(f"{path}: no such file")
  found = path.stat()
  return _read_once(path, found.st_mtime_ns, found.st_size)


# A config measures a file before it is loaded.
@functools.lru_cache(maxsize=len(SPLITS))
def _read_once(path: Path, *version: int) -> Table:
  """The table of a file, whose `version` changes when it is written."""
  return READERS[path.suffix](path)


def _numbered(
  path: str, tables: Mapping[str, Table]
) -> tuple[dict[str, Table], int, tuple[str, ...], str]:
  """The tables with classes as labels; the classes' number, names and origin.

  Numbers as labels are kept, so that the classes are 0 to the largest one,
  unless that would be many more classes than there are labels.
  """
  every = np.unique(np.concatenate([t.labels.ravel() for t in tables.values()]))
  text = every.dtype.kind == "O"
  known = every if text else every[every >= 0]
  if not text and known[-1] < SPARSE * len(known):
    origin = f"the largest label, {known[-1]}, in {path}"
    return dict(tables), 1 + int(known[-1]), (), origin
  if not text:
    logging.warning(
      "%s: the labels are %d numbers from %d to %d; each of them is a class,"
      " and those between are none",
      path, len(known), known[0], known[-1],
    )  # fmt: skip

  def numbered(table: Table) -> Table:
    numbers = np.searchsorted(known, table.labels).astype(np.int32)
    if not text:
      numbers = np.where(table.labels < 0, NOT_ASKED, numbers)
    return dataclasses.replace(table, labels=numbers)

  origin = f"the {len(known)} different labels in {path}"
  found = {split: numbered(table) for split, table in tables.items()}
  return found, len(known), tuple(map(str, known)), origin


def _vocabulary(
  path: str, tables: Mapping[str, Table], *, byte_level: bool
) -> tuple[int, str]:
  """The size of the vocabulary, and where it comes from."""
  if byte_level:
    return VOCAB_SIZE, "the 256 bytes"
  found, different = [], set()
  for split, table in _whole(tables).items():
    for name, text in zip(("inputs", "inputs2"), table.texts, strict=False):
      largest, row = text.largest
      where = f"row {row} of {name}" + f" of {split}" * (split != ALL)
      found.append((largest, where))
      different.update(np.unique(np.concatenate(text.ids)).tolist())
  largest, where = max(found)
  origin = f"id {largest} in {where} in {path}"
  if largest > max(MANY_IDS, IDS_PER_TOKEN * len(different)):
    logging.warning(
      "%s: there are %d different ids up to %d (%s); the model gets a vector"
      " for every id up to the largest",
      path, len(different), largest, where,
    )  # fmt: skip
  return max(2, 1 + largest), origin


def _check(
  path: str, split: str, tables: Mapping[str, Table], length: int
) -> None:
  """Raises DataError if a table cannot be used when it is cut to a length."""
  try:
    tables[split].check(length)
  except DataError as error:
    where = path if split == ALL else f"{path}: {split}"
    raise DataError(f"{where}: {error}") from None


def _warn_of_cut(path: str, tables: Mapping[str, Table], length: int) -> None:
  longest = max(table.lengths.max() for table in _whole(tables).values())
  if longest > length:
    logging.warning(
      "%s has rows of %d tokens; they are cut to length %d",
      path, longest, length,
    )  # fmt: skip


def _compare(
  path: str,
  splits: Mapping[str, Table],
  names: Sequence[str],
  length: int,
  *,
  by_seed: bool,
) -> None:
  """Warns of what is wrong with the splits beside each other."""
  said = splitting.unseen(splits, names, length)
  said += splitting.uneven(splits) if by_seed else []
  for message in said + splitting.overlaps(splits, length):
    logging.warning("%s: %s", path, message)


def _examples(table: Table, length: int) -> Examples:
  def make(i: int) -> Example:
    if table.questions:
      example = layout.place(
        table.texts[0].ids[i], table.questions.ids[i], length
      )
    else:
      example = {}
      for text, suffix in zip(table.texts, ("", "2"), strict=False):
        example |= tokens(text.ids[i], length, suffix, text.mask[i])
    label = table.labels[i]
    if table.head == "causal_lm":
      asked = fit(label, length, NOT_ASKED)
      label = np.where(example["mask"], asked, NOT_ASKED)
    return example | {"label": np.asarray(label, np.int32)}

  return Examples(len(table), make)


def _majority(train: np.ndarray, labels: np.ndarray) -> float:
  """Accuracy of always giving the most frequent answer of training."""
  return float((labels == np.bincount(train).argmax()).mean())
