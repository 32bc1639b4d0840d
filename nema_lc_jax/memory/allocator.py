"""The budgeted allocator: which operations are executed, and executing them.

`allocate` decides (integers and booleans, no gradient), `commit` applies (and
carries the gradient). The hard budget lives in `allocate` alone.
"""

import chex
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import (
  FORGET,
  FRESH_USAGE,
  STRENGTH_FLOOR,
  UPDATE,
  Allocation,
  Array,
  Candidates,
  MemoryState,
  Scores,
)


def _clean(x: Array) -> Array:
  """Float32 without NaN (counts as -inf) and without -0 (sorts below 0)."""
  x = jax.lax.stop_gradient(x).astype(jnp.float32)
  x = jnp.where(jnp.isnan(x), -jnp.inf, x)
  return jnp.where(x == 0, 0.0, x)


def _at(index: Array, size: int, where: Array) -> Array:
  """True at [i, index[i]] where `where` [I] is: a mask [I, size].

  In place of indexed writes, which become loops on CPUs.
  """
  return (index[:, None] == jnp.arange(size)) & where[:, None]


def _utilities(scores: Scores, state: MemoryState, candidates: Candidates):
  """The operation each slot asks for [M], and utilities [M], [K]."""
  probs = _clean(scores.action_probs)
  wanted = jnp.argmax(probs, axis=-1)
  wanted = jnp.where(state.strength <= STRENGTH_FLOOR, FORGET, wanted)
  asked = jnp.take_along_axis(probs, wanted[:, None], axis=-1)[:, 0]
  asks = state.alive & ((wanted == UPDATE) | (wanted == FORGET))
  slots = jnp.where(asks, asked, -jnp.inf)
  # A strength of NaN is not above 0.
  able = candidates.valid & (scores.write_strength > 0)
  writes = jnp.where(able, _clean(scores.write_priority), -jnp.inf)
  return wanted, slots, writes


def allocate(
  scores: Scores, state: MemoryState, candidates: Candidates, *, budget: int
) -> Allocation:
  """Chooses at most `budget` operations among M slots and K candidates.

  A live slot asks for its most probable action (a slot whose strength is at
  the floor asks to be forgotten); retaining asks for nothing and costs
  nothing. A valid candidate asks to be written with its rank. The `budget`
  best of all of these are chosen; of equal ones the lower index, slots before
  candidates. Chosen writes, best first, take free slots, then the live slots
  with the lowest `retention_priority` that nothing else was done to, if their
  `write_priority` is higher; otherwise the write is dropped. NaN counts as
  -inf, and -inf never executes.

  Args:
    scores: what the policy says.
    state: the memory before the step's operations.
    candidates: what may be written.
    budget: hard limit on writes + updates + forgets, static.

  Raises:
    ValueError: if budget is negative.
  """
  if budget < 0:
    raise ValueError(f"budget must be at least 0, got {budget}.")
  M, K = state.strength.shape[0], candidates.valid.shape[0]
  chex.assert_shape(scores.action_probs, (M, 3))
  chex.assert_shape(scores.retention_priority, (M,))
  chex.assert_shape([scores.write_priority, scores.write_strength], (K,))
  wanted, slots, writes = _utilities(scores, state, candidates)
  utility = jnp.concatenate([slots, writes])
  # By index: a threshold on the value would let equal scores in together.
  best, chosen = jax.lax.top_k(utility, min(budget, M + K))
  executed = _at(chosen, M + K, best > -jnp.inf).any(0)
  update = executed[:M] & (wanted == UPDATE)
  forget = executed[:M] & (wanted == FORGET)

  # The places, in the order in which writes take them: free slots, then live
  # untouched ones by retention priority; no slot updated in this step.
  live = state.alive & ~forget
  retention = _clean(scores.retention_priority)
  group = jnp.where(update, 2, live.astype(jnp.int32))
  places = jnp.lexsort((jnp.where(live, retention, 0.0), group))
  # The chosen writes, best first; the rest of the order is cut off below.
  ranks = jnp.where(executed[M:], writes, -jnp.inf)
  writers = jnp.argsort(-ranks, stable=True)
  pairs = min(M, K)
  places, writers = places[:pairs], writers[:pairs]
  beats = ranks[writers] > jnp.where(live, retention, -jnp.inf)[places]
  lands = beats & ~update[places]
  source = jnp.where(_at(places, M, lands), writers[:, None], -1).max(0)
  return Allocation(
    update=update, forget=forget, source=source, evict=live & (source >= 0)
  )


def commit(
  state: MemoryState,
  candidates: Candidates,
  scores: Scores,
  allocation: Allocation,
) -> MemoryState:
  """Applies an allocation. Slots that nothing is done to are retained.

  Write: the candidate's content and strength, age 0, fresh usage. Update:
  content + p_update * (proposal - content); age, usage and strength stay.
  Forget: all zero. Retain: strength `scores.retained_strength`, not below the
  floor.
  """
  written = allocation.source >= 0
  freed = allocation.forget & ~written
  live = state.alive & ~freed
  # By mask: the gradient of an indexed read is an indexed write.
  chosen = _at(allocation.source, scores.write_priority.shape[0], written)

  p_update = scores.action_probs[:, UPDATE, None]
  moved = state.content + p_update * (scores.proposal - state.content)
  content = jnp.where(allocation.update[:, None], moved, state.content)
  content = jnp.where(live[:, None], content, 0.0)
  offered = candidates.content.astype(jnp.float32)
  offered = jnp.where(chosen[:, :, None], offered, 0.0).sum(1)

  strength = state.strength
  if scores.retained_strength is not None:
    strength = jnp.where(allocation.update, strength, scores.retained_strength)
  strength = jnp.where(live, jnp.clip(strength, STRENGTH_FLOOR, 1.0), 0.0)
  initial = jnp.clip(scores.write_strength, STRENGTH_FLOOR, 1.0)
  initial = jnp.where(chosen, initial, 0.0).sum(1)

  return MemoryState(
    content=jnp.where(written[:, None], offered, content),
    age=jnp.where(written | ~live, 0, state.age + 1),
    usage=jnp.where(written, FRESH_USAGE, jnp.where(live, state.usage, 0.0)),
    strength=jnp.where(written, initial, strength),
  )
