"""Objects are put into boxes, moved and removed; a box's contents are asked.

put           [PUT, object, box]
move          [MOVE, object, box, box]   from the first box to the second
remove        [REMOVE, object, box]
the question  [ASK, box]                 at any time; the answer is a set

The operations and questions of Kim and Schuster 2023, "Entity Tracking in
Language Models" (arXiv:2305.02363), one object at a time.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np

from nema_lc_jax.data.lifecycle.facts import (
  Facts,
  Item,
  Question,
  Script,
  loader,
)
from nema_lc_jax.data.types import DataError, require_at_least, require_between

ASK, PUT, MOVE, REMOVE = 1, 2, 3, 4
FIRST_BOX = 5
MAX_SETS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boxes(Facts):
  """At most `num_live` of `num_keys` objects are in boxes at a time.

  A box holds at most `capacity` objects. A share `event_rate` of the blocks has
  an operation, drawn from those that are possible, and a share `ask_rate` a
  question; the last block asks, too. A share `empty_rate` of the questions is
  about an empty box. The answer is the exact set, and each set is a class. A
  memory with a slot for each object that is in a box has accuracy 1.
  """

  num_boxes: int = 4
  capacity: int = 2
  num_live: int = 4
  event_rate: float = 0.5
  ask_rate: float = 0.25
  empty_rate: float = 0.25

  name = "boxes"
  summary = "the exact contents of a box, asked at any time"
  longest = 4

  @property
  def commands(self) -> tuple[str, ...]:
    """ASK, the operations, and a token per box."""
    boxes = (f"b{i}" for i in range(self.num_boxes))
    return ("ASK", "PUT", "MOVE", "REMOVE", *boxes)

  @property
  def num_value_ids(self) -> int:
    """There are no values but boxes."""
    return 0

  @functools.cached_property
  def sets(self) -> list[tuple[int, ...]]:
    """The sets of objects that a box may hold, by label."""
    sizes = range(self.capacity + 1)
    of = lambda size: itertools.combinations(range(self.num_keys), size)
    return list(itertools.chain.from_iterable(map(of, sizes)))

  @functools.cached_property
  def label_of(self) -> dict[tuple[int, ...], int]:
    """The label of each set."""
    return {of: label for label, of in enumerate(self.sets)}

  @property
  def num_classes(self) -> int:
    """The number of sets."""
    sizes = range(self.capacity + 1)
    return sum(math.comb(self.num_keys, size) for size in sizes)

  @property
  def label_names(self) -> tuple[str, ...]:
    """The sets."""
    named = (" ".join(f"k{i}" for i in of) for of in self.sets)
    return tuple(names or "empty" for names in named)

  @property
  def several_questions(self) -> bool:
    """Questions may stand anywhere."""
    return True

  def chance_at(self, length: int) -> float:
    """Accuracy of always answering the same set."""
    return self.majority(length)

  @property
  def min_blocks(self) -> int:
    """One block to put, and one for the question."""
    return 2

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    super().check()
    require_at_least(1, most=max(self.num_keys, 1), capacity=self.capacity)
    require_at_least(2, num_boxes=self.num_boxes)
    require_between(0, 1, event_rate=self.event_rate, ask_rate=self.ask_rate)
    require_between(0, 1, empty_rate=self.empty_rate)
    if self.event_rate + self.ask_rate > 1:
      raise DataError(
        f"event_rate {self.event_rate} and ask_rate {self.ask_rate} are above 1"
        " together"
      )
    self.check_live(self.num_live)
    room = (self.num_boxes - 1) * self.capacity
    if self.num_live > room:
      raise DataError(
        f"num_live {self.num_live} is above (num_boxes - 1) * capacity ="
        f" {room}: with fewer free places some objects could not be moved"
      )
    if self.num_classes > MAX_SETS:
      raise DataError(
        f"num_keys {self.num_keys} and capacity {self.capacity} make"
        f" {self.num_classes} sets; at most {MAX_SETS} are allowed"
      )

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the questions of a text of so many blocks."""
    kinds = rng.choice(
      3, blocks, p=(self.event_rate, self.ask_rate, self._noise_rate)
    )
    kinds[0], kinds[-1] = 0, 1
    room = Room(self)
    items, questions = [], []
    for block, kind in enumerate(kinds):
      if kind == 0:
        items.append(room.change(rng, block))
      elif kind == 1:
        questions.append(room.ask(rng, block))
    return Script.asking(items, questions)

  @property
  def _noise_rate(self) -> float:
    return max(0.0, 1 - self.event_rate - self.ask_rate)


class Room:
  """Where each object is, and since which block."""

  def __init__(self, task: Boxes):
    self._task = task
    self._label = task.label_of
    self._place: dict[int, tuple[int, int]] = {}  # object: (box, block)
    self._answers = [[0] for _ in range(task.num_boxes)]  # labels over time

  def _contents(self, box: int) -> tuple[int, ...]:
    return tuple(sorted(o for o, (b, _) in self._place.items() if b == box))

  def change(self, rng: np.random.Generator, block: int) -> Item:
    """Draws an operation, executes it, and returns its item."""
    task, place = self._task, self._place
    # The last object stays, so that not all boxes are empty.
    kinds = [PUT] * (len(place) < task.num_live)
    kinds += [MOVE] * (len(place) > 0) + [REMOVE] * (len(place) > 1)
    kind = rng.choice(kinds)
    boxes = range(task.num_boxes)
    open_boxes = [b for b in boxes if len(self._contents(b)) < task.capacity]
    if kind == PUT:
      thing = rng.choice([o for o in range(task.num_keys) if o not in place])
      source, before = None, -1
    else:
      thing = rng.choice(list(place))
      source, before = place.pop(thing)
    tokens = [kind, task.first_key + thing]
    if source is not None:
      tokens.append(FIRST_BOX + source)
    if kind != REMOVE:
      target = int(rng.choice([b for b in open_boxes if b != source]))
      place[thing] = target, block
      tokens.append(FIRST_BOX + target)
    for box in boxes:
      label = self._label[self._contents(box)]
      if label != self._answers[box][-1]:
        self._answers[box].append(label)
    return Item(block, tokens, kind != REMOVE, before, before)

  def ask(self, rng: np.random.Generator, block: int) -> Question:
    """Draws a question."""
    about = sorted({box for box, _ in self._place.values()})
    empty = [b for b in range(self._task.num_boxes) if b not in about]
    if empty and rng.random() < self._task.empty_rate:
      about = empty
    box = int(rng.choice(about))
    *earlier, label = self._answers[box]
    return Question(
      block=block,
      tokens=(ASK, FIRST_BOX + box),
      label=label,
      source=max((n for b, n in self._place.values() if b == box), default=-1),
      stale=sorted({*earlier} - {label}),
    )


load = loader(Boxes)
