"""The neural controller: the learned write gate, and learned slot actions.

The modules run inside the memory scan, on one memory state and one chunk at a
time, with explicit parameters and in float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.state import read_bias
from nema_lc_jax.memory.types import Array, Chunk, MemoryState, token_mean

# Ages and usages are bounded, so that features stay in the range of training
# on texts of any length.
AGE_SCALE = 8.0
# Scales the match up, since it is one input among many.
MATCH_SCALE = 4.0
# Inputs that may be hidden from a controller, for ablations.
ABLATED_INPUTS = ("", "content", "age", "usage", "context")


def chunk_context(chunk: Chunk) -> Array:
  """The mean of the chunk's valid queries [D] f32."""
  return token_mean(chunk.query, chunk.valid)


def identity(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
  """An initialiser of square kernels."""
  del key
  return jnp.eye(*shape, dtype=dtype)


def normalised(x: Array) -> Array:
  """Vectors [..., D] with mean 0 and variance 1, as contents have."""
  x -= x.mean(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)


def _unit(x: Array) -> Array:
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-6)


def _cosines(
  slots: Array, candidates: Array, state: MemoryState, chunk: Chunk
) -> Array:
  """Cosines [M, K] of slot and candidate vectors; -1 unless alive and valid."""
  valid = state.alive[:, None] & chunk.candidates.valid
  return jnp.where(valid, _unit(slots) @ _unit(candidates).T, -1.0)


def similarities(state: MemoryState, chunk: Chunk) -> Array:
  """Cosine of each live slot with each valid candidate [M, K], else -1."""
  candidates = chunk.candidates.content.astype(jnp.float32)
  return _cosines(state.content, candidates, state, chunk)


class WriteGate(nn.Module):
  """Write logits of the candidates, from their content, context and novelty."""

  hidden: int
  bias: float
  ablate_input: str = ""  # a hidden input, see ABLATED_INPUTS

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [K]."""
    show = lambda name, x: jnp.zeros_like(x) if name == self.ablate_input else x
    content = chunk.candidates.content.astype(jnp.float32)
    similarity = similarities(state, chunk).max(axis=0)[:, None]
    h = nn.Dense(self.hidden, name="content")(content)
    h += nn.Dense(self.hidden, use_bias=False, name="context")(
      show("context", chunk_context(chunk))
    )
    h += nn.Dense(self.hidden, use_bias=False, name="known")(
      show("content", similarity)
    )
    return nn.Dense(
      1,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=nn.initializers.constant(self.bias),
      name="logit",
    )(nn.gelu(h))[:, 0]


class SlotActions(nn.Module):
  """The logits of retain and forget for each slot.

  The match tells a slot whether the chunk is about its item: it is the cosine
  of slot and candidate after a learned projection, which can select the part
  of a content that identifies the item.
  """

  hidden: int
  biases: tuple[float, float]
  ablate_input: str = ""  # a hidden input, see ABLATED_INPUTS

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [M, 2]."""
    show = lambda name, x: jnp.zeros_like(x) if name == self.ablate_input else x
    age = state.age.astype(jnp.float32)
    log_strength = read_bias(state)
    log_strength = jnp.where(jnp.isfinite(log_strength), log_strength, 0.0)
    features = jnp.stack(
      [
        show("age", jnp.minimum(age / AGE_SCALE, 1.0)),
        # The usage of lru falls without a bound.
        show("usage", state.usage / (1.0 + jnp.abs(state.usage))),
        log_strength,
        show("content", similarities(state, chunk).max(axis=1)),
      ],
      axis=-1,
    )
    candidates = chunk.candidates.content.astype(jnp.float32)
    key = nn.Dense(max(self.hidden // 2, 1), use_bias=False, name="name")
    match = _cosines(key(state.content), key(candidates), state, chunk)
    match = show("content", show("context", match.max(axis=1)))
    mean = jnp.where(chunk.candidates.valid[:, None], candidates, 0.0).sum(0)
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
      2,
      kernel_init=nn.initializers.normal(0.02),
      bias_init=lambda *_: jnp.array(self.biases, jnp.float32),
      name="logits",
    )(nn.gelu(h))


class Match(nn.Module):
  """The logits that a candidate is about the item of a slot.

  They stand against logit 0 of an item that no slot holds. At first contents
  are compared as they are; what is learned selects the part that names the
  item.
  """

  scale: float
  bias: float
  ablate_input: str = ""  # a hidden input, see ABLATED_INPUTS

  @nn.compact
  def __call__(self, state: MemoryState, chunk: Chunk) -> Array:
    """Logits [M, K]; -inf unless alive and valid."""
    candidates = chunk.candidates.content.astype(jnp.float32)
    D = candidates.shape[-1]
    name = nn.Dense(D, use_bias=False, kernel_init=identity, name="name")
    cosines = _cosines(name(state.content), name(candidates), state, chunk)
    if self.ablate_input == "content":
      cosines = jnp.zeros_like(cosines)
    scale = self.param("scale", nn.initializers.constant(self.scale), ())
    bias = self.param("bias", nn.initializers.constant(self.bias), ())
    # A weak slot hardly counts as holding its item, and a free one not at all.
    logits = scale * cosines + bias + read_bias(state)[:, None]
    return jnp.where(chunk.candidates.valid, logits, -jnp.inf)


class GatedDelta(nn.Module):
  """The content of a slot after it is updated by a candidate.

  In a learned basis each number moves from the slot's towards the candidate's,
  by a gate that depends on both. At first the basis is the identity and each
  gate 1/2, so that the result is the mean. It is a gated form of the delta rule
  of Schlag et al. 2021, "Linear Transformers Are Secretly Fast Weight
  Programmers".
  """

  hidden: int
  # Whether a change that depends on slot and candidate, at first 0, is added to
  # the difference: the result may then lie beyond both.
  adds_change: bool = False

  @nn.compact
  def __call__(self, slots: Array, candidates: Array) -> Array:
    """Contents [M, D] and [K, D] -> [M, K, D]."""
    D = slots.shape[-1]
    basis = nn.Dense(D, use_bias=False, kernel_init=identity, name="basis")
    back = nn.Dense(D, use_bias=False, kernel_init=identity, name="back")
    h = nn.Dense(self.hidden, name="candidate")(candidates)[None]
    h += nn.Dense(self.hidden, use_bias=False, name="slot")(slots)[:, None]
    small = nn.initializers.normal(0.02)
    h = nn.gelu(h)
    gate = nn.sigmoid(nn.Dense(D, kernel_init=small, name="gate")(h))
    delta = basis(candidates)[None] - basis(slots)[:, None]
    if self.adds_change:
      delta += nn.Dense(D, kernel_init=nn.initializers.zeros, name="change")(h)
    return normalised(slots[:, None] + back(gate * delta))


def mean_content(slots: Array, candidates: Array) -> Array:
  """The mean of slot and candidate [M, K, D], in place of `GatedDelta`."""
  return normalised(slots[:, None] + candidates[None])
