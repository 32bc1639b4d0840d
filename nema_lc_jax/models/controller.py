"""The neural controller: learned write gates, and learned slot actions.

Modules are applied with explicit parameters inside the memory scan, one slot
state and one chunk at a time; all arithmetic is float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.state import read_bias
from nema_lc_jax.memory.types import Array, Chunk, MemoryState, token_mean

# Ages and usages are squashed, so that features stay in the range seen in
# training however long the sequence is.
AGE_SCALE = 8.0
# The match has to stand out among many inputs.
MATCH_SCALE = 4.0
# How much a proposal prefers the candidates that are most like the slot.
PROPOSAL_SHARPNESS = 8.0
# What a controller may be kept from seeing, for ablations.
ABLATED_INPUTS = ("", "content", "age", "usage", "context")


def chunk_context(chunk: Chunk) -> Array:
  """Mean of the chunk's valid queries [D] f32."""
  return token_mean(chunk.query, chunk.valid)


def _unit(x: Array) -> Array:
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-6)


def _cosines(
  slots: Array, offered: Array, state: MemoryState, chunk: Chunk
) -> Array:
  """Cosine of each live slot's vector with each valid candidate's, else -1."""
  real = state.alive[:, None] & chunk.candidates.valid
  return jnp.where(real, _unit(slots) @ _unit(offered).T, -1.0)


def similarities(state: MemoryState, chunk: Chunk) -> Array:
  """Cosine of each live slot with each valid candidate [M, K], else -1."""
  offered = chunk.candidates.content.astype(jnp.float32)
  return _cosines(state.content, offered, state, chunk)


class WriteGate(nn.Module):
  """Write logit [K] of each candidate, from it, the context and novelty."""

  hidden: int
  bias: float
  ablate_input: str = ""  # an input that is not shown, see ABLATED_INPUTS

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [K]."""
    show = lambda name, x: jnp.zeros_like(x) if name == self.ablate_input else x
    content = chunk.candidates.content.astype(jnp.float32)
    known = similarities(state, chunk).max(axis=0)[:, None]
    h = nn.Dense(self.hidden, name="content")(content)
    h += nn.Dense(self.hidden, use_bias=False, name="context")(
      show("context", chunk_context(chunk))
    )
    h += nn.Dense(self.hidden, use_bias=False, name="known")(
      show("content", known)
    )
    return nn.Dense(
      1,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=nn.initializers.constant(self.bias),
      name="logit",
    )(nn.gelu(h))[:, 0]


class SlotActions(nn.Module):
  """Logits [M, 3] of retain, update, forget for each slot.

  What tells a slot that this chunk is about it is the match: the cosine of
  slot and candidate after a learned projection, which can pick out what names
  an item from what is said of it.
  """

  hidden: int
  biases: tuple[float, float, float]
  ablate_input: str = ""  # an input that is not shown, see ABLATED_INPUTS

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [M, 3]."""
    show = lambda name, x: jnp.zeros_like(x) if name == self.ablate_input else x
    age = state.age.astype(jnp.float32)
    strength = read_bias(state)
    strength = jnp.where(jnp.isfinite(strength), strength, 0.0)
    features = jnp.stack(
      [
        show("age", jnp.minimum(age / AGE_SCALE, 1.0)),
        # Recency usages (lru) count down from 1 without end.
        show("usage", state.usage / (1.0 + jnp.abs(state.usage))),
        strength,
        show("content", similarities(state, chunk).max(axis=1)),
      ],
      axis=-1,
    )
    offered = chunk.candidates.content.astype(jnp.float32)
    name = nn.Dense(max(self.hidden // 2, 1), use_bias=False, name="name")
    match = _cosines(name(state.content), name(offered), state, chunk)
    match = show("content", show("context", match.max(axis=1)))
    mean = jnp.where(chunk.candidates.valid[:, None], offered, 0.0).sum(0)
    mean /= jnp.maximum(chunk.candidates.valid.sum(), 1)
    context = jnp.concatenate([chunk_context(chunk), mean])

    h = nn.Dense(self.hidden, name="content")(show("content", state.content))
    h += nn.Dense(self.hidden, use_bias=False, name="context")(
      show("context", context)
    )
    h += nn.Dense(self.hidden, use_bias=False, name="features")(features)
    h += nn.Dense(self.hidden, use_bias=False, name="match")(
      MATCH_SCALE * match[:, None]
    )
    return nn.Dense(
      3,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=lambda *_: jnp.array(self.biases, jnp.float32),
      name="logits",
    )(nn.gelu(h))


def propose(state: MemoryState, chunk: Chunk) -> Array:
  """What each slot would become [M, D]: the candidates most like it, mixed.

  A slot with nothing to move towards proposes its own content.
  """
  content = chunk.candidates.content.astype(jnp.float32)
  weights = jax.nn.softmax(
    PROPOSAL_SHARPNESS * similarities(state, chunk), axis=-1
  )
  weights = jnp.where(chunk.candidates.valid, weights, 0.0)
  weights /= jnp.maximum(weights.sum(-1, keepdims=True), 1e-6)
  mixed = weights @ content
  return jnp.where(chunk.candidates.valid.any(), mixed, state.content)
