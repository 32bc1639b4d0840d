"""The empty memory, and reading from a memory."""

import chex
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import MAX_READ_AGE, Array, MemoryState


def init_state(*, num_slots: int, width: int) -> MemoryState:
  """An empty memory of `num_slots` (M) slots of `width` (D) numbers.

  Raises:
    ValueError: if num_slots or width is below 1.
  """
  if num_slots < 1:
    raise ValueError(f"num_slots must be at least 1, got {num_slots}.")
  if width < 1:
    raise ValueError(f"width must be at least 1, got {width}.")
  return MemoryState(
    content=jnp.zeros((num_slots, width), jnp.float32),
    age=jnp.zeros((num_slots,), jnp.int32),
    usage=jnp.zeros((num_slots,), jnp.float32),
    strength=jnp.zeros((num_slots,), jnp.float32),
  )


def read_bias(
  state: MemoryState, age_bias: Array | float | None = None
) -> Array:
  """What strength and age add to a slot's read logit [M]; free slots: -inf.

  log(strength) - age_bias * log(1 + min(age, MAX_READ_AGE)); None stands for 0.
  """
  live = state.alive
  # The inner `where` keeps the gradient of log finite at free slots.
  strength = jnp.log(jnp.where(live, state.strength, 1.0))
  if age_bias is not None:
    age = jnp.minimum(state.age, MAX_READ_AGE).astype(jnp.float32)
    strength -= age_bias * jnp.log1p(age)
  return jnp.where(live, strength, -jnp.inf)


def temporal_links(state: MemoryState) -> Array:
  """Temporal links [M, M] f32: 1 where slot j is the next older one of slot i.

  The transpose leads to the next younger slot. Slots of one age have the same
  links; free slots have none. The DNC (Graves et al. 2016) keeps its temporal
  links as a state of their own; here the ages hold the order.
  """
  live = state.alive
  older = live[:, None] & live & (state.age > state.age[:, None])
  ages = jnp.where(older, state.age, jnp.iinfo(state.age.dtype).max)
  return (older & (ages == ages.min(1, keepdims=True))).astype(jnp.float32)


def read_weights(
  state: MemoryState,
  query: Array,
  *,
  age_bias: Array | float | None = None,
  bias: Array | float = 0.0,
) -> Array:
  """Read mass [T, M] f32 of each slot for each query [T, D].

  Scaled dot-product attention over the live slots and one null slot of logit
  0, whose mass is left out: rows sum to less than 1, and to 0 when the memory
  is empty. `bias` [T, M] is added to the slots' logits.
  """
  chex.assert_rank(query, 2)
  chex.assert_equal(query.shape[-1], state.content.shape[-1])
  query = query.astype(jnp.float32)
  scale = state.content.shape[-1] ** -0.5
  logits = scale * query @ state.content.T + read_bias(state, age_bias)
  logits += bias
  null = jnp.zeros((*logits.shape[:-1], 1), logits.dtype)
  logits = jnp.concatenate([null, logits], axis=-1)
  return jax.nn.softmax(logits, axis=-1)[..., 1:]


def read(
  state: MemoryState, query: Array, *, age_bias: Array | float | None = None
) -> Array:
  """What each query [T, D] reads from the memory: [T, D] f32.

  An empty memory reads exactly 0. The values read are the slots' contents.
  `age_bias` b >= 0 prefers young slots: -b * log(1 + min(age, MAX_READ_AGE)) is
  added to the logits.
  """
  return read_weights(state, query, age_bias=age_bias) @ state.content
