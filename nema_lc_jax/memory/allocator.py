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
  Allocation,
  Array,
  Candidates,
  MemoryState,
  Scores,
  Updates,
  straight_through,
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


def _requests(scores: Scores, state: MemoryState, candidates: Candidates):
  """Who requests what.

  Returns:
    Utilities [M] of forgetting slots and [K] of storing candidates, -inf
    without a request, and the slot [K] that a candidate would update; -1: none.
  """
  M, K = state.strength.shape[0], candidates.valid.shape[0]
  priority = _sortable(scores.write_priority)
  priority = jnp.where(candidates.valid, priority, -jnp.inf)
  slot, asked_for = jnp.full(K, -1), jnp.zeros(M, bool)
  if scores.updates is not None:
    # NaN is not above 0, here and below.
    possible = state.alive & (scores.updates.prob.T > 0)
    about = _one_hot(scores.updates.slot, M, priority > -jnp.inf) & possible
    slot = jnp.where(about.any(1), scores.updates.slot, -1)
    asked_for = about.any(0)
    # Of several candidates for a slot the best one requests the update.
    best = jnp.argmax(jnp.where(about, priority[:, None], -jnp.inf), axis=0)
    best = _one_hot(best, K, asked_for).any(0)
    priority = jnp.where(best | (slot < 0), priority, -jnp.inf)
  storable = (slot >= 0) | (scores.write_strength > 0)
  stores = jnp.where(storable, priority, -jnp.inf)
  probs = _sortable(scores.action_probs)
  wanted = jnp.argmax(probs, axis=-1) == FORGET
  wanted |= state.strength <= STRENGTH_FLOOR
  wanted &= state.alive & ~asked_for
  return jnp.where(wanted, probs[:, FORGET], -jnp.inf), stores, slot


def _copies(scores: Scores) -> Array:
  """The ranks [K] at which candidates that update slots are written, too."""
  strength = _sortable(scores.write_strength)
  if scores.updates is None or scores.updates.relaxation != "soft":
    return jnp.full_like(strength, -jnp.inf)
  return jnp.where(strength > STRENGTH_FLOOR, strength, -jnp.inf)


def allocate(
  scores: Scores, state: MemoryState, candidates: Candidates, *, budget: int
) -> Allocation:
  """Chooses at most `budget` operations among M slots and K candidates.

  A valid candidate requests one operation, with its write priority: an update
  of the slot that `scores.updates` says, or else to be written. Of several
  candidates for one slot only the best requests it. A live slot that no
  candidate would update requests to be forgotten, with that probability, if it
  is its most probable action, or if the slot is at the strength floor. The
  `budget` highest requests are executed; ties go to the lower index, slots
  before candidates. The chosen writes, best first, take free slots; then each
  replaces the live slot of the lowest `retention_priority` that was not
  updated, if its write priority is higher, and is dropped otherwise. NaN counts
  as -inf, and -inf is never executed.

  If the relaxation of updates is "soft", a candidate that updates a slot is
  written as well, without counting, at a rank of its write strength.

  Args:
    scores: of the policy.
    state: the memory before the step's operations.
    candidates: the vectors that may be stored.
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
  forgets, stores, slot = _requests(scores, state, candidates)
  utility = jnp.concatenate([forgets, stores])
  # By index: a threshold on the value would admit all equal scores.
  best, chosen = jax.lax.top_k(utility, min(budget, M + K))
  executed = _one_hot(chosen, M + K, best > -jnp.inf).any(0)
  forget, stored = executed[:M], executed[M:]
  updates = _one_hot(slot, M, stored & (slot >= 0))  # [K, M]
  update_source = jnp.where(updates, jnp.arange(K)[:, None], -1).max(0)
  update = update_source >= 0

  # Slots in the order in which writes take them: free ones, then live ones by
  # retention priority; updated ones come last and are never written.
  live = state.alive & ~forget
  retention = _sortable(scores.retention_priority)
  group = jnp.where(update, 2, live.astype(jnp.int32))
  targets = jnp.lexsort((jnp.where(live, retention, 0.0), group))
  # Candidates by rank; those not written have rank -inf and beat no slot.
  ranks = jnp.where(slot < 0, stores, _copies(scores))
  ranks = jnp.where(stored, ranks, -jnp.inf)
  order = jnp.argsort(-ranks, stable=True)
  pairs = min(M, K)
  targets, order = targets[:pairs], order[:pairs]
  wins = ranks[order] > jnp.where(live, retention, -jnp.inf)[targets]
  wins &= ~update[targets]
  source = jnp.where(_one_hot(targets, M, wins), order[:, None], -1).max(0)
  return Allocation(
    update_source=update_source,
    forget=forget,
    source=source,
    evict=live & (source >= 0),
  )


def _moves(updates: Updates, allocation: Allocation) -> Array:
  """How far each candidate moves each slot towards its update [M, K]."""
  K = updates.prob.shape[1]
  executed = _one_hot(allocation.update_source, K, allocation.update)
  done = jnp.where(executed, updates.prob, 0.0)
  if updates.relaxation == "none":
    return done
  if updates.relaxation == "soft":
    return updates.prob / jnp.maximum(updates.prob.sum(1, keepdims=True), 1.0)
  # Their value is 0, their gradient that of the soft one.
  others = jnp.where(executed, 0.0, updates.prob)
  return straight_through(done, others)


def commit(
  state: MemoryState,
  candidates: Candidates,
  scores: Scores,
  allocation: Allocation,
) -> MemoryState:
  """Applies an allocation; all other live slots are retained.

  Write: the candidate's content and strength, age 0, usage FRESH_USAGE.
  Retain: strength `scores.retained_strength`, at least the floor; older by 1.
  Update: with p = `updates.prob`, content + p * (updated - content); age 0,
  usage FRESH_USAGE. The strength is that of retain, and moves by p towards
  `updates.strength` if that is more.
  Forget: all zero.
  """
  written = allocation.source >= 0
  freed = allocation.forget & ~written
  live = state.alive & ~freed
  # A mask, since the gradient of an indexed read is an indexed write.
  chosen = _one_hot(allocation.source, scores.write_priority.shape[0], written)

  content, moves = state.content, None
  if scores.updates is not None:
    moves = _moves(scores.updates, allocation)
    towards = scores.updates.content - content[:, None]
    content = content + (moves[:, :, None] * towards).sum(1)
  content = jnp.where(live[:, None], content, 0.0)
  new_content = candidates.content.astype(jnp.float32)
  new_content = jnp.where(chosen[:, :, None], new_content, 0.0).sum(1)

  def strength(before, retained):
    now = before if retained is None else retained
    if moves is not None:
      gain = jnp.maximum(scores.updates.strength - now[:, None], 0.0)
      now = now + (moves * gain).sum(1)
    now = jnp.where(live, jnp.clip(now, STRENGTH_FLOOR, 1.0), 0.0)
    new = jnp.clip(scores.write_strength, STRENGTH_FLOOR, 1.0)
    return jnp.where(written, jnp.where(chosen, new, 0.0).sum(1), now)

  claim, retained = state.claim, scores.retained_strength
  if claim is not None:
    ours = scores.retained_claim
    claim = strength(claim, retained if ours is None else ours)

  fresh = written | allocation.update
  return MemoryState(
    content=jnp.where(written[:, None], new_content, content),
    age=jnp.where(fresh | ~live, 0, state.age + 1),
    usage=jnp.where(fresh, FRESH_USAGE, jnp.where(live, state.usage, 0.0)),
    strength=strength(state.strength, retained),
    claim=claim,
  )
