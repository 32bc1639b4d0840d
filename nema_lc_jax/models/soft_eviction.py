"""Soft eviction: a relaxation of eviction, for training."""

import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import (
  STRENGTH_FLOOR,
  Array,
  MemoryState,
  straight_through,
)

# Width of the soft edge between retained and evicted slots, in the units of the
# eviction rule: log strength, or steps.
SOFTNESS = 0.1


def log_strength(strength: Array, claim: Array | None) -> Array:
  """The logarithm of strengths, by whose ratio reads compare slots.

  The gradient is that of the claim if there is one. That of the strength passes
  all earlier soft evictions, each of which multiplies it by up to
  1 + |log(decay)| / (4 * SOFTNESS), 11 by default: over many steps without a
  bound.
  """
  log = lambda x: jnp.log(jnp.maximum(x, STRENGTH_FLOOR))
  if claim is None:
    return log(strength)
  return straight_through(jax.lax.stop_gradient(log(strength)), log(claim))


def soft_eviction(
  state: MemoryState,
  retained: Array,
  priority: Array,
  *,
  capacity: int,
  decay: float,
) -> Array:
  """Decays the strengths [M] of all but the best `capacity` slots.

  A relaxation of eviction, for training with overprovisioned slots. An evicted
  item gets no gradient, but one that decays does, for as long as it is read.
  The edge is soft: the distance of an item's priority from the edge has a
  gradient too, so that retention and eviction learn from the same reads.

  Args:
    state: the memory.
    retained: [M], strengths before the decay.
    priority: [M], retention priorities; the edge is SOFTNESS wide.
    capacity: the number of slots outside of training.
    decay: factor per step of a strength that is clearly beyond the edge.
  """
  live = state.alive
  if capacity >= live.shape[0]:
    return retained
  value = jnp.where(live, priority, -1e9)
  # The edge is the mean of the worst retained and the best evicted slot. It is
  # computed with a mask, since the gradient of a sort is slow.
  _, order = jax.lax.top_k(jax.lax.stop_gradient(value), capacity + 1)
  edge = 0.5 * jax.nn.one_hot(order[-2:], value.shape[0]) @ value
  edge = edge.sum()
  outside = jax.nn.sigmoid((edge - value) / SOFTNESS)
  outside = jnp.where(live.sum() > capacity, outside, 0.0)
  return retained * decay**outside
