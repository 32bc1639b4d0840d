"""Reads the user's own files; errors name the line or the key."""

import codecs
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nema_lc_jax.data.byte_text import encode, read_lines
from nema_lc_jax.data.types import DataError

KEYS = ("inputs", "labels", "inputs2", "mask", "mask2")
COLUMNS = {2: "label, text", 3: "label, text1, text2"}
# The keys of a JSON line, or the first line of a tsv of questions in any order.
FIELDS = ("document", "question", "answer")
MAX_ID = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Texts:
  """Rows of token ids and their masks, both 1-D and of any length."""

  ids: Sequence[np.ndarray]
  mask: Sequence[np.ndarray]

  @property
  def longest(self) -> int:
    """The length of the longest row, without padding at its end."""
    return max(int(np.flatnonzero(mask)[-1]) + 1 for mask in self.mask)

  @property
  def max_id(self) -> int:
    """The largest token id."""
    return max(int(row.max()) for row in self.ids)

  def take(self, rows: np.ndarray) -> "Texts":
    """The rows with these numbers."""
    return Texts([self.ids[i] for i in rows], [self.mask[i] for i in rows])


@dataclasses.dataclass(frozen=True)
class Table:
  """The examples of a file: one or two texts per row, and labels."""

  texts: tuple[Texts, ...]
  labels: np.ndarray  # [n] ints or strings, or [n, L] ints
  questions: Texts | None = None  # about the first text

  @property
  def head(self) -> str:
    """The head that fits the examples."""
    if self.labels.ndim == 2:
      return "causal_lm"
    return "classify" if len(self.texts) == 1 else "match"

  @property
  def groups(self) -> np.ndarray:
    """The group of each row [n]: one per document, or one per row."""
    if not self.questions:
      return np.arange(len(self))
    numbers: dict[bytes, int] = {}
    return np.array(
      [
        numbers.setdefault(ids.tobytes(), len(numbers))
        for ids in self.texts[0].ids
      ]
    )

  @property
  def longest(self) -> int:
    """The length of the longest row, with its question."""
    if self.questions:
      rows = zip(self.texts[0].ids, self.questions.ids, strict=True)
      return max(len(document) + len(question) for document, question in rows)
    return max(text.longest for text in self.texts)

  def __len__(self) -> int:
    return len(self.labels)

  def take(self, rows: np.ndarray) -> "Table":
    """The examples with these numbers."""
    texts = tuple(text.take(rows) for text in self.texts)
    questions = self.questions and self.questions.take(rows)
    return Table(texts, self.labels[rows], questions)


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
  if ids.min() < 0 or ids.max() >= MAX_ID:
    raise DataError(
      f"{path}: {name} must be in 0..{MAX_ID - 1}, got values from "
      f"{ids.min()} to {ids.max()}"
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
  if labels.max() < 0 or labels.max() >= MAX_ID:
    raise DataError(
      f"{path}: labels need a largest value in 0..{MAX_ID - 1}, got "
      f"{labels.max()}"
    )
  return labels.astype(np.int32)


def _require_integers(path: Path, name: str, array: np.ndarray) -> None:
  if array.dtype.kind not in "ui":
    raise DataError(f"{path}: {name} must be integers, got {array.dtype}")


def read_tsv(path: Path) -> Table:
  """The table of a tsv file; DataError names the line that is malformed."""
  lines = [line.removesuffix(b"\r") for line in read_lines(path)]
  lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
  header = [name.strip().lower() for name in lines[0].split(b"\t")]
  if sorted(header) == sorted(field.encode() for field in FIELDS):
    order = [header.index(field.encode()) for field in FIELDS]
    rows = [line.split(b"\t") for line in lines[1:]]
    rows = [
      [row[i] for i in order] if len(row) == len(FIELDS) else row
      for row in rows
    ]
    return _questions(path, rows, first=2)
  labels, rows, columns = [], [], 0
  for number, line in enumerate(lines, 1):
    label, *texts = line.split(b"\t")
    columns = columns or 1 + len(texts)  # as in the first line
    if 1 + len(texts) != columns or columns not in COLUMNS:
      expected = COLUMNS.get(columns, " or ".join(COLUMNS.values()))
      raise DataError(
        f"{path}:{number}: expected columns between tabs: {expected}; got "
        f"{1 + len(texts)}"
      )
    if not all(texts):
      raise DataError(f"{path}:{number}: a text is empty")
    labels.append(_label(path, number, label))
    rows.append(texts)
  return Table(
    tuple(_bytes_as_texts(column) for column in zip(*rows, strict=True)),
    np.array(labels),
  )


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
      rows.append([value.encode() for value in row])
    except (ValueError, KeyError, TypeError, RecursionError):
      keys = ", ".join(f'"{field}": "..."' for field in FIELDS)
      raise DataError(
        f"{path}:{number}: expected a JSON object {{{keys}}} of strings; got"
        f" {line[:40].decode(errors='replace')!r}"
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
  # A line feed separates the question from the document.
  asked = _bytes_as_texts([b"\n" + question for question in questions])
  return Table((_bytes_as_texts(documents),), np.array(labels), asked)


def _label(path: Path, number: int, label: bytes) -> str:
  try:
    text = label.decode().strip()
  except UnicodeDecodeError:
    raise DataError(f"{path}:{number}: the label is not UTF-8") from None
  if not text:
    raise DataError(f"{path}:{number}: the label is empty")
  return text


def _bytes_as_texts(column: Sequence[bytes]) -> Texts:
  ids = [encode(text).astype(np.int16) for text in column]
  return Texts(ids, [np.ones(len(row), bool) for row in ids])


READERS: dict[str, Callable[[Path], Table]] = {
  ".npz": read_npz,
  ".jsonl": read_jsonl,
  ".tsv": read_tsv,
}
