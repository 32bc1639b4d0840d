"""Statements about a few entities; the newest value of an attribute is asked.

a statement   [MARK, entity, value]   the values of each attribute are its own
the question  [ASK, entity, attribute]
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
from nema_lc_jax.data.types import (
  MAX_TOKENS,
  require_at_least,
  require_between,
)

MARK, ASK = 1, 2
FIRST_ATTRIBUTE = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gather(Facts):
  """Each text has `num_live` entities with `num_attributes` attributes each.

  In a share `fact_rate` of the blocks one attribute of one entity gets a new
  value, different from the one that it has. A share `ask_rate` of the other
  blocks asks, and the last one does, about an attribute that has a value.
  Chance is 1/num_values, since the question names the
  attribute. A memory with a slot for each entity has accuracy 1 if it gathers
  there what several statements say; without updates it would need a slot for
  each attribute that has a value, see `limit_without_updates`.
  """

  num_live: int = 4
  num_attributes: int = 3
  fact_rate: float = 0.75
  ask_rate: float = 0.0

  name = "gather"
  summary = "the newest value of an entity's attribute, said piece by piece"

  @property
  def commands(self) -> tuple[str, ...]:
    """MARK, ASK, and a token per attribute."""
    return ("MARK", "ASK", *(f"a{i}" for i in range(self.num_attributes)))

  @property
  def num_value_ids(self) -> int:
    """All values of all attributes."""
    return self.num_attributes * self.num_values

  @property
  def value_names(self) -> tuple[str, ...]:
    """The values, by attribute."""
    A, V = self.num_attributes, self.num_values
    return tuple(f"a{a}v{v}" for a in range(A) for v in range(V))

  @property
  def several_questions(self) -> bool:
    """Whether questions stand anywhere."""
    return self.ask_rate > 0

  @property
  def min_blocks(self) -> int:
    """A statement and the question."""
    return 2

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_at_least(1, most=MAX_TOKENS, num_attributes=self.num_attributes)
    require_between(0, 1, fact_rate=self.fact_rate, ask_rate=self.ask_rate)
    self.check_live(self.num_live)

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    A, V = self.num_attributes, self.num_values
    facts = max(1, rng.binomial(blocks - 1, self.fact_rate))
    places = np.sort(rng.permutation(blocks - 1)[:facts])
    names = self.first_key + rng.permutation(self.num_keys)[: self.num_live]
    entities = rng.integers(self.num_live, size=facts)
    attributes = rng.integers(A, size=facts)
    steps = rng.integers(1, V, size=facts)
    asking = np.arange(blocks) == blocks - 1
    if self.ask_rate:
      asking |= rng.random(blocks) < self.ask_rate
    values: dict[tuple[int, int], list[int]] = {}
    held, newest, items, questions = {}, {}, [], []

    def ask(block: int) -> Question:
      cells = sorted(values)
      entity, attribute = cell = cells[rng.integers(len(cells))]
      labels = [attribute * V + value for value in values[cell]]
      return Question(
        block=block,
        tokens=(ASK, names[entity], FIRST_ATTRIBUTE + attribute),
        label=labels[-1],
        source=held[cell],
        stale=sorted({*labels} - {labels[-1]}),
      )

    said = {place: i for i, place in enumerate(places)}
    for block in range(blocks):
      if block in said:
        i = said[block]
        entity, attribute, step = entities[i], attributes[i], steps[i]
        cell = entity, attribute
        past = values.setdefault(cell, [])
        before = past[-1] if past else rng.integers(V)
        past.append((before + step) % V)
        value = self.first_value + attribute * V + past[-1]
        before = held.get(cell, -1), newest.get(entity, -1)
        items.append(Item(block, (MARK, names[entity], value), True, *before))
        held[cell] = newest[entity] = block
      elif asking[block] and values:
        questions.append(ask(block))
    return Script.asking(items, questions)

  def limits(self, split: str, length: int, num_slots: int) -> dict[str, float]:
    """The best accuracy without updates, if the last block alone asks."""
    if self.several_questions:
      return {}
    best = self.limit_without_updates(length // self.block, num_slots)
    return {"best_without_updates": best}

  def limit_without_updates(self, blocks: int, num_slots: int) -> float:
    """The best accuracy at so many blocks if each slot holds one statement.

    Which attributes will be asked for cannot be known, so that with F of them
    `num_slots` are held, and the others are guessed.
    """
    cells = self.num_live * self.num_attributes
    # Number of statements: at least 1, else binomial. Of distinct cells: each
    # statement is about one that had a value with probability F/cells.
    count = np.zeros(blocks)
    count[0] = 1.0
    for _ in range(blocks - 1):
      count = (1 - self.fact_rate) * count + self.fact_rate * np.roll(count, 1)
    count[1] += count[0]
    known = np.arange(cells + 1) / cells
    distinct, share = np.eye(cells + 1)[0], 0.0
    held = np.minimum(1.0, num_slots / np.maximum(np.arange(cells + 1), 1))
    for weight in count[1:]:
      distinct = distinct * known + np.roll(distinct * (1 - known), 1)
      share += weight * (distinct @ held)
    return float(share + (1 - share) / self.num_values)


load = loader(Gather)
