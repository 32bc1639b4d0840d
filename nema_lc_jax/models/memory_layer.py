"""The memory scan of one text, from `MemoryInterface` to `Decoder`."""

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

# Fields of an example from which `ground_truth_of` is made; only the first has
# to be there.
TRUTH_FIELDS = ("ground_truth", "invalidates", "updates")


class Mode(NamedTuple):
  """The static settings of one call of a model."""

  train: bool
  num_slots: int
  budget: int


class SlotPolicies(NamedTuple):
  """A policy, and its variant for training with too few slots."""

  base: Policy
  # capacity -> the policy for training where slots are scarce, in which
  # strengths decay beyond that many; None if the policy has no such option.
  scarce: Callable[[int], Policy] | None
  overprovisioned_slots: int

  def for_training(self, chunks: int, num_slots: int) -> tuple[Policy, int]:
    """The policy and the number of slots to train with on `chunks` chunks."""
    # With a slot for each chunk nothing needs to be evicted.
    if num_slots >= chunks or self.scarce is None:
      return self.base, num_slots
    return self.scarce(num_slots), num_slots + self.overprovisioned_slots


def slot_policies(c: ModelConfig) -> SlotPolicies:
  """The policies of a model.

  The controller's options are those of all learned policies; each policy gets
  those that it has.

  Raises:
    ValueError: on an option that no learned policy has.
  """
  for option in set(c.controller) - set(policy_options("learned")):
    raise ValueError(
      f"config.memory.controller has no field {option!r}; known:"
      f" {', '.join(policy_options('learned'))}."
    )
  known = policy_options(c.policy)
  options = {k: v for k, v in c.controller.items() if k in known}
  make = functools.partial(make_policy, c.policy, width=c.width, **options)
  scarce = None
  if "capacity" in known:
    scarce = lambda capacity: make(capacity=capacity)
  return SlotPolicies(make(), scarce, c.overprovisioned_slots)


def ground_truth_of(chunked: Mapping[str, Array]) -> GroundTruth:
  """The ground truth of each chunk [N], from that of its tokens [N, T]."""
  N, T = chunked["ground_truth"].shape

  def chunks_ago(name: str) -> Array:
    if name not in chunked:
      return jnp.zeros(N, jnp.int32)
    position = chunked[name].max(1)
    return jnp.where(position >= 0, jnp.arange(N) - position // T, 0)

  return GroundTruth(
    fact=chunked["ground_truth"].max(1).astype(jnp.int32),
    invalidates=chunks_ago("invalidates"),
    updates=chunks_ago("updates"),
  )


def chunks_of(
  query: Array,
  content: Array,
  age_bias: Array,
  valid: Array,
  truth: GroundTruth | None,
) -> Chunk:
  """The memory's inputs, leaves [N, ...], from `MemoryInterface`'s outputs.

  Args:
    query: [N, T, D].
    content: of the candidates, [N, K, D].
    age_bias: [N].
    valid: [N, T].
    truth: leaves [N].
  """
  K = content.shape[1]
  active = jnp.repeat(valid.any(1)[:, None], K, axis=1)
  return Chunk(
    query=query,
    candidates=Candidates(content=content, valid=active),
    valid=valid,
    age_bias=age_bias,
    ground_truth=truth,
  )


class MemoryResult(NamedTuple):
  """The result of the memory scan of one text."""

  state: MemoryState  # after the last chunk
  steps: StepOutput  # leaves [N, ...]
  reading: Reading | None  # of the last chunk; None with a single hop


def run_memory(
  c: ModelConfig,
  policies: SlotPolicies,
  params: Params,
  key: Array,
  chunks: Chunk,
  mode: Mode,
  *,
  removed: Array | None,
  initial: tuple[MemoryState, Array] | None,
) -> MemoryResult:
  """Scans the memory over the chunks of one text.

  Args:
    c: of the model.
    policies: of the model.
    params: of the policy.
    key: of the text.
    chunks: leaves [N, ...].
    mode: static.
    removed: [M] bool, slots hidden from the last chunk's read; None: none.
    initial: the memory to start from, of M slots or more, and how many chunks
      it has read; None: an empty one.
  """
  valid, N = chunks.valid, chunks.valid.shape[0]
  policy, M = policies.base, mode.num_slots
  if mode.train:
    policy, M = policies.for_training(N, M)
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
  state, start = initial or (init_state(num_slots=M, width=c.width), 0)
  state = jax.tree.map(lambda x: x[:M], state)
  if mode.train:
    state = state.replace(claim=state.strength)
  if removed is None and c.num_hops == 1:
    return MemoryResult(*scan(state, chunks, start=start), None)
  # The last chunk is scanned on its own, since the memory that it reads is
  # needed below. Masking it in the first scan leaves that memory unchanged.
  last = last_chunk(valid)
  others = valid & (jnp.arange(N) != last)[:, None]
  before, steps = scan(state, chunks.replace(valid=others), start=start)
  end = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, last, 1), chunks)
  state, end = scan(before, end, start=start + last)
  steps = jax.tree.map(lambda a, b: a.at[last].set(b[0]), steps, end)
  # The steps of padding after it start from the memory that it left.
  padding = (jnp.arange(N) > last)[:, None]
  steps = steps.replace(
    strength=jnp.where(padding, state.strength, steps.strength),
    age=jnp.where(padding, state.age, steps.age),
  )
  if removed is not None:
    before, state = _hide(before, removed), _hide(state, removed)
  age_bias = chunks.age_bias[0]
  weights = read_weights(before, chunks.query[last], age_bias=age_bias)
  weights = jnp.where(valid[last][:, None], weights, 0.0)
  if removed is not None:
    read = steps.read.at[last].set(weights @ before.content)
    steps = steps.replace(read=read)
  reading = Reading(before, age_bias, weights) if c.num_hops > 1 else None
  return MemoryResult(state, steps, reading)


def last_chunk(valid: Array) -> Array:
  """The index of the last chunk with a valid token, from `valid` [N, T]."""
  return jnp.max(jnp.where(valid.any(1), jnp.arange(valid.shape[0]), 0))


def _hide(state: MemoryState, removed: Array) -> MemoryState:
  return state.replace(strength=jnp.where(removed, 0.0, state.strength))
