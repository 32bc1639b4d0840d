"""Retrieval of the Long Range Arena: does one AAN paper cite the other?

Files and format as in google-research/long-range-arena (lra_benchmarks/
matching): `new_aan_pairs.{train,eval,test}.tsv`, no header, no quoting, columns
label, id1, id2, text1, text2. The texts are written as Python bytes literals.
"""

import ast
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from nema_lc_jax.data.baselines import byte_histogram
from nema_lc_jax.data.byte_text import VOCAB_SIZE, text_pair
from nema_lc_jax.data.lra.release import find_release, subset
from nema_lc_jax.data.prepare import Record, cache_directory, contents, prepare
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_split,
)

FILES = {
  "train": "new_aan_pairs.train.tsv",
  "validation": "new_aan_pairs.eval.tsv",
  "test": "new_aan_pairs.test.tsv",
}
FOLDER = "tsv_data"
LABELS = {b"0": 0, b"0.0": 0, b"1": 1, b"1.0": 1}
READINGS = ("raw", "decoded")
# What a pair may have in common with the training pairs, and the least of it
# that each value of `exclude` leaves out.
NEW, DOCUMENT, PAIR = range(3)
EXCLUDE = {"nothing": PAIR + 1, "pairs": PAIR, "documents": DOCUMENT}


def load(
  *,
  dir: str | None = None,
  length: int = 4000,
  reading: str = "raw",
  exclude: str = "nothing",
  num_eval: int | None = None,
  num_test: int | None = None,
) -> Dataset:
  """Pairs of texts, each cut to its first `length` bytes; label 1: related.

  Args:
    dir: the folder of the files, or one above it as in the release.
    length: the default length, 4000 in the protocol.
    reading: "raw" takes a text as it is written, with b'...' and escapes, as
      the reference does; "decoded" takes the bytes of the literal. Reported
      numbers should say which one is used.
    exclude: from validation and test: "nothing", as in the protocol; "pairs"
      that are training pairs, too, in either order; or pairs of which at least
      one of the "documents" is in a training pair. Such pairs can be answered
      by what was learned about them; how many there are is said.
    num_eval: number of validation pairs, a fixed choice; by default all.
    num_test: number of test pairs, likewise.

  Raises:
    DataError: if files are missing or malformed; names the file and the line.
      If no pair is left.
  """
  if exclude not in EXCLUDE:
    raise DataError(
      f"aan: exclude must be one of {', '.join(EXCLUDE)}; got {exclude!r}"
    )
  if reading not in READINGS:
    raise DataError(
      f"aan: reading must be one of {', '.join(READINGS)}; got {reading!r}"
    )
  paths = find_release("aan", dir, FOLDER, FILES)
  files = contents([paths[split] for split in SPLITS], cache_directory())
  identity = fingerprint(reading=reading, files=files)
  records = _prepared(paths, reading, fingerprint(pairs=identity, known=True))
  kept = {
    split: _kept(split, records[split], paths[split], exclude)
    for split in SPLITS
  }

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    whole = _examples(records[split], kept[split], length)
    return subset(whole, split, num_eval=num_eval, num_test=num_test)

  def baselines(split: str, length: int) -> dict[str, float]:
    fit, evaluated = examples("train", length), examples(split, length)
    return {"chance": 0.5, **byte_histogram(fit, evaluated)}

  num_examples = {split: len(examples(split, length)) for split in SPLITS}
  return Dataset(
    name="aan",
    head="match",
    vocab_size=VOCAB_SIZE,
    num_classes=2,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=baselines,
    fingerprint=fingerprint(pairs=identity, sizes=num_examples),
    description=f"aan: LRA retrieval, related papers or not, {reading} bytes"
    + f", without known {exclude}" * (exclude != "nothing"),
    label_names=("unrelated", "related"),
    byte_level=True,
  )


def _prepared(
  paths: dict[str, Path], reading: str, identity: str
) -> dict[str, Sequence[Record]]:
  """The records of each split, from the cache; prepares them if needed."""
  return prepare(
    "aan",
    fingerprint=identity,
    features={
      "label": np.int64,
      "text1": tfds.features.Text(),
      "text2": tfds.features.Text(),
      "known": np.int64,
    },
    splits={
      split: lambda path=path, split=split: _compared(
        read_pairs(path, reading),
        paths["train"] if split != "train" else None,
      )
      for split, path in paths.items()
    },
    cache=cache_directory(),
  )


def _compared(
  records: Iterator[Record], train: Path | None
) -> Iterator[Record]:
  """Records without ids, but with what the pairs of the file `train` share."""
  pairs, documents = set(), set()
  for ids in _ids(train) if train else ():
    pairs.add(frozenset(ids))
    documents.update(ids)
  for record in records:
    ids = {record.pop("id1"), record.pop("id2")}
    known = PAIR if ids in pairs else DOCUMENT if ids & documents else NEW
    yield record | {"known": known}


def _ids(path: Path) -> Iterator[tuple[bytes, bytes]]:
  """The ids of a file's pairs; malformed lines are left to `read_pairs`."""
  with path.open("rb") as file:
    for line in file:
      columns = line.split(b"\t", 3)
      if len(columns) == 4:
        yield columns[1], columns[2]


def _kept(
  split: str, records: Sequence[Record], path: Path, exclude: str
) -> Sequence[int]:
  """The places of the records that are not excluded; says what is known."""
  if split == "train":
    return range(len(records))
  known = np.array([record["known"] for record in records])
  counts = [int((known >= least).sum()) for least in (PAIR, DOCUMENT)]
  if counts[1]:
    logging.warning(
      "%s: of %d pairs, %d are training pairs, too, and %d have a document of"
      " a training pair; --config.data.exclude=pairs or documents leaves them"
      " out (now: %s)",
      path, len(known), *counts, exclude,
    )  # fmt: skip
  kept = np.flatnonzero(known < EXCLUDE[exclude])
  if not len(kept):
    raise DataError(
      f"{path}: no pair is left with exclude={exclude!r}: all {len(known)} are"
      " known from training"
    )
  return kept


def read_pairs(path: Path, reading: str) -> Iterator[Record]:
  """The records of a file; DataError names the first malformed line."""
  line = empty = 0
  with path.open("rb") as file:
    for line, text in enumerate(file, 1):
      try:
        record = _parse(text.rstrip(b"\r\n"), reading)
      except ValueError as error:
        raise DataError(f"{path}:{line}: {error}") from None
      empty += not (record["text1"] and record["text2"])
      yield record
  if not line:
    raise DataError(f"{path}: the file is empty")
  if empty:
    logging.warning(
      "%s: %d of %d pairs have an empty text, nothing but padding",
      path, empty, line,
    )  # fmt: skip


def _parse(line: bytes, reading: str) -> Record:
  columns = line.split(b"\t")
  if len(columns) != 5:
    raise ValueError(
      "expected 5 columns between tabs (label, id1, id2, text1, text2), "
      f"got {len(columns)}"
    )
  label, id1, id2, text1, text2 = columns
  if label not in LABELS:
    raise ValueError(
      "expected a label of 0, 0.0, 1 or 1.0, got "
      f"{label[:20].decode(errors='replace')!r}"
    )
  for text in (text1, text2):
    if text[:2] in (b"b'", b'b"') and (len(text) < 3 or text[-1] != text[1]):
      raise ValueError(f"a text is cut off: it ends in {text[-20:]!r}")
  if reading == "decoded":
    text1, text2 = _literal(text1), _literal(text2)
  ids = {"id1": id1, "id2": id2}
  return ids | {"label": LABELS[label], "text1": text1, "text2": text2}


def _literal(text: bytes) -> bytes:
  """The bytes of a bytes literal."""
  value = None
  # Text that is no literal may be nested too deeply for the parser.
  with contextlib.suppress(
    SyntaxError, ValueError, TypeError, MemoryError, RecursionError
  ):
    value = ast.literal_eval(text.decode())
  if not isinstance(value, bytes):
    raise ValueError(f"expected a bytes literal b'...', got {text[:20]!r}")
  return value


def _examples(
  records: Sequence[Record], kept: Sequence[int], length: int
) -> Examples:
  def make(i: int) -> Example:
    record = records[int(kept[i])]
    pair = text_pair(record["text1"], record["text2"], length)
    return pair | {"label": np.int32(record["label"])}

  return Examples(len(kept), make)
