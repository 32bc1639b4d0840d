"""One memory step, and its scan over the chunks of a sequence."""

import functools
from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.allocator import allocate, commit
from nema_lc_jax.memory.state import read_weights
from nema_lc_jax.memory.types import (
  Array,
  Chunk,
  MemoryState,
  Params,
  Policy,
  StepOutput,
  token_mean,
)

T = TypeVar("T")


def memory_step(
  params: Params,
  key: Array,
  state: MemoryState,
  chunk: Chunk,
  *,
  policy: Policy,
  budget: int,
  train: bool = False,
) -> tuple[MemoryState, StepOutput]:
  """Runs read -> update_usage -> score -> allocate -> commit on one chunk.

  The read uses the memory that earlier chunks left, without this chunk's
  writes. A chunk without a valid token leaves the state as it is.

  Args:
    params: of the policy, from `policy.init`.
    key: for random policies and exploration.
    state: the memory before this chunk.
    chunk: queries [T, D], candidates [K, D] and token mask [T].
    policy: scores the operations (static).
    budget: hard limit on operations in this step (static).
    train: whether the policy explores (static).

  Returns:
    The memory after this chunk, and the result of the step.
  """
  chex.assert_equal(chunk.query.shape[-1], state.content.shape[-1])
  chex.assert_equal_shape_prefix([chunk.query, chunk.valid], 1)
  attention = read_weights(state, chunk.query, age_bias=chunk.age_bias)
  attention = jnp.where(chunk.valid[:, None], attention, 0.0)
  live = state.alive
  usage = policy.update_usage(state, attention, chunk.valid)
  current = state.replace(usage=jnp.where(live, usage, 0.0))

  scores = policy.score(params, key, current, chunk, train=train)
  allocation = allocate(scores, current, chunk.candidates, budget=budget)
  new_state = commit(current, chunk.candidates, scores, allocation)

  active = chunk.valid.any()
  new_state = jax.tree.map(
    lambda new, old: jnp.where(active, new, old), new_state, state
  )
  allocation = allocation.replace(
    update_source=jnp.where(active, allocation.update_source, -1),
    forget=allocation.forget & active,
    source=jnp.where(active, allocation.source, -1),
    evict=allocation.evict & active,
  )
  write, updates = allocation.write, scores.updates
  out = StepOutput(
    read=attention @ state.content,
    writes=write.sum(dtype=jnp.int32),
    updates=allocation.update.sum(dtype=jnp.int32),
    forgets=allocation.forget.sum(dtype=jnp.int32),
    evictions=(allocation.evict & write).sum(dtype=jnp.int32),
    active=active,
    attention=token_mean(attention, chunk.valid),
    action_probs=scores.action_probs,
    write_strength=scores.write_strength,
    stored=scores.write_strength if updates is None else updates.stored,
    candidates=chunk.candidates.valid & active,
    kept=live & (allocation.source < 0) & ~allocation.forget,
    allocation=allocation,
    age=state.age,
    usage=current.usage,
    strength=state.strength,
    ground_truth=chunk.ground_truth,
  )
  return new_state, out


def truncate_gradient(
  state: T, index: Array | int, bptt_chunks: int | None
) -> T:
  """The state, without its gradient before each `bptt_chunks`-th chunk.

  Args:
    state: any pytree that is carried from chunk to chunk.
    index: of the chunk that follows.
    bptt_chunks: see `scan_chunks`; None: the state as it is.
  """
  if bptt_chunks is None:
    return state
  cut = index % bptt_chunks == 0
  return jax.tree.map(
    lambda x: jnp.where(cut, jax.lax.stop_gradient(x), x), state
  )


def scan_chunks(
  params: Params,
  key: Array,
  state: MemoryState,
  chunks: Chunk,
  *,
  policy: Policy,
  budget: int,
  train: bool = False,
  start: int | Array = 0,
  remat: bool = False,
  bptt_chunks: int | None = None,
) -> tuple[MemoryState, StepOutput]:
  """Runs `memory_step` over chunks stacked on a leading axis N.

  Step n uses the key fold_in(key, start + n). A stream may therefore be split
  anywhere, if `start` is the number of chunks before the piece.

  Args:
    params: of the policy.
    key: one key for the whole stream.
    state: the memory before the first chunk.
    chunks: leaves [N, ...].
    policy: see `memory_step`.
    budget: see `memory_step`.
    train: see `memory_step`.
    start: index of the first chunk in its stream.
    remat: recompute each step in the backward pass instead of storing it.
    bptt_chunks: truncated BPTT: the gradient through the memory is stopped
      after every `bptt_chunks` chunks; None: never.

  Returns:
    The memory after the last chunk, and step outputs stacked [N, ...].

  Raises:
    ValueError: if bptt_chunks is below 1.
  """
  if bptt_chunks is not None and bptt_chunks < 1:
    raise ValueError(
      f"bptt_chunks must be at least 1 chunk, got {bptt_chunks}."
    )
  step = functools.partial(
    memory_step, policy=policy, budget=budget, train=train
  )

  def body(state, inputs):
    index, key, chunk = inputs
    state = truncate_gradient(state, index, bptt_chunks)
    return step(params, key, state, chunk)

  if remat:
    body = jax.checkpoint(body, prevent_cse=False)
  indices = start + jnp.arange(chunks.valid.shape[0])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
  return jax.lax.scan(body, state, (indices, keys, chunks))
