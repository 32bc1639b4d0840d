"""Keys get new values; the newest value of a key is asked for.

a fact        [MARK, key, value]   makes the key's previous fact invalid
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
from nema_lc_jax.data.types import require_between

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rebind(Facts):
  """Each text has `num_live` keys; a share `fact_rate` of the blocks is facts.

  A new value always differs from the previous one. Chance is 1/num_values; a
  memory that holds the newest value of each key has accuracy 1.
  """

  num_live: int = 3
  fact_rate: float = 0.4

  name = "rebind"
  summary = "the newest value of a key whose value keeps changing"
  commands = ("MARK", "ASK")

  @property
  def min_blocks(self) -> int:
    """One block per key, and one for the question."""
    return self.num_live + 1

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_between(0, 1, fact_rate=self.fact_rate)
    self.check_live(self.num_live)

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    K, V = self.num_live, self.num_values
    facts = max(K, rng.binomial(blocks - 1, self.fact_rate))
    places = np.sort(rng.permutation(blocks - 1)[:facts])
    # Every key occurs at least once, in any order.
    which = rng.permutation([*range(K), *rng.integers(K, size=facts - K)])
    names = self.first_key + rng.permutation(self.num_keys)[:K]
    steps = rng.integers(1, V, size=facts)
    values, held = [[] for _ in range(K)], [-1] * K
    items = []
    for place, k, step in zip(places, which, steps, strict=True):
      before = values[k][-1] if values[k] else rng.integers(V)
      values[k].append((before + step) % V)
      tokens = (MARK, names[k], self.first_value + values[k][-1])
      items.append(Item(place, tokens, True, held[k], updates=held[k]))
      held[k] = place
    asked = rng.integers(K)
    label = values[asked][-1]
    return Script(
      items=items,
      question=(ASK, names[asked]),
      label=label,
      source=held[asked],
      stale=sorted({*values[asked]} - {label}),
    )


load = loader(Rebind)
