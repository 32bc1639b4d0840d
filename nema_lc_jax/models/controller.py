"""The neural controller: learned write gates, and learned slot actions.

Modules are applied with explicit parameters inside the memory scan, one slot
state and one chunk at a time; all arithmetic is float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.state import log_strength
from nema_lc_jax.memory.types import Array, Chunk, MemoryState, token_mean

# Ages and usages are squashed, so that features stay in the range seen in
# training however long the sequence is.
AGE_SCALE = 8.0


def chunk_context(chunk: Chunk) -> Array:
  """Mean of the chunk's valid queries [D] f32."""
  return token_mean(chunk.query, chunk.valid)


def similarities(state: MemoryState, chunk: Chunk) -> Array:
  """Cosine of each live slot with each valid candidate [M, K], else -1."""
  unit = lambda x: x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-6)
  content = chunk.candidates.content.astype(jnp.float32)
  cosine = unit(state.content) @ unit(content).T
  real = (state.alive > 0)[:, None] & chunk.candidates.valid
  return jnp.where(real, cosine, -1.0)


class WriteGate(nn.Module):
  """Write logit [K] of each candidate, from it, the context and novelty."""

  hidden: int
  bias: float

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [K]."""
    content = chunk.candidates.content.astype(jnp.float32)
    known = similarities(state, chunk).max(axis=0)[:, None]
    h = nn.Dense(self.hidden, name="content")(content)
    h += nn.Dense(self.hidden, use_bias=False, name="context")(
      chunk_context(chunk)
    )
    h += nn.Dense(self.hidden, use_bias=False, name="known")(known)
    return nn.Dense(
      1,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=nn.initializers.constant(self.bias),
      name="logit",
    )(nn.gelu(h))[:, 0]


class SlotActions(nn.Module):
  """Logits [M, 3] of retain, update, forget for each slot."""

  hidden: int
  biases: tuple[float, float, float]

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [M, 3]."""
    age = state.age.astype(jnp.float32)
    strength = log_strength(state)
    strength = jnp.where(jnp.isfinite(strength), strength, 0.0)
    features = jnp.stack(
      [
        jnp.minimum(age / AGE_SCALE, 1.0),
        # Recency usages (lru) count down from 1 without end.
        state.usage / (1.0 + jnp.abs(state.usage)),
        strength,
        similarities(state, chunk).max(axis=1),
      ],
      axis=-1,
    )
    h = nn.Dense(self.hidden, name="content")(state.content)
    h += nn.Dense(self.hidden, use_bias=False, name="context")(
      chunk_context(chunk)
    )
    h += nn.Dense(self.hidden, use_bias=False, name="features")(features)
    return nn.Dense(
      3,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=lambda *_: jnp.array(self.biases, jnp.float32),
      name="logits",
    )(nn.gelu(h))


def propose(state: MemoryState, chunk: Chunk, sharpness: float = 8.0) -> Array:
  """What each slot would become [M, D]: the candidates most like it, mixed.

  A slot with nothing to move towards proposes its own content.
  """
  content = chunk.candidates.content.astype(jnp.float32)
  weights = jax.nn.softmax(sharpness * similarities(state, chunk), axis=-1)
  weights = jnp.where(chunk.candidates.valid, weights, 0.0)
  weights /= jnp.maximum(weights.sum(-1, keepdims=True), 1e-6)
  mixed = weights @ content
  return jnp.where(chunk.candidates.valid.any(), mixed, state.content)
