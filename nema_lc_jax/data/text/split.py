"""Splits the rows of one file in training, validation and test."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from nema_lc_jax.data.text.table import Table
from nema_lc_jax.data.types import SPLITS, shuffled

# Shares of the rows.
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
TOLERANCE = 0.05  # of a share
LARGE = 0.02  # share of the rows from which on a group is placed first


def groups(keys: Sequence[Hashable]) -> np.ndarray:
  """A number for each row [n], equal where the keys are."""
  numbers: dict[Hashable, int] = {}
  return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def split_rows(group: np.ndarray, seed: int) -> dict[str, np.ndarray]:
  """The rows of each split, in an order that follows from the seed.

  Rows of a group stay together, and each split gets at least one group. Where
  groups have different sizes, the shares are those of the rows, as nearly as
  the groups allow.

  Args:
    group: the group of each row [n], numbered from 0; at least 3 groups.
    seed: of the order.
  """
  sizes = np.bincount(group)
  order = shuffled(len(sizes), seed)
  if sizes.min() == sizes.max():
    part = np.full(len(sizes), "train", object)
    held_out = max(1, len(sizes) // 10)
    part[order[:held_out]] = "validation"
    part[order[held_out : 2 * held_out]] = "test"
  else:
    part = _balanced(sizes, order)
  place = np.argsort(order)[group]
  rows = np.argsort(place, kind="stable")
  return {split: rows[part[group[rows]] == split] for split in SPLITS}


def _balanced(sizes: np.ndarray, order: np.ndarray) -> np.ndarray:
  """The split of each group [g], so that the rows have the shares.

  Large groups come first, the others in the given order. Each goes to the split
  that lacks the largest part of its share and has room for the group; if none
  has room, to the one that lacks most rows.
  """
  large = np.where(sizes > LARGE * sizes.sum(), sizes, 0)
  order = order[np.argsort(-large[order], kind="stable")]
  wanted = {split: share * sizes.sum() for split, share in SHARES.items()}
  lacks = dict(wanted)
  part = np.full(len(sizes), "", object)
  for done, number in enumerate(order):
    empty = [split for split in SHARES if lacks[split] == wanted[split]]
    room = [split for split in SHARES if sizes[number] <= lacks[split]]
    if len(order) - done <= len(empty):
      chosen = empty[0]
    elif room:
      chosen = max(room, key=lambda split: lacks[split] / wanted[split])
    else:
      chosen = max(SHARES, key=lacks.get)
    part[number] = chosen
    lacks[chosen] -= sizes[number]
  return part


def unseen(
  tables: Mapping[str, Table], names: Sequence[str], length: int
) -> list[str]:
  """Says how many labels are never given in training, and cannot be learned."""
  known = tables["train"].asked(length)
  counts, found = [], []
  for split in ("validation", "test"):
    labels = tables[split].asked(length)
    others = labels[~np.isin(labels, known)]
    if others.size:
      counts.append(f"{others.size} of {labels.size} labels of {split}")
      found.append(names[others[0]] if names else str(others[0]))
  if not counts:
    return []
  return [
    f"{' and '.join(counts)} are none of training's, such as {found[0]!r}; an"
    " answer to them can only be wrong"
  ]


def uneven(tables: Mapping[str, Table]) -> list[str]:
  """Says which splits are far from their shares of the rows."""
  total = sum(map(len, tables.values()))
  return [
    f"{split} has {len(tables[split])} of {total} rows, since rows with one"
    " text stay together"
    for split, share in SHARES.items()
    if abs(len(tables[split]) - share * total) > max(TOLERANCE * total, 1)
  ]


def overlaps(tables: Mapping[str, Table], length: int) -> list[str]:
  """Says how many rows of a split are in another one, cut to a length."""
  keys = {split: table.keys(length) for split, table in tables.items()}
  said = []
  for split, other in (
    ("validation", "train"), ("test", "train"), ("test", "validation")
  ):  # fmt: skip
    known = set(keys[other])
    shared = sum(key in known for key in keys[split])
    if shared:
      what = "the document" if tables[split].questions else "the text"
      said.append(
        f"{what} of {shared} of {len(keys[split])} rows of {split} is in"
        f" {other} as well, at length {length}"
      )
  return said
