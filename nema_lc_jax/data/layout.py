"""The layout of a text and a question about it in one example.

Data sets, streams and the inspector use it alike, so that a question gets the
same answer from all of them.
"""

import numpy as np

from nema_lc_jax.data.byte_text import encode, fit
from nema_lc_jax.data.types import DataError, Example

SEPARATOR = b"\n"  # before the question


def question_ids(question: bytes) -> np.ndarray:
  """The token ids of a question, with the line feed before it: int32 [q]."""
  return encode(SEPARATOR + question)


def require_room(size: int, length: int, what: str = "a question") -> None:
  """Raises DataError unless a question of `size` ids leaves room for a text."""
  if size >= length:
    raise DataError(
      f"{what} has {size} bytes with its line feed, and is not cut; length"
      f" must be at least {size + 1}, got {length}"
    )


def place(document: np.ndarray, question: np.ndarray, length: int) -> Example:
  """`inputs` and `mask` [length] of a document and a question about it.

  The document is at the beginning, and its end is cut if there is no room for
  all of it. Then comes padding. The question ends with the last token.

  Args:
    document: ids [d].
    question: ids [q], from `question_ids`; it is never cut.
    length: number of tokens, more than q.

  Raises:
    DataError: if the question leaves no room for the document.
  """
  require_room(len(question), length)
  start = length - len(question)
  inputs = fit(document[:start], length).astype(np.int32)
  inputs[start:] = question
  return {"inputs": inputs, "mask": inputs > 0}
