"""The rows of a user's file, whatever its format."""

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from nema_lc_jax.data.byte_text import decode
from nema_lc_jax.data.layout import require_room
from nema_lc_jax.data.types import DataError


@dataclasses.dataclass(frozen=True)
class Texts:
  """Rows of token ids and their masks, both 1-D and of any length."""

  ids: Sequence[np.ndarray]
  mask: Sequence[np.ndarray]

  @property
  def lengths(self) -> np.ndarray:
    """The length of each row [n], without padding at its end."""
    return np.array([np.flatnonzero(mask)[-1] + 1 for mask in self.mask])

  @property
  def largest(self) -> tuple[int, int]:
    """The largest token id, and its row."""
    each = [int(row.max()) for row in self.ids]
    row = int(np.argmax(each))
    return each[row], row

  def key(self, row: int, length: int | None) -> tuple[bytes, bytes]:
    """What tells the tokens of a row, cut to a length, from another row's."""
    valid = np.flatnonzero(self.mask[row][:length])
    end = int(valid[-1]) + 1 if len(valid) else 0
    ids = self.ids[row][:end].astype(np.int32)
    return ids.tobytes(), self.mask[row][:end].tobytes()

  def take(self, rows: np.ndarray) -> "Texts":
    """The rows with these numbers."""
    return Texts([self.ids[i] for i in rows], [self.mask[i] for i in rows])


@dataclasses.dataclass(frozen=True)
class Table:
  """The examples of a file: one or two texts per row, and labels."""

  texts: tuple[Texts, ...]
  labels: np.ndarray  # [n] ints or str objects, or [n, L] ints
  questions: Texts | None = None  # about the first text
  # Whether the file began with the names of the label's and texts' columns.
  header: bool = False

  @property
  def head(self) -> str:
    """The head that fits the examples."""
    if self.labels.ndim == 2:
      return "causal_lm"
    return "classify" if len(self.texts) == 1 else "match"

  @property
  def kind(self) -> str:
    """The head and whether there are questions, in words."""
    return self.head + " questions" * bool(self.questions)

  @property
  def lengths(self) -> np.ndarray:
    """The tokens of each row [n], of its longer text or with its question."""
    texts = np.array([text.lengths for text in self.texts])
    if self.questions:
      return texts[0] + self.questions.lengths
    return texts.max(0)

  def keys(self, length: int | None = None) -> list[Hashable]:
    """What must not be in two splits, of each row [n].

    It is the row's document, or, without questions, its texts; cut to a length.
    """
    texts = self.texts[:1] if self.questions else self.texts
    return [
      tuple(text.key(i, length) for text in texts) for i in range(len(self))
    ]

  def asked(self, length: int) -> np.ndarray:
    """The labels of the questions that remain in texts of a length: [q]."""
    if self.labels.ndim == 1:
      return self.labels
    mask = np.stack(self.texts[0].mask)[:, :length]
    labels = self.labels[:, :length]
    return labels[mask & (labels >= 0)]

  def check(self, length: int) -> None:
    """Checks what remains of the rows in texts of a length.

    Raises:
      DataError: if a question leaves no room for its document, a row has no
        token left, or there is no question left.
    """
    if self.questions:
      longest = max(self.questions.ids, key=len)
      text = decode(longest[1:])[:40]  # without its line feed
      require_room(len(longest), length, f"the question {text!r}")
    for name, text in zip(("inputs", "inputs2"), self.texts, strict=False):
      for row, mask in enumerate(text.mask):
        if not mask[:length].any():
          raise DataError(
            f"row {row} of {name} has no token before position {length},"
            " where the length cuts it"
          )
    if not self.asked(length).size:
      raise DataError(
        f"there is no label of at least 0 at the tokens of length {length}, so"
        " nothing is asked"
      )

  def __len__(self) -> int:
    return len(self.labels)

  def take(self, rows: np.ndarray) -> "Table":
    """The examples with these numbers."""
    texts = tuple(text.take(rows) for text in self.texts)
    questions = self.questions and self.questions.take(rows)
    return Table(texts, self.labels[rows], questions)
