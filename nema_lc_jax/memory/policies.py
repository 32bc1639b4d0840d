"""Policies without parameters: none, fifo, lru, lfu, random, and oracle.

All but `none` and `oracle` write every valid candidate that the budget allows,
at full strength, and differ only in the live slot that a write replaces.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import (
  FRESH_USAGE,
  RETAIN,
  STRENGTH_FLOOR,
  Array,
  Chunk,
  MemoryState,
  Policy,
  Scores,
  Updates,
  decayed_usage,
)


def retain_all(
  state: MemoryState, chunk: Chunk, retention_priority: Array
) -> Scores:
  """Scores that write every candidate and retain every slot at its strength."""
  K = chunk.candidates.valid.shape[0]
  actions = jax.nn.one_hot(jnp.full(state.strength.shape, RETAIN), 3)
  return Scores(
    action_probs=actions,
    write_priority=jnp.full((K,), jnp.inf),
    write_strength=jnp.ones((K,)),
    retention_priority=retention_priority,
  )


def _init(key: Array, *, num_slots: int, num_candidates: int) -> tuple[()]:
  del key, num_slots, num_candidates
  return ()


def _heuristic(
  priority: Callable[[Array, MemoryState], Array],
  update_usage: Callable[..., Array] = decayed_usage,
) -> Policy:
  def score(params, key, state, chunk, *, train):
    del params, train
    return retain_all(state, chunk, priority(key, state))

  return Policy(_init, score, update_usage)


def none(*, width: int) -> Policy:
  """Writes nothing, so that the memory stays empty."""
  del width

  def score(params, key, state, chunk, *, train):
    del params, key, train
    scores = retain_all(state, chunk, jnp.zeros_like(state.strength))
    return scores.replace(
      write_priority=jnp.full_like(scores.write_priority, -jnp.inf)
    )

  return Policy(_init, score)


def oldest_first(state: MemoryState) -> Array:
  """The retention priority [M] that replaces the oldest slot first."""
  return -state.age.astype(jnp.float32)


def fifo(*, width: int) -> Policy:
  """First in, first out: replaces the oldest slot."""
  del width
  return _heuristic(lambda key, state: oldest_first(state))


def least_recent_access(
  state: MemoryState, attention: Array, valid: Array
) -> Array:
  """Usage [M] as recency: an access resets it, a step without one takes off 1.

  A slot is accessed if it is the most read slot of some valid token. Reading
  comes before writing, so a slot written in a step counts as more recent than
  one read in it.
  """
  M = state.strength.shape[0]
  attention = jnp.where(state.alive, attention, -1.0)
  top = jax.nn.one_hot(jnp.argmax(attention, axis=-1), M, dtype=bool)
  accessed = (top & valid[:, None]).any(0) & state.alive
  return jnp.where(accessed, FRESH_USAGE - 0.5, state.usage - 1.0)


def lru(*, width: int) -> Policy:
  """Least recently used: replaces the slot whose last access is oldest."""
  del width
  return _heuristic(lambda key, state: state.usage, least_recent_access)


def lfu(*, width: int) -> Policy:
  """Least frequently used: replaces the slot with the lowest decayed usage."""
  del width
  return _heuristic(lambda key, state: state.usage)


def random(*, width: int) -> Policy:
  """Replaces a slot drawn at random."""
  del width
  return _heuristic(
    lambda key, state: jax.random.uniform(key, state.strength.shape)
  )


def oracle(*, width: int) -> Policy:
  """Uses the ground truth: stores the facts and frees invalid ones.

  An upper bound for policies that see only the past. A fact updates the slot
  whose newest chunk is about the same thing. The strength of an invalid fact
  drops to the floor, so that the next write takes its slot, or a forget frees
  it if the budget allows one; no other slot is replaced.

  Raises:
    ValueError: on scoring a chunk without `Chunk.ground_truth`.
  """
  del width

  def score(params, key, state, chunk, *, train):
    del params, key, train
    if chunk.ground_truth is None:
      raise ValueError("policy 'oracle' needs a task with ground truth.")
    truth, age = chunk.ground_truth, state.age + 1
    invalid = age == truth.invalidates
    retained = jnp.where(invalid, STRENGTH_FLOOR, state.strength)
    scores = retain_all(state, chunk, retention_priority=retained)
    rank = jnp.where(truth.fact > 0, 0.5, -jnp.inf)
    rank = jnp.broadcast_to(rank, scores.write_priority.shape)
    about = state.alive & (age == truth.updates) & (truth.fact > 0)
    content = chunk.candidates.content.astype(jnp.float32)
    M, (K, D) = about.shape[0], content.shape
    updates = Updates(
      slot=jnp.full(K, jnp.where(about.any(), jnp.argmax(about), -1)),
      prob=jnp.broadcast_to(about[:, None].astype(jnp.float32), (M, K)),
      content=jnp.broadcast_to(content, (M, K, D)),
      strength=jnp.ones((M, K)),
      stored=scores.write_strength,
    )
    return scores.replace(
      write_priority=rank, retained_strength=retained, updates=updates
    )

  return Policy(_init, score)
