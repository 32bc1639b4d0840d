"""The pytrees of the memory core, and `Policy`, the functions of a policy.

Axis letters, used in the whole package:
  B batch · N chunks · T tokens per chunk · D width · M slots ·
  K write candidates per chunk · H heads · C classes · V vocabulary

All types are for one text and one step: `jax.vmap` adds B, `jax.lax.scan` N.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct

Array = chex.Array
Params = Any  # a pytree of arrays; () for a policy without parameters

# Decay stops at this strength: only a forget frees a slot.
STRENGTH_FLOOR = 1e-3
# Reads treat older slots as having this age. Otherwise the age bias would hide
# an old item, however strong it is.
MAX_READ_AGE = 15
# Usage of a slot after a step that wrote or updated it.
FRESH_USAGE = 1.0
# Factor of the usage per step.
USAGE_DECAY = 0.9
# Columns of `Scores.action_probs`.
RETAIN, UPDATE, FORGET = 0, 1, 2


@struct.dataclass
class MemoryState:
  """The memory between two steps; its floats are always float32."""

  # Vector of the item; zeros when the slot is free.
  content: Array  # [M, D] f32
  # Steps since the slot was written or updated, 0 in the step that did.
  age: Array  # [M] i32
  # Recent use of the slot, as `Policy.update_usage` defines it.
  usage: Array  # [M] f32
  # Weight of the item in reads and against eviction; exactly 0 when free.
  strength: Array  # [M] f32 in [0, 1]
  # In training: what the strength would be without soft eviction. Through it an
  # item's place among the others has a gradient that does not grow with the
  # number of steps. Otherwise None.
  claim: Array | None = None  # [M] f32 in [0, 1]

  @property
  def alive(self) -> Array:
    """The slots that hold an item [M] bool: their strength is above 0.

    It is derived, so that it cannot disagree with the strength.
    """
    return self.strength > 0


@struct.dataclass
class Candidates:
  """The vectors of one chunk that may be written."""

  # One vector per candidate.
  content: Array  # [K, D]
  # False for a candidate that is padding.
  valid: Array  # [K] bool


@struct.dataclass
class GroundTruth:
  """Labels of one chunk in a synthetic task, for oracles and for metrics."""

  # 0: noise. 1: a fact that an ideal memory keeps. 2: a fact that is asked for.
  fact: Array  # [] i32
  # This chunk makes the fact of that many chunks ago invalid; 0: none.
  invalidates: Array  # [] i32
  # The newest fact about the same thing is that many chunks old; 0: none.
  updates: Array  # [] i32


@struct.dataclass
class Chunk:
  """The input of one memory step."""

  # One read query per token.
  query: Array  # [T, D]
  # The vectors that may be written after the read.
  candidates: Candidates
  # False for padding; a chunk with no valid token leaves the state as it is.
  valid: Array  # [T] bool
  # Recency bias b of reads, which add -b * log(1 + min(age, MAX_READ_AGE)) to
  # the logits; None means 0.
  age_bias: Array | None = None  # [] f32
  # Of synthetic tasks; only an oracle policy may use it.
  ground_truth: GroundTruth | None = None


@struct.dataclass
class Updates:
  """The slots that candidates are about, for a policy that updates slots."""

  # The live slot that each candidate would update; -1: it would be written.
  slot: Array  # [K] i32
  # Probability that a candidate updates a slot, and how far it moves it.
  prob: Array  # [M, K] f32 in [0, 1]
  # The content of a slot after a full update.
  content: Array  # [M, K, D] f32
  # The strength that a full update raises a weaker slot to.
  strength: Array  # [M, K] f32 in [0, 1]
  # Probability that a candidate is stored, in a new slot or in a known one.
  stored: Array  # [K] f32 in (0, 1]
  # For training. "soft": each candidate moves all slots by `prob`, executed or
  # not, and one that updates a slot is written as well, with its write
  # strength. "straight_through": only the gradient of that. "none": neither.
  relaxation: str = struct.field(pytree_node=False, default="none")


@struct.dataclass
class Scores:
  """A policy's scores of every slot and every candidate."""

  # Probabilities of retain, update and forget.
  action_probs: Array  # [M, 3] f32
  # Rank of each candidate; +inf always wins, -inf is never executed.
  write_priority: Array  # [K] f32
  # Strength in (0, 1] of the candidate once it is written.
  write_strength: Array  # [K] f32
  # A write replaces this slot only if its write priority exceeds this.
  retention_priority: Array  # [M] f32
  # Strength of a live slot after this step if it is retained (`commit` applies
  # the floor); None: strengths stay as they are.
  retained_strength: Array | None = None  # [M] f32
  # The same without soft eviction; None: as the strength.
  retained_claim: Array | None = None  # [M] f32
  # Which candidates update slots; None: all of them would be written.
  updates: Updates | None = None


@struct.dataclass
class Allocation:
  """The operations of one step, as integers and booleans only."""

  # Index of the candidate that updates the slot; -1: none.
  update_source: Array  # [M] i32
  # Slots that the policy frees; the same step may write them again.
  forget: Array  # [M] bool
  # Index of the candidate written into the slot; -1: none.
  source: Array  # [M] i32
  # Live slots that a write replaces.
  evict: Array  # [M] bool

  @property
  def update(self) -> Array:
    """The slots that a candidate updates [M] bool."""
    return self.update_source >= 0

  @property
  def write(self) -> Array:
    """The slots written as an operation [M] bool, not as a soft update."""
    copied = self.source[..., None] == self.update_source[..., None, :]
    return (self.source >= 0) & ~copied.any(-1)


@struct.dataclass
class StepOutput:
  """The result of one step, for the model, the losses and the plots."""

  # The vector that each token read; exactly 0 from an empty memory.
  read: Array  # [T, D] f32
  # Executed operations; writes + updates + forgets <= budget.
  writes: Array  # [] i32
  updates: Array  # [] i32
  forgets: Array  # [] i32
  # Writes that replaced a live slot (counted in `writes` too).
  evictions: Array  # [] i32
  # Whether the chunk had a valid token. Without one, nothing is read or done
  # (source is -1), and the policy's scores are meaningless.
  active: Array  # [] bool
  # Read weight of each slot, averaged over the valid tokens.
  attention: Array  # [M] f32
  # From the policy's `Scores`.
  action_probs: Array  # [M, 3] f32
  write_strength: Array  # [K] f32
  # Probability that a candidate is stored: written, or part of an update.
  stored: Array  # [K] f32
  # The valid candidates.
  candidates: Array  # [K] bool
  # Slots that hold the same item before and after the step, updated or not.
  kept: Array  # [M] bool
  # The executed operation of each slot.
  allocation: Allocation
  # Slots before the step's operations; the usage includes this step's read.
  age: Array  # [M] i32
  usage: Array  # [M] f32
  strength: Array  # [M] f32
  # Of the chunk, if the task has it.
  ground_truth: GroundTruth | None = None

  @property
  def alive(self) -> Array:
    """The slots that held an item before the step [M] bool."""
    return self.strength > 0


def token_mean(values: Array, valid: Array) -> Array:
  """Mean [...] f32 of `values` [T, ...] over the valid tokens; 0 if none."""
  mask = valid.reshape(-1, *[1] * (values.ndim - 1))
  total = jnp.where(mask, values, 0).astype(jnp.float32).sum(0)
  return total / jnp.maximum(valid.sum(), 1)


def straight_through(forward: Array, backward: Array) -> Array:
  """`forward` with the gradient of `backward` added to its own."""
  return forward + backward - jax.lax.stop_gradient(backward)


def decayed_usage(state: MemoryState, attention: Array, valid: Array) -> Array:
  """Usage [M] as decayed read weight: decay * usage + this step's mean weight.

  Args:
    state: the memory that was read.
    attention: [T, M] f32, read weights.
    valid: [T] bool; padded tokens do not count.
  """
  return USAGE_DECAY * state.usage + token_mean(attention, valid)


class Policy(NamedTuple):
  """A memory policy: three pure functions.

  init(key, *, num_slots, num_candidates) -> params
    The parameters of the policy, `()` if it has none. Their shapes must not
    depend on num_slots if the number of slots changes during training.
  score(params, key, state, chunk, *, train) -> Scores
    Scores each operation; `allocate` decides which ones are executed.
  update_usage(state, attention, valid) -> usage [M]
    The new usage, from this step's read weights `attention` [T, M] and the
    token mask `valid` [T].
  """

  init: Callable[..., Params]
  score: Callable[..., Scores]
  update_usage: Callable[..., Array] = decayed_usage
