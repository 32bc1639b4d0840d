"""Keys are marked; how often, modulo a number, is asked for each key.

a mark        [MARK, key]
the question  [ASK, key]
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.lifecycle.facts import (
  Facts,
  Item,
  Question,
  Script,
  loader,
)
from nema_lc_jax.data.types import require_between

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count(Facts):
  """Each text marks `num_live` keys; the last blocks ask about each of them.

  The number of marks of a key is r + num_values * q. The remainder r, which is
  the label, is uniform where the text has room for it, so that chance is
  1/num_values. As many q as fit into a share `fact_rate` of the blocks are
  dealt to the keys at random; the other blocks are noise. A memory with a slot
  for each key has accuracy 1 if its updates count.
  """

  num_keys: int = 8
  num_values: int = 5
  num_live: int = 3
  fact_rate: float = 0.75

  name = "count"
  summary = "how often a key was marked, modulo a number"
  commands = ("MARK", "ASK")

  @property
  def num_value_ids(self) -> int:
    """Texts name no number."""
    return 0

  @property
  def num_classes(self) -> int:
    """The remainders."""
    return self.num_values

  @property
  def label_names(self) -> tuple[str, ...]:
    """The remainders."""
    return tuple(map(str, range(self.num_values)))

  @property
  def several_questions(self) -> bool:
    """Each key is asked about."""
    return True

  @property
  def min_blocks(self) -> int:
    """A mark, and a question about each key."""
    return self.num_live + 1

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_between(0, 1, fact_rate=self.fact_rate)
    self.check_live(self.num_live)

  def counts(self, rng: np.random.Generator, blocks: int) -> np.ndarray:
    """How often each live key is marked in a text of so many blocks."""
    room = blocks - self.num_live
    counts = np.zeros(self.num_live, int)
    for key in rng.permutation(self.num_live):
      left = room - counts.sum()
      counts[key] = rng.integers(min(self.num_values, left + 1))
    left = int(self.fact_rate * room) - counts.sum()
    rounds = max(0, left // self.num_values)
    dealt = rng.multinomial(rounds, np.full(self.num_live, 1 / self.num_live))
    return counts + self.num_values * dealt

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the questions of a text of so many blocks."""
    K, V = self.num_live, self.num_values
    counts = self.counts(rng, blocks)
    marked = rng.permutation(np.repeat(np.arange(K), counts))
    places = np.sort(rng.permutation(blocks - K)[: len(marked)])
    names = self.first_key + rng.permutation(self.num_keys)[:K]
    newest, items = [-1] * K, []
    for place, key in zip(places, marked, strict=True):
      tokens = MARK, names[key]
      items.append(Item(place, tokens, True, updates=newest[key]))
      newest[key] = place
    questions = [
      Question(
        block=blocks - K + i,
        tokens=(ASK, names[key]),
        label=counts[key] % V,
        source=newest[key],
      )
      for i, key in enumerate(rng.permutation(K))
    ]
    return Script.asking(items, questions)

  def chance_at(self, length: int) -> float:
    """Accuracy of always answering the same remainder."""
    return self.majority(length)

  def limits(self, split: str, length: int, num_slots: int) -> dict[str, float]:
    """The accuracy of a memory of single marks."""
    found = self.limit_of_single_marks(length // self.block, num_slots)
    return {"single_marks": found}

  def limit_of_single_marks(
    self, blocks: int, num_slots: int, texts: int = 4000
  ) -> float:
    """Accuracy at so many blocks if each slot holds one mark, from a sample.

    The memory knows in advance which keys have few marks, and holds all marks
    of as many keys as fit; the counts of the others are guessed.
    """
    rng, share = np.random.default_rng(0), 0.0
    for _ in range(texts):
      counts = np.sort(self.counts(rng, blocks))
      share += (np.cumsum(counts) <= num_slots).mean() / texts
    return share + (1 - share) / self.num_values


load = loader(Count)
