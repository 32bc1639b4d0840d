"""The pytrees of the memory core, and the bundle of functions of a policy.

Axis letters, used in the whole package:
  B batch · N chunks · T tokens per chunk · D width · M slots ·
  K write candidates per chunk · H heads · C classes · V vocabulary

Everything here is unbatched; `jax.vmap` adds B, `jax.lax.scan` adds N.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp
from flax import struct

Array = chex.Array
Params = Any  # a pytree of arrays; () for a policy that learns nothing

# Strength below which decay does not go: only a forget frees a slot.
STRENGTH_FLOOR = 1e-3
# Reads treat older slots as of this age. Otherwise an item that is kept for
# long would vanish from reads, however strong it is.
MAX_READ_AGE = 15
# Usage of a slot in the step that wrote it.
FRESH_USAGE = 1.0
# Share of the usage that is left after one step.
USAGE_DECAY = 0.9
# Columns of `Scores.action_probs`.
RETAIN, UPDATE, FORGET = 0, 1, 2


@struct.dataclass
class MemoryState:
  """The memory between two steps. Recurrent state is always float32."""

  # What the slot holds; zeros when the slot is free.
  content: Array  # [M, D] f32
  # Steps since the slot was written, 0 in the step that wrote it.
  age: Array  # [M] i32
  # How much the slot was read of late; what it counts is the policy's choice.
  usage: Array  # [M] f32
  # How much the slot counts in reads and for its place; exactly 0: it is free.
  strength: Array  # [M] f32 in [0, 1]

  @property
  def alive(self) -> Array:
    """Which slots hold an item [M] bool: those of a strength above 0.

    Derived, so that a slot cannot be alive and of no strength.
    """
    return self.strength > 0


@struct.dataclass
class Candidates:
  """What this chunk offers to be written."""

  # One vector per candidate.
  content: Array  # [K, D]
  # Whether the candidate exists at all (padding does not).
  valid: Array  # [K] bool


@struct.dataclass
class GroundTruth:
  """What a synthetic task knows of a chunk: for oracles and for metrics."""

  # 0 noise, 1 a fact that an ideal memory keeps, 2 one that will be asked for.
  fact: Array  # [] i32
  # How many chunks ago the fact came that this one makes invalid; 0: none.
  invalidates: Array  # [] i32


@struct.dataclass
class Chunk:
  """What one step of the memory sees of the sequence."""

  # One read query per token.
  query: Array  # [T, D]
  # What may be written after the read.
  candidates: Candidates
  # False for padding; a chunk with no valid token leaves the state as it is.
  valid: Array  # [T] bool
  # How much reads prefer young slots: b in -b * log(1 + min(age,
  # MAX_READ_AGE)); None means 0.
  age_bias: Array | None = None  # [] f32
  # Synthetic tasks only; no policy but an oracle may look at it.
  ground_truth: GroundTruth | None = None


@struct.dataclass
class Scores:
  """What a policy thinks of every slot and every candidate."""

  # Softmax over retain, update, forget.
  action_probs: Array  # [M, 3] f32
  # What an update would move the slot's content towards.
  proposal: Array  # [M, D] f32
  # Ranking score of each candidate; +inf always wins, -inf never executes.
  write_priority: Array  # [K] f32
  # Strength in (0, 1] that the candidate gets if it is written.
  write_strength: Array  # [K] f32
  # What a candidate's write priority must exceed to replace this slot.
  retention_priority: Array  # [M] f32
  # Strength a live slot has after this step if it is retained (the floor is
  # applied on commit); None: its strength stays as it is.
  retained_strength: Array | None = None  # [M] f32


@struct.dataclass
class Allocation:
  """What is done in this step: integers and booleans only."""

  # Slots whose content moves towards the proposal.
  update: Array  # [M] bool
  # Slots freed by decision (they may be written again in the same step).
  forget: Array  # [M] bool
  # Index of the candidate written into the slot, -1 for none.
  source: Array  # [M] i32
  # Live slots that a write replaced.
  evict: Array  # [M] bool


@struct.dataclass
class StepOutput:
  """What one step did: for the layers above, the losses and the plots."""

  # What each token read, exactly 0 from an empty memory.
  read: Array  # [T, D] f32
  # Executed operations; writes + updates + forgets <= budget.
  writes: Array  # [] i32
  updates: Array  # [] i32
  forgets: Array  # [] i32
  # Writes that replaced a live slot (counted in `writes` too).
  evictions: Array  # [] i32
  # Whether the step had any valid token. Where it had none, reads, counts,
  # attention, candidates and the allocation are 0; the rest means nothing.
  active: Array  # [] bool
  # Read mass of each slot, averaged over valid tokens.
  attention: Array  # [M] f32
  # The policy's action distribution and write strengths in this step.
  action_probs: Array  # [M, 3] f32
  write_strength: Array  # [K] f32
  # Which candidates were valid.
  candidates: Array  # [K] bool
  # Slots that hold the same item before and after the step.
  kept: Array  # [M] bool
  # What was executed on each slot.
  allocation: Allocation
  # Age, usage and strength of the slots before the step, the usage with this
  # step's read.
  age: Array  # [M] i32
  usage: Array  # [M] f32
  strength: Array  # [M] f32
  # What the task knows of the chunk, if it does.
  ground_truth: GroundTruth | None = None

  @property
  def alive(self) -> Array:
    """Slots that held an item before the step [M] bool."""
    return self.strength > 0


def token_mean(values: Array, valid: Array) -> Array:
  """Mean [...] of `values` [T, ...] f32 over the valid tokens; 0 if none."""
  shown = valid.reshape(-1, *[1] * (values.ndim - 1))
  total = jnp.where(shown, values, 0).astype(jnp.float32).sum(0)
  return total / jnp.maximum(valid.sum(), 1)


def decayed_usage(state: MemoryState, attention: Array, valid: Array) -> Array:
  """Usage [M] as decayed read mass: decay * usage + this step's mean mass.

  Args:
    state: the memory that was read.
    attention: [T, M] f32, read mass of each slot for each token.
    valid: [T] bool; padded tokens do not count.
  """
  return USAGE_DECAY * state.usage + token_mean(attention, valid)


class Policy(NamedTuple):
  """A memory policy: three functions, and nothing else.

  init(key, *, num_slots, num_candidates) -> params
    Parameters of the policy, `()` if it learns nothing. Their shapes must not
    depend on num_slots where the number of slots is to change in training.
  score(params, key, state, chunk, *, train) -> Scores
    Decides nothing: it only says how much each operation is worth.
  update_usage(state, attention, valid) -> usage [M]
    The new usage, from the read mass `attention` [T, M] of this step's read
    and the token mask `valid` [T].
  """

  init: Callable[..., Params]
  score: Callable[..., Scores]
  update_usage: Callable[..., Array] = decayed_usage
