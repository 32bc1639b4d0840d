"""The memory scan of one text: from `MemoryInterface` to `Decoder`."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nema_lc_jax.memory import (
  Candidates,
  Chunk,
  GroundTruth,
  MemoryState,
  Policy,
  StepOutput,
  init_state,
  read_weights,
  scan_chunks,
)
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.encoder import Reading
from nema_lc_jax.models.policies import make_policy, policy_options


class Mode(NamedTuple):
  """What one call of a model asks for (static)."""

  train: bool
  num_slots: int
  budget: int


class SlotPolicies(NamedTuple):
  """A policy, and what stands for it where training has more slots."""

  usual: Policy
  # capacity -> the policy for training with spare slots, where what is beyond
  # that capacity fades; None if it knows no such thing.
  crowded: Callable[[int], Policy] | None
  overprovisioned_slots: int

  def in_training(self, chunks: int, num_slots: int) -> tuple[Policy, int]:
    """The policy and its number of slots for texts of so many chunks."""
    # Where each chunk may have a slot of its own, all fits.
    if num_slots >= chunks or self.crowded is None:
      return self.usual, num_slots
    return self.crowded(num_slots), num_slots + self.overprovisioned_slots


def slot_policies(c: ModelConfig) -> SlotPolicies:
  """The policies of a model.

  Of its controller's options, which are those of all learned policies, its own
  are those that its policy knows.

  Raises:
    ValueError: on an option that no policy knows.
  """
  for option in set(c.controller) - set(policy_options("learned")):
    raise ValueError(
      f"config.memory.controller has no field {option!r}; known:"
      f" {', '.join(policy_options('learned'))}."
    )
  known = policy_options(c.policy)
  options = {k: v for k, v in c.controller.items() if k in known}
  make = functools.partial(make_policy, c.policy, width=c.width, **options)
  fades = c.overprovisioned_slots > 0 and "capacity" in known
  crowded = (lambda capacity: make(capacity=capacity)) if fades else None
  return SlotPolicies(make(), crowded, c.overprovisioned_slots)


def ground_truth_of(chunked: Mapping[str, Array]) -> GroundTruth:
  """What the task knows of each chunk [N], from its tokens' [N, T]."""
  fact = chunked["ground_truth"].max(1).astype(jnp.int32)
  N, T = chunked["ground_truth"].shape
  if "invalidates" not in chunked:
    return GroundTruth(fact=fact, invalidates=jnp.zeros(N, jnp.int32))
  position = chunked["invalidates"].max(1)
  ago = jnp.arange(N) - position // T
  return GroundTruth(fact=fact, invalidates=jnp.where(position >= 0, ago, 0))


def chunks_of(
  query: Array,
  content: Array,
  age_bias: Array,
  valid: Array,
  truth: GroundTruth | None,
) -> Chunk:
  """The chunks that the memory reads, made by a `MemoryInterface`: [N, ...].

  Args:
    query: [N, T, D].
    content: [N, K, D], of the candidates.
    age_bias: [N].
    valid: [N, T].
    truth: leaves [N].
  """
  K = content.shape[1]
  offered = jnp.repeat(valid.any(1)[:, None], K, axis=1)
  return Chunk(
    query=query,
    candidates=Candidates(content=content, valid=offered),
    valid=valid,
    age_bias=age_bias,
    ground_truth=truth,
  )


class Remembered(NamedTuple):
  """What the memory of one text did."""

  state: MemoryState  # after the last chunk
  steps: StepOutput  # leaves [N, ...]
  reading: Reading | None  # of the last chunk; None unless it reads on


def remember(
  c: ModelConfig,
  policies: SlotPolicies,
  params: Params,
  key: Array,
  chunks: Chunk,
  mode: Mode,
  *,
  removed: Array | None,
  before: tuple[MemoryState, Array] | None,
) -> Remembered:
  """The memory scan of one text.

  Args:
    c: the model's.
    policies: the model's.
    params: of the policy.
    key: of the text.
    chunks: leaves [N, ...].
    mode: what is asked for.
    removed: [M] bool, slots that the last chunk's read is to do without.
    before: the memory to start from, and how many chunks it has read.
  """
  valid, N = chunks.valid, chunks.valid.shape[0]
  policy, M = policies.usual, mode.num_slots
  if mode.train:
    policy, M = policies.in_training(N, M)
  scan = functools.partial(
    scan_chunks,
    params,
    key,
    policy=policy,
    budget=mode.budget,
    train=mode.train,
    remat=c.remat_steps,
    bptt_chunks=c.bptt_chunks,
  )
  state, start = before or (init_state(num_slots=M, width=c.width), 0)
  if removed is None and c.num_hops == 1:
    return Remembered(*scan(state, chunks, start=start), None)
  # The last chunk apart, since what it reads is needed itself. A chunk without
  # a valid token leaves the memory as the one before it did.
  last = last_chunk(valid)
  others = valid & (jnp.arange(N) != last)[:, None]
  left, steps = scan(state, chunks.replace(valid=others), start=start)
  end = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, last, 1), chunks)
  state, end = scan(left, end, start=start + last)
  steps = jax.tree.map(lambda a, b: a.at[last].set(b[0]), steps, end)
  # Padding behind it has found what it left.
  behind = (jnp.arange(N) > last)[:, None]
  steps = steps.replace(
    strength=jnp.where(behind, state.strength, steps.strength),
    age=jnp.where(behind, state.age, steps.age),
  )
  if removed is not None:
    left, state = _without(left, removed), _without(state, removed)
  age_bias = chunks.age_bias[0]
  weights = read_weights(left, chunks.query[last], age_bias=age_bias)
  weights = jnp.where(valid[last][:, None], weights, 0.0)
  if removed is not None:
    read = steps.read.at[last].set(weights @ left.content)
    steps = steps.replace(read=read)
  reading = Reading(left, age_bias, weights) if c.num_hops > 1 else None
  return Remembered(state, steps, reading)


def last_chunk(valid: Array) -> Array:
  """Number of the last chunk with a valid token, of `valid` [N, T]."""
  return jnp.max(jnp.where(valid.any(1), jnp.arange(valid.shape[0]), 0))


def _without(state: MemoryState, removed: Array) -> MemoryState:
  return state.replace(strength=jnp.where(removed, 0.0, state.strength))
