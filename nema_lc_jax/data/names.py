"""Data with the numbers that a trained model gives to tokens and labels."""

import dataclasses
from collections.abc import Sequence

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.types import (
  UNKNOWN_WORD,
  DataError,
  Dataset,
  Example,
  Examples,
)

LABELS = ("label", "stale")
TOKENS = ("inputs", "inputs2")
UNKNOWN = -1  # the number of a name that the model does not have


def renumbered(
  dataset: Dataset,
  *,
  vocab_size: int,
  num_classes: int,
  token_names: Sequence[str] = (),
  label_names: Sequence[str] = (),
) -> Dataset:
  """The data set with tokens and labels numbered as a trained model does.

  Numbers are kept where either side has no names, or not one name for each
  number. Names that are numbers themselves are compared with the numbers of a
  side without names. A model with a token for unknown words reads those that it
  does not have as that token, with a warning of how many there are.

  Args:
    dataset: of any numbers.
    vocab_size: of the model.
    num_classes: of the model.
    token_names: of the model, in their order.
    label_names: likewise.

  Raises:
    DataError: naming a token or a label that the model does not have.
  """
  labels = _numbers(
    "label",
    _named(dataset.label_names, dataset.num_classes, label_names),
    _named(label_names, num_classes, dataset.label_names),
    explicit=bool(dataset.label_names),
  )
  tokens = _numbers(
    "token",
    _named(dataset.token_names, dataset.vocab_size, token_names),
    _named(token_names, vocab_size, dataset.token_names),
    explicit=bool(dataset.token_names),
  )
  if labels is None and tokens is None:
    return dataset

  def convert(example: Example) -> Example:
    changed = {}
    for numbers, fields, known in (
      (labels, LABELS, label_names),
      (tokens, TOKENS, token_names),
    ):
      if numbers is not None:
        for field in set(fields) & set(example):
          old = example[field]
          new = np.where(old < 0, old, numbers[np.maximum(old, 0)])
          missing = (old >= 0) & (new == UNKNOWN)
          if missing.any():
            name = str(np.asarray(old)[missing].ravel()[0])
            raise DataError(_unknown(field, name, known))
          changed[field] = new.astype(np.int32)
    return example | changed

  def evaluation(split: str, length: int) -> Examples:
    source = dataset.evaluation(split, length)
    return Examples(len(source), lambda i: convert(source[i]))

  def train(length: int, seed: int) -> grain.MapDataset:
    return dataset.train(length, seed).map(convert)

  def streams(length: int, seed: int, rows: int) -> Examples:
    source = dataset.streams(length, seed, rows)
    return Examples(len(source), lambda i: convert(source[i]))

  changes = {}
  if labels is not None:
    changes |= {"num_classes": num_classes, "label_names": tuple(label_names)}
  if tokens is not None:
    changes |= {"vocab_size": vocab_size, "token_names": tuple(token_names)}
  return dataclasses.replace(
    dataset,
    train=train,
    evaluation=evaluation,
    streams=dataset.streams and streams,
    **changes,
  )


def _named(
  names: Sequence[str], count: int, others: Sequence[str]
) -> Sequence[str]:
  """The names, or numbers as names if the others are numbers, too."""
  if names or not others or not all(name.isdecimal() for name in others):
    return names
  return [str(i) for i in range(count)]


def _numbers(
  kind: str, names: Sequence[str], known: Sequence[str], *, explicit: bool
) -> np.ndarray | None:
  """The number in `known` of each of `names`; None to keep all numbers.

  Explicit names must all be known. Of numbers that stand for names, only those
  that occur must be; the others are UNKNOWN.
  """
  same = tuple(names) == tuple(known)[: len(names)]
  unique = len({*names}) == len(names) and len({*known}) == len(known)
  if same or not known or not unique:
    return None
  place = {name: i for i, name in enumerate(known)}
  other = place.get(UNKNOWN_WORD, UNKNOWN) if kind == "token" else UNKNOWN
  missing = [name for name in names if name not in place]
  if missing and explicit and other == UNKNOWN:
    raise DataError(_unknown(kind, missing[0], known))
  if missing and other != UNKNOWN:
    logging.warning(
      "%d of the %d words of the data, such as %r, are not among the model's,"
      " which reads them as %s.",
      *(len(missing), len(names), missing[0], UNKNOWN_WORD),
    )
  return np.array([place.get(name, other) for name in names], np.int32)


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
  some = ", ".join(map(repr, known[:10])) + ", ..." * (len(known) > 10)
  return (
    f"the data have the {kind} {name!r}, which the model does not know; it"
    f" knows {some}"
  )
