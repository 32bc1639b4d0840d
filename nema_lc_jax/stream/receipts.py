"""Receipts: an answer, and the slots and texts that it comes from."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from nema_lc_jax.memory.provenance import FORGOTTEN, REPLACED, Provenance
from nema_lc_jax.stream.core import Explanation

# Slots that are read with less weight are left out.
LEAST_WEIGHT = 0.01
LOST = {REPLACED: "replaced", FORGOTTEN: "forgotten"}


@dataclasses.dataclass(frozen=True)
class Span:
  """A chunk of the text."""

  chunk: int  # its number, from 0
  start: int  # its first token, and the one after its last
  end: int
  text: str

  def __str__(self) -> str:
    return f"{self.start:,} to {self.end:,}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Source:
  """A slot that the answer was read from."""

  slot: int
  weight: float  # of all that was read
  # The answer, and its probability, without this slot.
  answer_without: str
  probability_without: float
  written: Span
  updates: tuple[Span, ...]  # the newest first
  earlier_updates: int  # of which nothing is kept
  # What happened to the slot's item before, if there was one.
  lost: str | None

  def __str__(self) -> str:
    lines = [
      f"slot {self.slot}, read with weight {self.weight:.2f}; without it:"
      f" {self.answer_without} ({self.probability_without:.2f})",
      f"  written at {self.written}",
    ]
    lines += [f"  updated at {span}" for span in self.updates]
    if self.earlier_updates:
      lines.append(f"  and {self.earlier_updates} earlier updates")
    if self.lost:
      lines.append(f"  before: {self.lost}")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Receipt:
  """An answer with its sources, the most read first."""

  answer: str
  probability: float
  sources: tuple[Source, ...]

  def __str__(self) -> str:
    first = f"{self.answer}, probability {self.probability:.2f}"
    return "\n".join([first, *map(str, self.sources)])

  def to_dict(self) -> dict:
    """As values that JSON can hold."""
    return dataclasses.asdict(self)


def make_receipt(
  explained: Explanation,
  provenance: Provenance,
  *,
  name: Callable[[int], str],
  text: Callable[[np.ndarray], str],
) -> Receipt:
  """The receipt of an answer.

  Args:
    explained: of the answer.
    provenance: of the slots when it was given.
    name: of a class.
    text: of token ids.
  """
  explained, provenance = jax.device_get((explained, provenance))
  best, probability = _best(explained.logits)
  order = np.argsort(-explained.weights, kind="stable")
  sources = [
    _source(int(m), explained, provenance, name, text)
    for m in order
    if explained.weights[m] >= LEAST_WEIGHT and provenance.chunks[m, 0] >= 0
  ]
  return Receipt(name(best), probability, tuple(sources))


def _best(logits: np.ndarray) -> tuple[int, float]:
  shifted = np.exp(logits - logits.max())
  return int(logits.argmax()), float(shifted.max() / shifted.sum())


def _source(
  m: int,
  explained: Explanation,
  provenance: Provenance,
  name: Callable[[int], str],
  text: Callable[[np.ndarray], str],
) -> Source:
  T = provenance.tokens.shape[-1]
  spans = [
    Span(int(n), int(n) * T, int(n) * T + T, text(tokens))
    for n, tokens in zip(
      provenance.chunks[m], provenance.tokens[m], strict=True
    )
    if n >= 0
  ]
  without, probability = _best(explained.without[m])
  began, when, how = provenance.lost[m].tolist()
  lost = None
  if how in LOST:
    lost = f"what was written at {began * T:,} was {LOST[how]} at {when * T:,}"
  return Source(
    slot=m,
    weight=float(explained.weights[m]),
    answer_without=name(without),
    probability_without=probability,
    written=spans[0],
    updates=tuple(spans[1:]),
    earlier_updates=int(provenance.updates[m]) - len(spans) + 1,
    lost=lost,
  )
