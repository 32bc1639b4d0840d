"""A digit seen early, asked for much later, among digits that are noise.

a fact        [MARK, digit]   once, in the first quarter of the text
noise         digits
the question  [ASK]

The task of NeMA-Lite, made sound: there the asked digit looked like any other.
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.lifecycle.facts import Facts, Item, Script, loader

MARK, ASK = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DelayedQA(Facts):
  """One marked digit; in the noise, any digit is as likely as another token.

  Values are the digits. Chance is 1/num_values; keeping one fact gives 1.
  """

  num_values: int = 10
  num_keys: int = 0  # a single fact needs no name

  name = "delayed_qa"
  summary = "a digit seen early, asked for much later among other digits"
  commands = ("MARK", "ASK")
  longest = 2
  min_blocks = 4

  @property
  def noise_from(self) -> int:
    """Digits are noise too."""
    return self.first_value

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws what a text of so many blocks says."""
    digit, place = rng.integers(self.num_values), rng.integers(blocks // 4)
    fact = Item(place, (MARK, self.first_value + digit), True)
    return Script([fact], (ASK,), digit, place)


load = loader(DelayedQA)
