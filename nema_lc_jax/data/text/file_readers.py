"""Reads the user's own files; errors name the line or the key."""

import codecs
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from nema_lc_jax.data.byte_text import encode, read_lines
from nema_lc_jax.data.layout import question_ids
from nema_lc_jax.data.text.table import Table, Texts
from nema_lc_jax.data.types import DataError

KEYS = ("inputs", "labels", "inputs2", "mask", "mask2")
COLUMNS = {2: "label, text", 3: "label, text1, text2"}
# The keys of a JSON line, or the first line of a tsv of questions in any order.
FIELDS = ("document", "question", "answer")
# Names of columns that make the first line of a tsv a header.
LABEL_NAMES = {"label", "class", "category", "target", "sentiment"}
TEXT_NAMES = {
  *("text", "document", "sentence", "review", "content", "premise"),
  *("text1", "text2", "document1", "document2", "sentence1", "sentence2"),
  "hypothesis",
}
MAX_ID = 2**30  # one more than the largest id
MAX_LABEL = 2**31 - 2
NEARLY_ALL = 0.8
MANY = 10  # rows from which on their labels are judged


def read_npz(path: Path) -> Table:
  """The table of an npz file; DataError names the key that is malformed."""
  try:
    # np.load would leave a damaged archive open.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files}
  except Exception as error:
    # A damaged file may raise anything, from zlib.error to SyntaxError.
    reason = str(error).splitlines()[0] if str(error) else "it is empty"
    raise DataError(f"{path}: not an npz file of arrays: {reason}") from None
  for key in arrays:
    if key not in KEYS:
      raise DataError(f"{path}: unknown key {key!r}; known: {', '.join(KEYS)}")
  for key in ("inputs", "labels"):
    if key not in arrays:
      raise DataError(
        f"{path}: no array {key!r}; found: {', '.join(arrays) or 'none'}"
      )
  texts = [_texts(path, arrays, "")]
  if "inputs2" in arrays:
    texts.append(_texts(path, arrays, "2"))
  elif "mask2" in arrays:
    raise DataError(f"{path}: mask2 without inputs2")
  return Table(tuple(texts), _labels(path, arrays))


def _texts(path: Path, arrays: dict[str, np.ndarray], suffix: str) -> Texts:
  name, mask_name = f"inputs{suffix}", f"mask{suffix}"
  ids = arrays[name]
  _require_integers(path, name, ids)
  if ids.ndim != 2:
    raise DataError(f"{path}: {name} must be [n, L], got shape {ids.shape}")
  if not ids.size:
    raise DataError(f"{path}: {name} is empty, its shape is {ids.shape}")
  wrong = (ids < 0) | (ids >= MAX_ID)
  if wrong.any():
    row, value = _first(ids, wrong)
    raise DataError(
      f"{path}: {name} must be in 0..{MAX_ID - 1}, row {row} has {value}"
    )
  mask = arrays.get(mask_name, ids != 0)
  if mask.shape != ids.shape or mask.dtype.kind not in "bui":
    raise DataError(
      f"{path}: {mask_name} must be booleans of the shape of {name} "
      f"{ids.shape}, got {mask.dtype} {mask.shape}"
    )
  mask = mask.astype(bool)
  if not mask.any(1).all():
    row = int(mask.any(1).argmin())
    raise DataError(f"{path}: row {row} of {name} is nothing but padding")
  return Texts(np.where(mask, ids, 0).astype(np.int32), mask)


def _labels(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
  labels, inputs = arrays["labels"], arrays["inputs"]
  _require_integers(path, "labels", labels)
  if labels.shape not in (inputs.shape[:1], inputs.shape):
    raise DataError(
      f"{path}: labels must be [n] or [n, L] with inputs {inputs.shape}, got "
      f"shape {labels.shape}"
    )
  if "inputs2" in arrays:
    if len(arrays["inputs2"]) != len(inputs):
      raise DataError(
        f"{path}: inputs has {len(inputs)} rows, inputs2 has "
        f"{len(arrays['inputs2'])}"
      )
    if labels.ndim == 2:
      raise DataError(f"{path}: labels must be [n] when there is inputs2")
  if labels.ndim == 1 and labels.min() < 0:
    raise DataError(
      f"{path}: labels must not be negative, row {int(labels.argmin())} has "
      f"{labels.min()}; only labels [n, L] may, where nothing is asked"
    )
  if labels.max() > MAX_LABEL:
    row, value = _first(labels, labels > MAX_LABEL)
    raise DataError(
      f"{path}: labels must be at most {MAX_LABEL}, row {row} has {value}"
    )
  if labels.max() < 0:
    raise DataError(
      f"{path}: labels must be at least 0 where something is asked, and the"
      f" largest of them is {labels.max()}"
    )
  # Far below 0, 32 bits would wrap to a class.
  return np.where(labels < 0, -1, labels.astype(np.int32))


def _first(array: np.ndarray, wrong: np.ndarray) -> tuple[int, int]:
  """The row and the value of the first wrong element."""
  return int(np.argwhere(wrong)[0][0]), int(array[wrong][0])


def _require_integers(path: Path, name: str, array: np.ndarray) -> None:
  if array.dtype.kind not in "ui":
    raise DataError(f"{path}: {name} must be integers, got {array.dtype}")


def read_tsv(path: Path) -> Table:
  """The table of a tsv file; DataError names the line that is malformed."""
  lines = [line.removesuffix(b"\r") for line in read_lines(path)]
  lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
  rows = [line.split(b"\t") for line in lines]
  names = [name.decode(errors="replace").strip().lower() for name in rows[0]]
  if sorted(names) == sorted(FIELDS):
    order = [names.index(field) for field in FIELDS]
    return _questions(path, _ordered(rows[1:], order), first=2)
  order = _header(path, names)
  first, columns = 1, len(names)
  if order:
    rows, first = _ordered(rows[1:], order), 2
    if not rows:
      raise DataError(f"{path}: there is no row after the header")
  labels = []
  for number, row in enumerate(rows, first):
    if len(row) != columns or columns not in COLUMNS:
      expected = COLUMNS.get(columns, " or ".join(COLUMNS.values()))
      raise DataError(
        f"{path}:{number}: expected columns between tabs: {expected}; got"
        f" {len(row)}"
      )
    if not all(row[1:]):
      raise DataError(f"{path}:{number}: a text is empty")
    labels.append(_label(path, number, row[0]))
  _warn_of_labels(path, labels, COLUMNS[columns], header=bool(order))
  _, *texts = zip(*rows, strict=True)
  return Table(
    tuple(map(_bytes_as_texts, texts)), _strings(labels), header=bool(order)
  )


def _header(path: Path, names: Sequence[str]) -> list[int] | None:
  """The order of the columns in which the label comes first; None: no header.

  A header has the name of a label and, in one or two other columns, of texts.

  Raises:
    DataError: if there are such names, and others beside them.
  """
  labels = [i for i, name in enumerate(names) if name in LABEL_NAMES]
  texts = [i for i, name in enumerate(names) if name in TEXT_NAMES]
  complete = len(labels) == 1 and len(texts) == len(names) - 1
  if not complete or len(names) not in COLUMNS:
    if (labels and texts) or len({*names} & {*FIELDS}) > 1:
      raise DataError(
        f"{path}:1: the header must name the columns {COLUMNS[2]}; or"
        f" {COLUMNS[3]}; or {', '.join(FIELDS)}, and no others; got"
        f" {', '.join(names)[:80]}"
      )
    return None
  # text1 comes before text2, wherever it is in the file.
  return labels + sorted(texts, key=lambda i: re.findall(r"\d+$", names[i]))


def _ordered(
  rows: Sequence[Sequence[bytes]], order: Sequence[int]
) -> list[Sequence[bytes]]:
  """The rows with their columns in this order; others are left for an error."""
  return [
    [row[i] for i in order] if len(row) == len(order) else row for row in rows
  ]


def _warn_of_labels(
  path: Path, labels: Sequence[str], expected: str, *, header: bool
) -> None:
  """Warns if labels look like texts, or the first one like a header."""
  different = len({*labels})
  if len(labels) >= MANY and different > NEARLY_ALL * len(labels):
    logging.warning(
      "%s: %d rows have %d different labels, such as %r; the columns are: %s",
      path, len(labels), different, labels[-1][:40], expected,
    )  # fmt: skip
  elif not header and labels.count(labels[0]) == 1 and len(labels) >= MANY:
    logging.warning(
      "%s:1: the label %r is in no other line; if this line is a header, call"
      " its columns %s",
      path, labels[0][:40], expected,
    )  # fmt: skip


def read_jsonl(path: Path) -> Table:
  """The questions of a file of JSON lines; keys not in FIELDS are ignored.

  DataError names the line that is malformed.
  """
  rows = []
  for number, line in enumerate(read_lines(path), 1):
    try:
      found = json.loads(line)
      row = [found[field] for field in FIELDS]
      if not all(isinstance(value, str) for value in row):
        raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
      keys = ", ".join(f'"{field}": "..."' for field in FIELDS)
      raise DataError(
        f"{path}:{number}: expected a JSON object {{{keys}}} of strings; got"
        f" {line[:40].decode(errors='replace')!r}"
      ) from None
    try:
      rows.append([value.encode() for value in row])
    except UnicodeEncodeError as error:
      raise DataError(
        f"{path}:{number}: {error.object[error.start]!r} is one half of a"
        " character, and no text"
      ) from None
  return _questions(path, rows, first=1)


def _questions(
  path: Path, rows: Sequence[Sequence[bytes]], first: int
) -> Table:
  """The table of rows (document, question, answer) from line `first` on."""
  if not rows:
    raise DataError(f"{path}: there is no row after the header")
  for number, row in enumerate(rows, first):
    if len(row) != len(FIELDS):
      raise DataError(
        f"{path}:{number}: expected columns between tabs:"
        f" {', '.join(FIELDS)}; got {len(row)}"
      )
    for field, value in zip(FIELDS, row, strict=True):
      if not value.strip():
        raise DataError(f"{path}:{number}: the {field} is empty")
  documents, questions, answers = zip(*rows, strict=True)
  labels = [_label(path, n, answer) for n, answer in enumerate(answers, first)]
  _warn_of_labels(path, labels, ", ".join(FIELDS), header=True)
  asked = _as_texts([question_ids(question) for question in questions])
  return Table((_bytes_as_texts(documents),), _strings(labels), asked)


def _label(path: Path, number: int, label: bytes) -> str:
  try:
    text = label.decode().strip()
  except UnicodeDecodeError:
    raise DataError(f"{path}:{number}: the label is not UTF-8") from None
  if not text:
    raise DataError(f"{path}:{number}: the label is empty")
  return text


def _strings(labels: Sequence[str]) -> np.ndarray:
  # As objects: fixed widths lose NUL at the end, and are all as the longest.
  return np.array(labels, object)


def _bytes_as_texts(column: Sequence[bytes]) -> Texts:
  return _as_texts([encode(text) for text in column])


def _as_texts(rows: Sequence[np.ndarray]) -> Texts:
  ids = [row.astype(np.int16) for row in rows]
  return Texts(ids, [np.ones(len(row), bool) for row in ids])


READERS: dict[str, Callable[[Path], Table]] = {
  ".npz": read_npz,
  ".jsonl": read_jsonl,
  ".tsv": read_tsv,
}
