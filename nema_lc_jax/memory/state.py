"""Creating an empty memory, and reading from a memory."""

import chex
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import MAX_READ_AGE, Array, MemoryState


def init_state(*, num_slots: int, width: int) -> MemoryState:
  """An empty memory with `num_slots` (M) slots of `width` (D) numbers.

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
  """What strength and age add to each slot's read logit [M]; -inf if free.

  log(strength) - age_bias * log(1 + min(age, MAX_READ_AGE)); None means 0.
  """
  live = state.alive
  # The inner `where` keeps the gradient of log finite at free slots.
  bias = jnp.log(jnp.where(live, state.strength, 1.0))
  if age_bias is not None:
    age = jnp.minimum(state.age, MAX_READ_AGE).astype(jnp.float32)
    bias -= age_bias * jnp.log1p(age)
  return jnp.where(live, bias, -jnp.inf)


def temporal_links(state: MemoryState) -> Array:
  """Temporal links [M, M] f32: 1 at [i, j] if j is the next older slot than i.

  The transpose links to the next younger slot. Slots of equal age have equal
  links; free slots have none. The DNC (Graves et al. 2016) keeps such links as
  state; here they follow from the ages.
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
  """Read weights [T, M] f32 of the slots for each query [T, D].

  Scaled dot-product attention over the live slots and a null slot of logit 0.
  The null slot's weight is not returned: rows sum to less than 1, and to 0 for
  an empty memory. `bias` [T, M] is added to the slots' logits.
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
  """The sum of contents, weighted by `read_weights`, for each query [T, D].

  Returns [T, D] f32, exactly 0 for an empty memory. `age_bias` b >= 0 prefers
  young slots: -b * log(1 + min(age, MAX_READ_AGE)) is added to the logits.
  """
  return read_weights(state, query, age_bias=age_bias) @ state.content
