"""Short stories about people, places and objects, and questions about them.

What may happen, in sentences of at most 8 words:

move   mary went to the garden
take   mary took the lamp
drop   mary left the lamp in the garden
give   mary gave the lamp to john
mind   mary wanted the kitchen but chose the garden      also a move

Kinds of questions, and the newest sentences that answer them:

where    where is mary                      the last move
object   where is the lamp                  who took it and where that person is
holder   who has the lamp                   the last sentence about the lamp
before   where was mary before the garden   the last two moves
count    how many things has mary           all about what she had or has
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nema_lc_jax.data.text.needles import Sentence

# fmt: off
PEOPLE = (
  "anna", "ben", "clara", "david", "emma", "felix", "grace", "henry", "iris",
  "jack", "kate", "leo",
)
PLACES = (
  "kitchen", "garden", "cellar", "attic", "office", "hallway", "garage",
  "library",
)
OBJECTS = (
  "lamp", "apple", "letter", "hammer", "blanket", "violin", "basket", "coin",
)
# fmt: on
NUMBERS = ("none", "one", "two", "three")
NOBODY = "nobody"
# At most so many objects with a person, so that there is a word for it.
MOST_HELD = len(NUMBERS) - 1
MOVES = (
  "{p} went to the {l}",
  "{p} walked to the {l}",
  "{p} is back in the {l}",
  "{p} has gone to the {l}",
)
CHANGED_MIND = "{p} wanted the {k} but chose the {l}"
TAKES = ("{p} took the {o}", "{p} picked up the {o}", "{p} grabbed the {o}")
DROPS = ("{p} left the {o} in the {l}", "{p} put the {o} in the {l}")
GIVES = ("{p} gave the {o} to {q}", "{p} handed the {o} to {q}")
QUESTIONS = {
  "where": "where is {p}",
  "object": "where is the {o}",
  "holder": "who has the {o}",
  "before": "where was {p} before the {l}",
  "count": "how many things has {p}",
}
KINDS = tuple(QUESTIONS)
ANSWERS = (*PLACES, *PEOPLE, *NUMBERS, NOBODY)
WORDS = tuple(
  sorted(
    {
      word
      for sentence in (
        *MOVES, CHANGED_MIND, *TAKES, *DROPS, *GIVES, *QUESTIONS.values(),
      )
      for word in sentence.split()
      if not word.startswith("{")
    }.union(ANSWERS, OBJECTS)
  )
)  # fmt: skip


class Asked(NamedTuple):
  """A question at the end of a story."""

  words: str
  answer: str
  # Numbers of the sentences that answer it, the newest first.
  sources: Sequence[int]
  # Answers that were right earlier, and no longer are.
  stale: frozenset[str]


class Story:
  """Who is where and has what, sentence by sentence."""

  def __init__(
    self,
    rng: np.random.Generator,
    kinds: Sequence[str],
    num_people: int,
    num_objects: int,
  ):
    """A story before its first sentence.

    Args:
      rng: draws all that happens.
      kinds: of questions; without questions about them there are no objects.
      num_people: who occur, at most.
      num_objects: that occur, at most.
    """
    self._rng, self._kinds = rng, kinds
    some = lambda names, n: [str(name) for name in rng.permutation(names)[:n]]
    self._people = some(PEOPLE, num_people)
    self._objects = some(OBJECTS, num_objects)
    if not {"object", "holder", "count"} & {*kinds}:
      self._objects = []
    # The places of a person with the numbers of the sentences that say so, and
    # where each object is: a place or a person, with its sentence.
    self._moves = {p: [] for p in self._people}
    self._where: dict[str, tuple[str, int]] = {}
    # The sentences about what a person has.
    self._holdings: dict[str, list[int]] = {p: [] for p in self._people}
    self._answers: dict[tuple[str, str], list[str]] = {}
    self.sentences: list[Sentence] = []

  def tell(self) -> None:
    """Adds one sentence, of a kind drawn from those that are possible."""
    ways = {
      "move": [(p,) for p in self._people],
      "take": list(self._takeable()),
      "drop": [(p, o) for o, p in self._held() if self._moves[p]],
      "give": [
        (p, o, q)
        for o, p in self._held()
        for q in self._people
        if q != p and self._has(q) < MOST_HELD
      ],
    }
    possible = [way for way, choices in ways.items() if choices]
    # Half of the sentences are moves, or more.
    way = "move"
    if len(possible) > 1 and self._rng.random() < 0.5:
      way = self._pick(possible[1:])
    choice = ways[way][self._rng.integers(len(ways[way]))]
    self.sentences.append(getattr(self, f"_{way}")(*choice))
    for kind in self._kinds:
      for subject in self._subjects(kind):
        answer = self._answer(kind, subject)
        past = self._answers.setdefault((kind, subject), [])
        if answer is not None and answer[0] not in past[-1:]:
          past.append(answer[0])

  def ask(self) -> Asked | None:
    """A question, its kind drawn first; None if nothing can be asked yet."""
    options = {}
    for kind in self._kinds:
      subjects = [s for s in self._subjects(kind) if self._answer(kind, s)]
      if subjects:
        options[kind] = subjects
    if not options:
      return None
    kind = self._pick(list(options))
    subject = self._pick(options[kind])
    answer, sources = self._answer(kind, subject)
    place = self._moves[subject][-1][0] if kind == "before" else ""
    return Asked(
      QUESTIONS[kind].format(p=subject, o=subject, l=place),
      answer,
      sorted(sources, reverse=True),
      frozenset(self._answers[kind, subject]) - {answer},
    )

  def _pick(self, options: Sequence[str]) -> str:
    return options[self._rng.integers(len(options))]

  def _held(self) -> list[tuple[str, str]]:
    """The objects that people have, and who."""
    return [(o, w) for o, (w, _) in self._where.items() if w in self._moves]

  def _has(self, person: str) -> int:
    return sum(holder == person for _, holder in self._held())

  def _takeable(self):
    """(person, object) where the person is where the object is."""
    for o in self._objects:
      at = self._where.get(o, (None, -1))[0]
      for p in self._people:
        here = self._moves[p] and self._moves[p][-1][0]
        if (at is None or at == here) and self._has(p) < MOST_HELD:
          yield p, o

  def _subjects(self, kind: str) -> list[str]:
    return self._objects if kind in ("object", "holder") else self._people

  def _answer(self, kind: str, subject: str) -> tuple[str, list[int]] | None:
    """The answer and its sentences; None if the story does not say it."""
    if kind in ("where", "before"):
      back = 1 if kind == "where" else 2
      moves = self._moves[subject][-back:]
      if len(moves) < back:
        return None
      return moves[0][0], [n for _, n in moves]
    if kind == "count":
      told = self._holdings[subject]
      return (NUMBERS[self._has(subject)], told) if told else None
    if subject not in self._where:
      return None
    at, n = self._where[subject]
    if kind == "holder":
      return (at if at in self._moves else NOBODY), [n]
    if at not in self._moves:
      return at, [n]
    if not self._moves[at]:
      return None
    place, since = self._moves[at][-1]
    return place, [n, since]

  def _move(self, person: str) -> Sentence:
    n, past = len(self.sentences), self._moves[person]
    here = past[-1][0] if past else None
    place = self._pick([place for place in PLACES if place != here])
    other = self._pick([o for o in PLACES if o not in (place, here)])
    form = self._pick((*MOVES, CHANGED_MIND))
    kept = 2 if "before" in self._kinds else 1
    void = past[-kept][1] if len(past) >= kept else -1
    newest = past[-1][1] if past else -1
    past.append((place, n))
    words = form.format(p=person, l=place, k=other)
    needed = bool({"where", "before", "object"} & {*self._kinds})
    return Sentence(words, needed, void if needed else -1, newest)

  def _about(self, thing: str, at: str, *people: str) -> tuple[bool, int, int]:
    """Moves an object; the fields of its sentence after the words."""
    n = len(self.sentences)
    _, before = self._where.get(thing, ("", -1))
    self._where[thing] = at, n
    for person in people:
      self._holdings[person].append(n)
    # Counting needs all that was said.
    return True, -1 if "count" in self._kinds else before, before

  def _take(self, person: str, thing: str) -> Sentence:
    words = self._pick(TAKES).format(p=person, o=thing)
    return Sentence(words, *self._about(thing, person, person))

  def _drop(self, person: str, thing: str) -> Sentence:
    place = self._moves[person][-1][0]
    words = self._pick(DROPS).format(p=person, o=thing, l=place)
    return Sentence(words, *self._about(thing, place, person))

  def _give(self, person: str, thing: str, other: str) -> Sentence:
    words = self._pick(GIVES).format(p=person, o=thing, q=other)
    return Sentence(words, *self._about(thing, other, person, other))
