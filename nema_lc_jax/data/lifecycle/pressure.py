"""More facts than slots: those of the highest priority have to be kept.

a fact        [PRIORITY, key, value]   one token per priority, keys distinct
the question  [ASK, key]               about one of the facts to keep
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.lifecycle.facts import (
  Facts,
  Item,
  Script,
  loader,
)
from nema_lc_jax.data.types import (
  MAX_TOKENS,
  DataError,
  require_at_least,
  require_between,
)

ASK = 1
FIRST_PRIORITY = 2  # the lowest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pressure(Facts):
  """A share `fact_rate` of the blocks has a fact; the top ones are asked about.

  There are at least `num_kept` and at most `num_keys` facts. They are ordered
  by priority, and among equal priorities the newest is first. The question is
  about one of the first `num_kept`. A memory that always holds the top facts so
  far has accuracy 1; one that holds m of them has
  m/num_kept + (1 - m/num_kept)/num_values.
  """

  fact_rate: float = 0.5
  num_kept: int = 4
  num_priorities: int = 4

  name = "pressure"
  summary = "the value of one of the most important facts, of too many"

  @property
  def commands(self) -> tuple[str, ...]:
    """ASK, and a token per priority."""
    return ("ASK", *(f"P{i}" for i in range(self.num_priorities)))

  @property
  def min_blocks(self) -> int:
    """Blocks for the facts to keep, and the question."""
    return self.num_kept + 1

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_at_least(1, num_kept=self.num_kept)
    require_at_least(1, most=MAX_TOKENS, num_priorities=self.num_priorities)
    require_between(0, 1, fact_rate=self.fact_rate)
    if self.num_keys < self.num_kept:
      raise DataError(
        f"num_kept {self.num_kept} is above num_keys {self.num_keys}; every"
        " fact has a key of its own"
      )

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    drawn = rng.binomial(blocks - 1, self.fact_rate)
    F = min(max(drawn, self.num_kept), self.num_keys)
    places = np.sort(rng.permutation(blocks - 1)[:F])
    keys = self.first_key + rng.permutation(self.num_keys)[:F]
    values = rng.integers(self.num_values, size=F)
    priorities = rng.integers(self.num_priorities, size=F)
    items, top = [], []  # top: numbers of the facts to be kept so far
    for i in range(F):
      tokens = (
        FIRST_PRIORITY + priorities[i],
        keys[i],
        self.first_value + values[i],
      )
      top.append(i)
      out = -1
      if len(top) > self.num_kept:
        out = min(top, key=lambda j: (priorities[j], j))
        top.remove(out)
      invalidates = places[out] if out not in (-1, i) else -1
      items.append(Item(places[i], tokens, out != i, invalidates))
    asked = rng.choice(top)
    return Script(
      items=items,
      question=(ASK, keys[asked]),
      label=values[asked],
      source=places[asked],
    )


load = loader(Pressure)
