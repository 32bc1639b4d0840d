"""Texts as bytes: token id = byte + 1, and 0 is padding."""

from pathlib import Path

import numpy as np

from nema_lc_jax.data.types import DataError, Example

VOCAB_SIZE = 257


def read_lines(path: Path) -> list[bytes]:
  """The lines of a file, without their line feeds.

  Raises:
    DataError: when it is empty.
  """
  lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
  if lines == [b""]:
    raise DataError(f"{path}: the file is empty")
  return lines


def encode(text: bytes) -> np.ndarray:
  """Token ids int32 [len(text)]."""
  return np.frombuffer(text, np.uint8).astype(np.int32) + 1


def decode_bytes(ids: np.ndarray) -> bytes:
  """The bytes of token ids, without padding."""
  return (ids[ids > 0] - 1).astype(np.uint8).tobytes()


def decode(ids: np.ndarray) -> str:
  """The text of token ids, without padding."""
  return decode_bytes(ids).decode("utf-8", errors="replace")


def fit(row: np.ndarray, length: int, fill: int = 0) -> np.ndarray:
  """`row` cut to `length`, or padded with `fill`; its dtype stays."""
  fitted = np.full(length, fill, row.dtype)
  fitted[: len(row)] = row[:length]
  return fitted


def tokens(
  row: np.ndarray,
  length: int,
  suffix: str = "",
  mask: np.ndarray | None = None,
) -> Example:
  """`inputs` and `mask` of one row of ids; without a mask, all are valid.

  The names get the suffix.
  """
  mask = np.ones(len(row), bool) if mask is None else mask
  return {
    f"inputs{suffix}": fit(row, length).astype(np.int32, copy=False),
    f"mask{suffix}": fit(mask, length),
  }


def text_pair(text1: bytes, text2: bytes, length: int) -> Example:
  """The inputs and masks of an example for the head match, without a label."""
  return tokens(encode(text1[:length]), length) | tokens(
    encode(text2[:length]), length, "2"
  )
