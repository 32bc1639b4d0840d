"""A marked digit is asked for much later, after many digits that are noise.

a fact        [MARK, digit]   once, in the first quarter of the text
noise         digits
the question  [ASK]

This is the task of NeMA-Lite with one correction: there, nothing told the digit
that is asked for from the noise, so the task could not be solved.
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.lifecycle.facts import Facts, Item, Script, loader

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DelayedQA(Facts):
  """One marked digit; the noise is uniform over digits and noise tokens.

  The digits are the values. Chance is 1/num_values; a memory that keeps the one
  fact has accuracy 1.
  """

  num_values: int = 10
  num_keys: int = 0  # a single fact needs no key

  name = "delayed_qa"
  summary = "a digit seen early, asked for much later among other digits"
  commands = ("MARK", "ASK")
  longest = 2
  min_blocks = 4

  @property
  def noise_from(self) -> int:
    """The first digit, because digits are noise, too."""
    return self.first_value

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    digit, place = rng.integers(self.num_values), rng.integers(blocks // 4)
    fact = Item(place, (MARK, self.first_value + digit), True)
    return Script([fact], (ASK,), digit, place)


load = loader(DelayedQA)
