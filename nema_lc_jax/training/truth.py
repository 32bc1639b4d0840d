"""Memory operations compared with the ground truth of a task."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array, StepOutput
from nema_lc_jax.runs.trace import ASKED
from nema_lc_jax.training.losses import Sums, masked


class Contents(NamedTuple):
  """The chunks that the slots of one text hold.

  A slot holds the chunk that was written into it, and all that updated it
  since, until it is forgotten or written again.
  """

  # The chunk whose write began the slot's item, after each step; -1: free, -2:
  # it was there before the first chunk.
  born: Array  # [N, M]
  # Whether the step's chunk was written into the slot, or updated it.
  stored: Array  # [N, M] bool

  def held(self, chunk: Array, step: Array) -> Array:
    """The slots [..., M] that hold a chunk after a step, both int [...]."""
    same = self.born[step] == self.born[chunk]
    return self.stored[chunk] & same & (chunk <= step)[..., None]


def slot_contents(steps: StepOutput) -> Contents:
  """The chunks that the slots hold after each step of one text [N, ...]."""

  def body(born, numbered):
    n, kept, written = numbered
    born = jnp.where(written, n, jnp.where(kept, born, -1))
    return born, born

  N = len(steps.kept)
  active = steps.active[:, None]
  written = (steps.allocation.source >= 0) & active
  _, born = jax.lax.scan(
    body,
    jnp.where(steps.alive[0], -2, -1),
    (jnp.arange(N), steps.kept | ~active, written),
  )
  return Contents(born, written | (steps.allocation.update & active))


def _truth_sums(steps: StepOutput) -> tuple[Sums, Array]:
  """`truth_sums` of one text, leaves [N, ...].

  Also returns whether all that answers its question is held when it is asked;
  False if there is no such fact.
  """
  N = steps.active.shape[0]
  chunks, contents = jnp.arange(N), slot_contents(steps)
  truth = steps.ground_truth
  # A fact is needed until it is invalidated or the last chunk asks. What the
  # last chunk stores is never read, so it is not counted.
  last = jnp.max(jnp.where(steps.active, chunks, 0))
  fact = (truth.fact > 0) & steps.active & (chunks < last)
  stored = fact & contents.stored.any(1)
  invalidated = jnp.where(truth.invalidates > 0, chunks - truth.invalidates, N)
  until = jnp.full(N, last).at[invalidated].min(chunks, mode="drop")
  retained = contents.held(chunks, until - 1).any(1)
  # The slots that hold the newest fact about the same thing, before the step.
  before = jnp.maximum(chunks - truth.updates, 0)
  known = contents.held(before, jnp.maximum(chunks - 1, 0))
  known &= (truth.updates > 0)[:, None]
  again = fact & known.any(1)
  updates = steps.allocation.update & (chunks < last)[:, None]
  updates &= steps.active[:, None]
  right = (updates & known).sum(dtype=jnp.float32)
  asked = (truth.fact == ASKED) & steps.active & (chunks < last)
  held = contents.held(chunks, jnp.full(N, last - 1)).any(1)
  count = lambda mask: mask.sum(dtype=jnp.float32)
  writes = jnp.where(chunks < last, steps.writes, 0).astype(jnp.float32)
  sums = {
    "write_precision": (jnp.where(fact, writes, 0).sum(), writes.sum()),
    "write_recall": (count(stored), count(fact)),
    "update_precision": (right, count(updates)),
    "update_recall": (count((updates & known).any(1) & again), count(again)),
    "premature_forget_rate": (count(stored & ~retained), count(stored)),
  }
  return sums, asked.any() & (held | ~asked).all()


def truth_sums(steps: StepOutput, right: Array | None = None) -> Sums:
  """Memory operations compared with the ground truth, as (sum, count).

  write_precision: share of writes from a chunk with a fact.
  write_recall: share of facts stored by a write or an update.
  update_precision: share of updates of a slot that holds the newest fact about
  the same thing.
  update_recall: share of facts that update such a slot, where there is one.
  premature_forget_rate: share of stored facts that no slot held any more while
  they were still needed. The last chunk is not counted.
  accuracy_if_held: of the texts all of whose asked facts are held when the
  question comes. What is missing to 1 was held and not found.

  Args:
    steps: leaves [B, N, ...], of a task with ground truth.
    right: whether the answer to a text's one question is right [B] bool; None:
      texts have several, and there is no accuracy_if_held.
  """
  sums, held = jax.vmap(_truth_sums)(steps)
  sums = jax.tree.map(lambda x: x.sum(0), sums)
  if right is not None:
    sums["accuracy_if_held"] = masked(right.astype(jnp.float32), held)
  return sums
