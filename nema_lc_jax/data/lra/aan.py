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


def load(
  *,
  dir: str | None = None,
  length: int = 4000,
  reading: str = "raw",
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
    num_eval: number of validation pairs, a fixed choice; by default all.
    num_test: number of test pairs, likewise.

  Raises:
    DataError: if files are missing or malformed; names the file and the line.
  """
  if reading not in READINGS:
    raise DataError(
      f"aan: reading must be one of {', '.join(READINGS)}; got {reading!r}"
    )
  paths = find_release("aan", dir, FOLDER, FILES)
  files = contents([paths[split] for split in SPLITS], cache_directory())
  identity = fingerprint(reading=reading, files=files)
  records = _prepared(paths, reading, identity)

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    whole = _examples(records[split], length)
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
    description=f"aan: LRA retrieval, related papers or not, {reading} bytes",
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
    },
    splits={
      split: lambda path=path: read_pairs(path, reading)
      for split, path in paths.items()
    },
    cache=cache_directory(),
  )


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
  label, _, _, text1, text2 = columns
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
  return {"label": LABELS[label], "text1": text1, "text2": text2}


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


def _examples(records: Sequence[Record], length: int) -> Examples:
  def make(i: int) -> Example:
    record = records[i]
    pair = text_pair(record["text1"], record["text2"], length)
    return pair | {"label": np.int32(record["label"])}

  return Examples(len(records), make)
