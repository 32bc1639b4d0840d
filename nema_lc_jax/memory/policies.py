"""Policies that learn nothing: none, fifo, lru, lfu, random, and oracle.

But for `none` and `oracle` they write every valid candidate that the budget
allows, at full strength, and differ only in which live slot a write replaces.
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
  decayed_usage,
)


def retain_all(state: MemoryState, chunk: Chunk, keep: Array) -> Scores:
  """Scores that write every candidate and change no slot by themselves."""
  K = chunk.candidates.valid.shape[0]
  actions = jax.nn.one_hot(jnp.full(state.alive.shape, RETAIN), 3)
  return Scores(
    actions=actions,
    proposal=state.content,
    write=jnp.full((K,), jnp.inf),
    strength=jnp.ones((K,)),
    keep=keep,
  )


def _init(key: Array, *, num_slots: int, num_candidates: int) -> tuple[()]:
  del key, num_slots, num_candidates
  return ()


def _heuristic(
  keep: Callable[[Array, MemoryState], Array],
  observe: Callable[..., Array] = decayed_usage,
) -> Policy:
  def score(params, key, state, chunk, *, train):
    del params, train
    return retain_all(state, chunk, keep(key, state))

  return Policy(_init, score, observe)


def none(*, width: int) -> Policy:
  """Writes nothing: the model without its memory."""
  del width

  def score(params, key, state, chunk, *, train):
    del params, key, train
    scores = retain_all(state, chunk, jnp.zeros_like(state.alive))
    return scores.replace(write=jnp.full_like(scores.write, -jnp.inf))

  return Policy(_init, score)


def oldest_first(state: MemoryState) -> Array:
  """A `keep` that makes the oldest slot the first to be replaced [M]."""
  return -state.age.astype(jnp.float32)


def fifo(*, width: int) -> Policy:
  """First in, first out: replaces the oldest slot."""
  del width
  return _heuristic(lambda key, state: oldest_first(state))


def least_recent_access(
  state: MemoryState, attention: Array, valid: Array
) -> Array:
  """Usage [M] as recency: higher is more recent, a step without access is -1.

  An access is being the most read slot of some valid token. Reading comes
  before writing, so a slot written in a step is more recent than one read in
  it.
  """
  M = state.alive.shape[0]
  attention = jnp.where(state.alive > 0, attention, -1.0)
  top = jax.nn.one_hot(jnp.argmax(attention, axis=-1), M, dtype=bool)
  accessed = (top & valid[:, None]).any(0) & (state.alive > 0)
  return jnp.where(accessed, FRESH_USAGE - 0.5, state.usage - 1.0)


def lru(*, width: int) -> Policy:
  """Least recently used: replaces the slot accessed longest ago."""
  del width
  return _heuristic(lambda key, state: state.usage, least_recent_access)


def lfu(*, width: int) -> Policy:
  """Least frequently used: replaces the slot of the lowest decayed usage."""
  del width
  return _heuristic(lambda key, state: state.usage)


def random(*, width: int) -> Policy:
  """Replaces a slot drawn at random."""
  del width
  return _heuristic(
    lambda key, state: jax.random.uniform(key, state.alive.shape)
  )


def oracle(*, width: int) -> Policy:
  """Knows the truth: writes the facts worth keeping, frees what became void.

  Only for tasks that carry `Chunk.truth`, as a bound for what policies can do
  that see the past alone. What is void falls to the floor of strength, so that
  the next write takes its place, or a forget where the budget has one left;
  nothing else is ever replaced.

  Raises:
    ValueError: on scoring a chunk without truth.
  """
  del width

  def score(params, key, state, chunk, *, train):
    del params, key, train
    if chunk.truth is None:
      raise ValueError("policy 'oracle' needs a task that knows the truth.")
    void = state.age + 1 == chunk.truth.voids
    left = jnp.where(void, STRENGTH_FLOOR, state.alive)
    scores = retain_all(state, chunk, keep=left)
    rank = jnp.where(chunk.truth.fact > 0, 0.5, -jnp.inf)
    rank = jnp.broadcast_to(rank, scores.write.shape)
    return scores.replace(write=rank, retained=left)

  return Policy(_init, score)
