"""The budgeted allocator: choosing operations and applying them.

`allocate` decides, in integers and booleans without a gradient; `commit`
applies the decision and carries the gradient. Only `allocate` knows the budget.
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


def _sortable(x: Array) -> Array:
  """Float32 with -inf for NaN, and 0 for -0, which would sort below 0."""
  x = jax.lax.stop_gradient(x).astype(jnp.float32)
  x = jnp.where(jnp.isnan(x), -jnp.inf, x)
  return jnp.where(x == 0, 0.0, x)


def _one_hot(index: Array, size: int, where: Array) -> Array:
  """A mask [I, size], True at [i, index[i]] for each i in `where` [I] bool.

  It replaces indexed writes, which XLA compiles to loops on CPUs.
  """
  return (index[:, None] == jnp.arange(size)) & where[:, None]


def _utilities(scores: Scores, state: MemoryState, candidates: Candidates):
  """The requested action [M], and utilities of slots [M] and writes [K]."""
  probs = _sortable(scores.action_probs)
  action = jnp.argmax(probs, axis=-1)
  action = jnp.where(state.strength <= STRENGTH_FLOOR, FORGET, action)
  prob = jnp.take_along_axis(probs, action[:, None], axis=-1)[:, 0]
  requests = state.alive & ((action == UPDATE) | (action == FORGET))
  slots = jnp.where(requests, prob, -jnp.inf)
  # A strength of NaN is not above 0.
  writable = candidates.valid & (scores.write_strength > 0)
  writes = jnp.where(writable, _sortable(scores.write_priority), -jnp.inf)
  return action, slots, writes


def allocate(
  scores: Scores, state: MemoryState, candidates: Candidates, *, budget: int
) -> Allocation:
  """Chooses at most `budget` operations among M slots and K candidates.

  A live slot requests its most probable action, with that probability; retain
  is free and no request, and a slot at the strength floor requests to be
  forgotten. A valid candidate requests to be written, with its write priority.
  The `budget` highest requests are executed; ties go to the lower index, slots
  before candidates. The chosen writes, best first, take free slots; then each
  replaces the live slot of the lowest `retention_priority` that was not
  updated, if its write priority is higher, and is dropped otherwise. NaN counts
  as -inf, and -inf is never executed.

  Args:
    scores: of the policy.
    state: the memory before the step's operations.
    candidates: the vectors that may be written.
    budget: hard limit on writes + updates + forgets (static).

  Raises:
    ValueError: if budget is negative.
  """
  if budget < 0:
    raise ValueError(f"budget must be at least 0, got {budget}.")
  M, K = state.strength.shape[0], candidates.valid.shape[0]
  chex.assert_shape(scores.action_probs, (M, 3))
  chex.assert_shape(scores.retention_priority, (M,))
  chex.assert_shape([scores.write_priority, scores.write_strength], (K,))
  action, slots, writes = _utilities(scores, state, candidates)
  utility = jnp.concatenate([slots, writes])
  # By index: a threshold on the value would admit all equal scores.
  best, chosen = jax.lax.top_k(utility, min(budget, M + K))
  executed = _one_hot(chosen, M + K, best > -jnp.inf).any(0)
  update = executed[:M] & (action == UPDATE)
  forget = executed[:M] & (action == FORGET)

  # Slots in the order in which writes take them: free ones, then live ones by
  # retention priority; updated ones come last and are never written.
  live = state.alive & ~forget
  retention = _sortable(scores.retention_priority)
  group = jnp.where(update, 2, live.astype(jnp.int32))
  targets = jnp.lexsort((jnp.where(live, retention, 0.0), group))
  # Candidates by rank; those not chosen have rank -inf and beat no slot.
  ranks = jnp.where(executed[M:], writes, -jnp.inf)
  order = jnp.argsort(-ranks, stable=True)
  pairs = min(M, K)
  targets, order = targets[:pairs], order[:pairs]
  wins = ranks[order] > jnp.where(live, retention, -jnp.inf)[targets]
  wins &= ~update[targets]
  source = jnp.where(_one_hot(targets, M, wins), order[:, None], -1).max(0)
  return Allocation(
    update=update, forget=forget, source=source, evict=live & (source >= 0)
  )


def commit(
  state: MemoryState,
  candidates: Candidates,
  scores: Scores,
  allocation: Allocation,
) -> MemoryState:
  """Applies an allocation; all other live slots are retained.

  Write: the candidate's content and strength, age 0, usage FRESH_USAGE.
  Update: content + p_update * (proposal - content); the strength stays.
  Forget: all zero. Retain: strength `scores.retained_strength`, at least the
  floor. Updated and retained slots grow older by 1.
  """
  written = allocation.source >= 0
  freed = allocation.forget & ~written
  live = state.alive & ~freed
  # A mask, since the gradient of an indexed read is an indexed write.
  chosen = _one_hot(allocation.source, scores.write_priority.shape[0], written)

  p_update = scores.action_probs[:, UPDATE, None]
  moved = state.content + p_update * (scores.proposal - state.content)
  content = jnp.where(allocation.update[:, None], moved, state.content)
  content = jnp.where(live[:, None], content, 0.0)
  new_content = candidates.content.astype(jnp.float32)
  new_content = jnp.where(chosen[:, :, None], new_content, 0.0).sum(1)

  strength = state.strength
  if scores.retained_strength is not None:
    strength = jnp.where(allocation.update, strength, scores.retained_strength)
  strength = jnp.where(live, jnp.clip(strength, STRENGTH_FLOOR, 1.0), 0.0)
  new_strength = jnp.clip(scores.write_strength, STRENGTH_FLOOR, 1.0)
  new_strength = jnp.where(chosen, new_strength, 0.0).sum(1)

  return MemoryState(
    content=jnp.where(written[:, None], new_content, content),
    age=jnp.where(written | ~live, 0, state.age + 1),
    usage=jnp.where(written, FRESH_USAGE, jnp.where(live, state.usage, 0.0)),
    strength=jnp.where(written, new_strength, strength),
  )
