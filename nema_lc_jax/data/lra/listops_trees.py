"""Draws, evaluates and writes many trees of ListOps at a time.

The distribution is that of google-research/long-range-arena:
lra_benchmarks/data/listops.py, after Nangia and Bowman (2018): a node is an
operator with probability 0.25, else a digit, both uniform; an operator has 2 to
10 arguments; nodes at depth 10 are digits; trees of other lengths are rejected.
(The reference calls 0.25 the probability of a value; in its code, it is that of
an operator.)

There are three differences. There is a seed. The root is always an operator,
which gives the same distribution as rejecting single digits. Repeated trees are
not searched for: a tree has at least 17 uniform digits, so a repetition is
practically impossible.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
TOKENS = (*(str(digit) for digit in range(10)), *OPERATORS, "]")
VERSION = 1  # to be raised when a seed gives other trees
MAX_DEPTH = 10
MAX_ARGUMENTS = 10
OPERATOR_PROBABILITY = 0.25
TREES_AT_ONCE = 512
CLOSE = TOKENS.index("]")


@dataclasses.dataclass(frozen=True)
class Level:
  """The n nodes at one depth of many trees, in the order of their parents."""

  tree: np.ndarray  # [n] the tree that a node belongs to
  token: np.ndarray  # [n] a digit, or 10 + an operator
  arguments: np.ndarray  # [n] children in the next level; 0 for a digit


def draw(
  rng: np.random.Generator, min_length: int, max_length: int
) -> Iterator[tuple[np.ndarray, int]]:
  """An endless sequence of trees: tokens uint8 [length], and the value.

  Lengths are above `min_length` and below `max_length`, as in the reference.
  """
  while True:
    levels = grow(rng, TREES_AT_ONCE)
    sizes = subtree_sizes(levels)
    fits = (min_length < sizes[0]) & (sizes[0] < max_length)
    values = evaluate(levels)
    text, ends = write(levels, sizes), np.cumsum(sizes[0])
    for tree in np.flatnonzero(fits):
      start = ends[tree] - sizes[0][tree]
      yield text[start : ends[tree]], int(values[tree])


def grow(rng: np.random.Generator, count: int) -> list[Level]:
  """The levels of `count` trees from the root down, of any length."""
  tree, levels = np.arange(count), []
  for depth in range(1, MAX_DEPTH + 1):
    probability = OPERATOR_PROBABILITY if 1 < depth < MAX_DEPTH else depth == 1
    is_operator = rng.random(len(tree)) < probability
    digits = rng.integers(10, size=len(tree))
    operators = 10 + rng.integers(len(OPERATORS), size=len(tree))
    arguments = rng.integers(2, MAX_ARGUMENTS + 1, size=len(tree))
    token = np.where(is_operator, operators, digits)
    levels.append(Level(tree, token, np.where(is_operator, arguments, 0)))
    tree = np.repeat(tree, levels[-1].arguments)
  return levels


def subtree_sizes(levels: list[Level]) -> list[np.ndarray]:
  """The number of tokens of the subtree at each node of each level."""
  sizes, below = [], np.zeros(0, int)
  for level in reversed(levels):
    size = np.ones(len(level.token), int)
    parents = level.arguments > 0
    if parents.any():
      size[parents] = 2 + np.add.reduceat(below, _starts(level))
    sizes.append(size)
    below = size
  return sizes[::-1]


def evaluate(levels: list[Level]) -> np.ndarray:
  """The value of each tree, computed from the leaves up."""
  below = np.zeros(0, int)
  for level in reversed(levels):
    value = level.token.copy()
    parents = level.arguments > 0
    if parents.any():
      value[parents] = _apply(level, below)
    below = value
  return below


def _apply(level: Level, below: np.ndarray) -> np.ndarray:
  """The values of a level's operators, given the values of the level below."""
  starts = _starts(level)
  arguments = level.arguments[level.arguments > 0]
  group = np.repeat(np.arange(len(starts)), arguments)
  ordered = below[np.lexsort((below, group))]
  middle = (
    ordered[starts + (arguments - 1) // 2] + ordered[starts + arguments // 2]
  ) // 2
  results = np.stack(
    [
      np.minimum.reduceat(below, starts),
      np.maximum.reduceat(below, starts),
      middle,
      np.add.reduceat(below, starts) % 10,
    ]
  )
  operator = level.token[level.arguments > 0] - 10
  return np.take_along_axis(results, operator[None], axis=0)[0]


def write(levels: list[Level], sizes: list[np.ndarray]) -> np.ndarray:
  """The tokens of all trees, one after the other, uint8 [sum of lengths]."""
  text = np.full(sizes[0].sum(), CLOSE, np.uint8)
  position = np.cumsum(sizes[0]) - sizes[0]
  for level, below in zip(levels, [*sizes[1:], None], strict=True):
    text[position] = level.token
    parents = level.arguments > 0
    if not parents.any():
      break
    # The subtrees of the children follow their parent's token, in order.
    before = np.cumsum(below) - below
    first = np.repeat(before[_starts(level)], level.arguments[parents])
    place = np.repeat(position[parents] + 1, level.arguments[parents])
    position = place + before - first
  return text


def _starts(level: Level) -> np.ndarray:
  """The index of each operator's first argument in the level below."""
  arguments = level.arguments[level.arguments > 0]
  return np.cumsum(arguments) - arguments
