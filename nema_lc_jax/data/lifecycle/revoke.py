"""Facts are revoked; the value of a key is asked for, or "none".

a fact        [MARK, key, value]   binds a key that is not bound
a command     [REVOKE, key]        unbinds a bound key
the question  [ASK, key]           about a bound key, or an unbound one: "none"
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

MARK, ASK, REVOKE = 1, 2, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Revoke(Facts):
  """At most `num_live` keys are bound at a time; the rest of a text is noise.

  In a share `event_rate` of the blocks a key is bound or unbound, with equal
  probability where both are possible. A bound key may have been bound before. A
  share `none_rate` of the questions is about a key that was revoked; the answer
  "none" is the last class.
  """

  num_live: int = 3
  event_rate: float = 0.5
  none_rate: float = 0.4

  name = "revoke"
  summary = "the value of a key, or none if it was taken back"
  commands = ("MARK", "ASK", "REVOKE")

  @property
  def num_classes(self) -> int:
    """The values, and "none"."""
    return self.num_values + 1

  @property
  def label_names(self) -> tuple[str, ...]:
    """The values, and "none"."""
    return (*super().label_names, "none")

  @property
  def chance(self) -> float:
    """Accuracy of always answering "none", or one value if that is better."""
    return max(self.none_rate, (1 - self.none_rate) / self.num_values)

  @property
  def min_blocks(self) -> int:
    """One block each to bind, unbind and bind again, and for the question."""
    return 4

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_at_least(1, num_live=self.num_live)
    require_between(0, 1, event_rate=self.event_rate, none_rate=self.none_rate)
    if self.num_keys <= self.num_live:
      raise DataError(
        f"num_live {self.num_live} must be below num_keys {self.num_keys}"
      )

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    events = max(3, rng.binomial(blocks - 1, self.event_rate))
    places = np.sort(rng.permutation(blocks - 1)[:events])
    bound: dict[int, tuple[int, int]] = {}  # key: (value, block)
    past: dict[int, list[int]] = {}  # key: its revoked values
    items = []
    for number, place in enumerate(places):
      # The first three bind, unbind and bind: then both answers are possible.
      coin = number != 1 and rng.random() < 0.5
      full = len(bound) == self.num_live
      binds = not bound or (coin and not full)
      if number == events - 1 and len(bound) == 1:
        if full:
          break
        binds = True  # One key has to be bound at the end.
      if binds:
        free = [k for k in range(self.num_keys) if k not in bound]
        key, value = rng.choice(free), int(rng.integers(self.num_values))
        bound[key] = value, place
        tokens = MARK, self.first_key + key, self.first_value + value
        items.append(Item(place, tokens, True))
      else:
        key = rng.choice(list(bound))
        value, block = bound.pop(key)
        past.setdefault(key, []).append(value)
        tokens = REVOKE, self.first_key + key
        items.append(Item(place, tokens, invalidates=block, updates=block))
    gone = [key for key in past if key not in bound]
    if gone and (not bound or rng.random() < self.none_rate):
      key = rng.choice(gone)
      label, source = self.num_values, -1
    else:
      key = rng.choice(list(bound))
      label, source = bound[key]
    return Script(
      items=items,
      question=(ASK, self.first_key + key),
      label=label,
      source=source,
      stale=sorted({*past.get(key, ())} - {label}),
    )


load = loader(Revoke)
