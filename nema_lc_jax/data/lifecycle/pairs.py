"""A pair in every block, no noise: how many are kept, and how often updated.

a pair        [MARK, key, value]
the question  [ASK, key]           the newest value of the key

Three tasks differ in the keys: `remember` (each occurs once), `rewrite` (drawn
from a few) and `pi_updates` (each updated equally often, and each asked for).
The first two follow the associative retrieval of ARMT (Rodkin et al. 2024,
arXiv:2407.04841), the last one PI-LLM (Wang and Sun 2025, arXiv:2506.08184).
Here keys and values are single tokens, and the values of a key differ from one
pair to the next.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from nema_lc_jax.data.lifecycle.facts import (
  Facts,
  Item,
  Question,
  Script,
  loader,
)
from nema_lc_jax.data.types import DataError

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs(Facts):
  """A pair in each block but those of the questions.

  Chance is 1/num_values; a memory that holds the newest value of each key has
  accuracy 1, so it needs a slot per key of the text.
  """

  block: int = 4

  commands = ("MARK", "ASK")

  def keys(self, rng: np.random.Generator, blocks: int) -> np.ndarray:
    """The numbers of the keys of all pairs of a text, in order."""
    raise NotImplementedError

  def asked(self, rng: np.random.Generator, keys: np.ndarray) -> Sequence[int]:
    """The keys that are asked for, in order: one of the text."""
    return [rng.choice(keys)]

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the questions of a text of so many blocks."""
    keys = self.keys(rng, blocks)
    values = rng.integers(self.num_values, size=self.num_keys)
    steps = rng.integers(1, self.num_values, size=len(keys))
    held = np.full(self.num_keys, -1)
    said: list[list[int]] = [[] for _ in range(self.num_keys)]
    items = []
    for place, (key, step) in enumerate(zip(keys, steps, strict=True)):
      values[key] = (values[key] + step) % self.num_values
      said[key].append(int(values[key]))
      tokens = MARK, self.first_key + key, self.first_value + values[key]
      items.append(Item(place, tokens, True, held[key], held[key]))
      held[key] = place
    asked = self.asked(rng, keys)
    questions = [
      Question(
        block=blocks - len(asked) + i,
        tokens=(ASK, self.first_key + key),
        label=said[key][-1],
        source=held[key],
        stale=sorted({*said[key]} - {said[key][-1]}),
      )
      for i, key in enumerate(asked)
    ]
    return Script.asking(items, questions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remember(Pairs):
  """The keys of a text are distinct."""

  num_keys: int = 512

  name = "remember"
  summary = "the value of one of many keys"

  @property
  def min_blocks(self) -> int:
    """A pair and the question."""
    return 2

  def check_length(self, length: int, name: str = "length") -> None:
    """Raises DataError if there are more pairs than keys, too."""
    super().check_length(length, name)
    if length // self.block - 1 > self.num_keys:
      raise DataError(
        f"remember needs a {name} of at most"
        f" {(self.num_keys + 1) * self.block}, one block of {self.block} for"
        f" each of num_keys={self.num_keys} and one to ask; got {length}"
      )

  def keys(self, rng: np.random.Generator, blocks: int) -> np.ndarray:
    """A key per pair, without repetition."""
    return rng.permutation(self.num_keys)[: blocks - 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rewrite(Pairs):
  """The keys of a text are drawn from `num_live` keys."""

  num_keys: int = 16
  num_live: int = 4

  name = "rewrite"
  summary = "the newest value of one of a few keys, rewritten again and again"

  @property
  def min_blocks(self) -> int:
    """A pair and the question."""
    return 2

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    self.check_live(self.num_live)

  def live(self, rng: np.random.Generator) -> np.ndarray:
    """The keys of a text."""
    return rng.permutation(self.num_keys)[: self.num_live]

  def keys(self, rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Each pair's key is drawn anew."""
    return rng.choice(self.live(rng), blocks - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiUpdates(Rewrite):
  """Proactive interference: `num_live` keys, each updated equally often.

  All occurrences of all keys are in random order. The last blocks ask for each
  key once. A text of n blocks gives each key n // num_live - 1 values; blocks
  that are left over hold more pairs.
  """

  name = "pi_updates"
  summary = "the newest value of each key after equally many updates"

  @property
  def several_questions(self) -> bool:
    """Each key is asked for."""
    return True

  @property
  def min_blocks(self) -> int:
    """A pair and a question for each key."""
    return 2 * self.num_live

  def keys(self, rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Equally many pairs of each key, up to one."""
    return rng.permutation(np.resize(self.live(rng), blocks - self.num_live))

  def asked(self, rng: np.random.Generator, keys: np.ndarray) -> Sequence[int]:
    """Each key once."""
    return rng.permutation(np.unique(keys)).tolist()


load_remember = loader(Remember)
load_rewrite = loader(Rewrite)
load_pi_updates = loader(PiUpdates)
