"""Facts among noise; the value of a key is asked for, despite distractors.

a fact        [MARK, key, value]   with a key of its own
a distractor  [key, value]         with the key of a fact and a wrong value
the question  [ASK, key]
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.lifecycle.facts import (
  Facts,
  Item,
  Script,
  loader,
)
from nema_lc_jax.data.types import DataError, require_at_least, require_between

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recall(Facts):
  """`num_facts` facts; a share `distractor_rate` of the other blocks distracts.

  Values are uniform and independent of all else, so chance is 1/num_values.
  Each key has exactly one marked fact, so a memory that holds all facts has
  accuracy 1; one that holds m of the F facts has m/F + (1 - m/F)/num_values.
  """

  num_facts: int = 3
  distractor_rate: float = 0.5

  name = "recall"
  summary = "the value of one of a few marked facts, despite near misses"
  commands = ("MARK", "ASK")

  @property
  def min_blocks(self) -> int:
    """One block per fact, and one for the question."""
    return self.num_facts + 1

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_at_least(1, num_facts=self.num_facts)
    require_between(0, 1, distractor_rate=self.distractor_rate)
    if self.num_keys < self.num_facts:
      raise DataError(
        f"num_facts {self.num_facts} is above num_keys {self.num_keys}; "
        "every fact has a key of its own"
      )

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    F = self.num_facts
    places = rng.permutation(blocks - 1)
    keys = self.first_key + rng.permutation(self.num_keys)[:F]
    values = rng.integers(self.num_values, size=F)
    items = [
      Item(places[i], (MARK, keys[i], self.first_value + values[i]), True)
      for i in range(F)
    ]
    D = rng.binomial(len(places) - F, self.distractor_rate)
    of = rng.integers(F, size=D)  # the fact that each distractor contradicts
    wrong = values[of] + rng.integers(1, self.num_values, size=D)
    wrong = self.first_value + wrong % self.num_values
    items += [Item(places[F + i], (keys[of[i]], wrong[i])) for i in range(D)]
    asked = rng.integers(F)
    return Script(
      items=items,
      question=(ASK, keys[asked]),
      label=values[asked],
      source=places[asked],
    )


load = loader(Recall)
