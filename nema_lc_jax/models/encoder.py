"""The layers before and after the memory read, and the head.

All modules run on all chunks of one text, [N, T, D], in parallel: only the
memory scan is sequential.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory import MemoryState, read_weights, temporal_links
from nema_lc_jax.memory.types import Array
from nema_lc_jax.models.attention import attend, rotate
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.controller import identity
from nema_lc_jax.models.ngrams import NGrams
from nema_lc_jax.models.ssm import StateSpaceBlock

# Of the cosine of two texts, in logits.
COSINE_SCALE = 8.0


class Block(nn.Module):
  """A pre-norm Transformer layer on [..., T, D]; padding is not attended."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [..., T, D], valid [..., T] -> [..., T, D]."""
    c, D, dtype = self.config, x.shape[-1], x.dtype
    drop = nn.Dropout(c.dropout, deterministic=not train)
    dense = functools.partial(nn.Dense, dtype=dtype)
    # At first a layer is the identity: it does not delay what is learned from
    # the tokens themselves.
    residual = functools.partial(dense, D, kernel_init=nn.initializers.zeros)
    h = nn.LayerNorm(dtype=dtype, name="norm_attention")(x)
    # No biases: that of the keys has no effect on the softmax, so its gradient
    # would be rounding errors, which Adam amplifies.
    qkv = dense(3 * D, use_bias=False, name="qkv")(h)
    qkv = qkv.reshape(*x.shape[:-1], 3, c.num_heads, D // c.num_heads)
    q, k, v = jnp.moveaxis(qkv, -3, 0)
    if c.position_embedding == "rotary":
      q, k = rotate(q), rotate(k)
    h = attend(q, k, v, valid, causal=c.causal)
    x = x + drop(residual(name="out")(h.reshape(x.shape)))
    h = nn.LayerNorm(dtype=dtype, name="norm_mlp")(x)
    hidden = int(c.mlp_ratio * D)
    up = nn.gelu(dense(hidden, name="up")(h))
    if c.gated_mlp:
      up *= dense(hidden, name="gate")(h)
    return x + drop(residual(name="down")(up))


class Stack(nn.Module):
  """`num_layers` layers on [N, T, D], in each chunk or over the whole text."""

  config: ModelConfig
  num_layers: int

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [N, T, D], valid [N, T] -> [N, T, D]."""
    c, shape = self.config, x.shape
    if c.sees_whole_text:
      x, valid = x.reshape(1, -1, shape[-1]), valid.reshape(1, -1)
    layer = StateSpaceBlock if c.uses_ssm else Block
    if c.remat:
      # Argument 3 is `train`, a Python bool (0 is self).
      layer = nn.remat(layer, static_argnums=(3,))
    for i in range(self.num_layers):
      x = layer(c, name=f"layer_{i}")(x, valid, train)
    return x.reshape(shape)


class Convolution(nn.Module):
  """A convolution over each chunk's tokens with a residual connection.

  It sees pairs and triples of tokens at a lower cost than a layer. If the model
  is causal, the window ends at the token itself.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array) -> Array:
    """x [N, T, D], valid [N, T] -> [N, T, D]."""
    c, T = self.config, x.shape[1]
    x = jnp.where(valid[..., None], x, 0)
    after = 0 if c.causal else c.conv_kernel_size // 2
    before = c.conv_kernel_size - 1 - after
    padded = jnp.pad(x, ((0, 0), (before, after), (0, 0)))
    # As a matrix product, since on a CPU XLA's gradient of a convolution takes
    # longer than everything else.
    window = [padded[:, i : i + T] for i in range(c.conv_kernel_size)]
    dense = nn.Dense(x.shape[-1], dtype=x.dtype, name="window")
    return x + nn.gelu(dense(jnp.concatenate(window, axis=-1)))


def sinusoids(positions: Array, width: int) -> Array:
  """Sinusoids [N, width] of positions [N], on the scale of token embeddings.

  Source: Vaswani et al. 2017, "Attention Is All You Need".
  """
  rates = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
  angles = positions[:, None] * rates
  waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return 0.5 * waves[:, :width]


class Embedding(nn.Module):
  """Token and position embeddings.

  Learned positions count from the start of the chunk, so that texts may have
  any length. Sinusoids of the chunk's index are added for encoder "full" alone,
  since a memory knows the order from ages. Linear recurrences need no position
  embeddings, and rotary ones are part of attention.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Ids [N, T] -> [N, T, D]."""
    D, init = self.config.width, nn.initializers.normal(0.5)
    # A multiple of 8, so that similar vocabularies share compiled programs.
    rows = -(-self.config.vocab_size // 8) * 8
    embed = nn.Embed(rows, D, embedding_init=init, name="token")
    x = embed(tokens)
    if self.config.ngram_sizes:
      x += NGrams(self.config, name="ngrams")(tokens)
    learned = self.config.position_embedding == "learned"
    if learned and not self.config.uses_ssm:
      # Small, so that reads find a token at any position in its chunk.
      small = nn.initializers.normal(0.1)
      x += self.param("position", small, (tokens.shape[1], D))
    if learned and self.config.encoder == "full":
      x += sinusoids(jnp.arange(tokens.shape[0]), D)[:, None]
    return x.astype(self.config.dtype)


class Encoder(nn.Module):
  """The embedding and the layers before the memory read."""

  config: ModelConfig

  @nn.compact
  def __call__(self, tokens: Array, valid: Array, train: bool) -> Array:
    """Ids [N, T], valid [N, T] -> [N, T, D]."""
    x = Embedding(self.config, name="embedding")(tokens)
    if self.config.conv_kernel_size:
      x = Convolution(self.config, name="convolution")(x, valid)
    return Stack(self.config, self.config.num_layers, name="layers")(
      x, valid, train
    )


class MemoryInterface(nn.Module):
  """The read queries, write candidates and age bias of each chunk.

  Each of the K candidates pools the chunk's tokens with a learned query. With
  sigmoid weights tokens do not compete, so that a candidate can hold both what
  a sentence is about and what it says.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array) -> tuple[Array, Array, Array]:
    """[N, T, D] -> queries [N, T, D], candidates [N, K, D], age bias [N]."""
    D, K = x.shape[-1], self.config.num_candidates
    x = nn.LayerNorm(name="norm")(x.astype(jnp.float32))
    unit = nn.LayerNorm(use_scale=False, use_bias=False)
    # Initialised as the identity, so that a token finds the slots whose chunks
    # contain it before queries and contents have been learned.
    dense = functools.partial(nn.Dense, D, kernel_init=identity)
    query = unit(dense(use_bias=False, name="query")(x))
    query *= self.config.query_norm * D**-0.5
    pool = self.param("pool", nn.initializers.normal(1.0), (K, D))
    # Projects K pooling queries and K pooled vectors instead of T tokens.
    pool = nn.Dense(D, use_bias=False, name="key")(pool)
    logits = jnp.einsum("kd,ntd->nkt", pool, x) * D**-0.5
    logits = jnp.where(valid[:, None], logits, -1e9)
    weigh = {"sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
    weights = weigh[self.config.candidate_weights](logits)
    pooled = dense(name="value")(weights @ x)
    # Contents have a fixed norm, so that only strength scales a slot.
    content = unit(pooled)
    # Small at first: if age alone told which item is current, the policy would
    # not learn to forget the item that it replaces.
    bias = self.param("age_bias", nn.initializers.constant(-1.0), ())
    return query, content, jnp.broadcast_to(jax.nn.softplus(bias), (len(x),))


def with_positions(state: MemoryState) -> MemoryState:
  """Appends a position in time to each slot's content, which becomes [M, 2*D].

  The position is the number of younger slots, as sinusoids. Ages would differ
  from those of training in longer texts.
  """
  younger = (state.age < state.age[:, None]) & state.alive
  position = sinusoids(younger.sum(1), state.content.shape[-1])
  content = jnp.concatenate([state.content, position], axis=1)
  return state.replace(content=content)


class Reading(NamedTuple):
  """The read of one chunk: the memory that was read, and the weights."""

  state: MemoryState
  age_bias: Array  # []
  weights: Array  # [T, M], see read_weights


class ReadHop(nn.Module):
  """A further hop: a read whose query depends on the read before.

  The query has a part for the position in time, to find items from before or
  after the previous read. The read may also follow temporal links to the next
  older or next younger slot.
  """

  config: ModelConfig

  @nn.compact
  def __call__(
    self, x: Array, previous: Reading, valid: Array, train: bool
  ) -> tuple[Array, Reading]:
    """x [1, T, D], the previous read, valid [1, T] -> x and this read."""
    c, D, state = self.config, x.shape[-1], with_positions(previous.state)
    x = Stack(c, 1, name="layers")(x, valid, train)
    h = nn.LayerNorm(name="norm")(x[0].astype(jnp.float32))
    content, time = jnp.split(previous.weights @ state.content, 2, axis=-1)
    # Initialised as the identity, so that what was read finds the slots whose
    # contents are similar, at any time.
    zeros = nn.initializers.zeros
    dense = functools.partial(nn.Dense, D, use_bias=False)
    query = dense(kernel_init=identity, name="chain")(content)
    query += dense(name="query")(h)
    unit = nn.LayerNorm(use_scale=False, use_bias=False)
    query = unit(query) * c.query_norm * D**-0.5
    time = jnp.concatenate([h, time], axis=-1)
    time = dense(kernel_init=zeros, name="when")(time)
    # `read_weights` divides by the root of the width, which is doubled here.
    query = jnp.concatenate([query, time], axis=-1) * 2**0.5
    # The links reach adjacent slots with three weights, where the part for time
    # has to learn the rotation from each position to the next.
    links = temporal_links(state)
    linked = [previous.weights @ link for link in (links, links.T)]
    linked = jnp.stack([*linked, previous.weights], axis=-1)
    mix = nn.Dense(3, kernel_init=zeros, name="steer")(h)
    weights = read_weights(
      state,
      query,
      age_bias=previous.age_bias,
      bias=(linked * mix[:, None]).sum(-1),
    )
    weights = jnp.where(valid[0][:, None], weights, 0.0)
    read = (weights @ state.content)[None]
    x += dense(dtype=x.dtype, name="read")(read.astype(x.dtype))
    return x, previous._replace(weights=weights)


def first_read_projection(c: ModelConfig) -> nn.initializers.Initializer:
  """Of what is read, which is added to the tokens.

  Small at first (`read_gain`), it lets tokens be learned before reads, so that
  a model does not come to rest on reads alone. Pooled slots have no tokens.
  """
  scale = 1.0 if c.pools_slots else c.read_gain
  if scale == 0:
    return nn.initializers.zeros
  return nn.initializers.variance_scaling(
    scale**2, "fan_in", "truncated_normal"
  )


class Decoder(nn.Module):
  """Adds the read to the tokens, then further hops, then the last layers."""

  config: ModelConfig

  @nn.compact
  def __call__(
    self,
    x: Array,
    read: Array | None,
    valid: Array,
    train: bool,
    first: Reading | None = None,
  ) -> Array:
    """x and read [N, T, D], valid [N, T] -> [N, T, D] f32.

    read is None without a memory. `first` is the first hop if there are more,
    and N is then 1.
    """
    c, D = self.config, x.shape[-1]
    if read is not None:
      init = first_read_projection(c)
      dense = nn.Dense(
        D, use_bias=False, dtype=x.dtype, kernel_init=init, name="read"
      )
      x = x + dense(read.astype(x.dtype))
    if first is not None:
      reading = first
      for i in range(1, c.num_hops):
        x, reading = ReadHop(c, name=f"read_{i}")(x, reading, valid, train)
    x = Stack(c, c.num_layers_after, name="layers")(x, valid, train)
    x = nn.LayerNorm(name="norm")(x.astype(jnp.float32))
    return nn.Dense(D, name="out")(x)


class Head(nn.Module):
  """A two-layer perceptron with a linear skip connection.

  With the skip connection the similarity of two texts is learned in few steps.
  With `cosine`, which needs the features of a pair, it is there from the first
  step: classes get a learned multiple of the cosine of the two vectors. At
  first the last class is that of similar texts.
  """

  num_classes: int
  hidden: int
  cosine: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[..., D] -> logits [..., C]."""
    h = nn.gelu(nn.Dense(self.hidden, name="hidden")(x))
    linear = nn.Dense(self.num_classes, use_bias=False, name="linear")
    logits = linear(x) + nn.Dense(self.num_classes, name="logits")(h)
    if not self.cosine:
      return logits
    x1, x2 = jnp.split(x, 4, axis=-1)[:2]
    weights = self.param(
      "cosine",
      lambda _, shape: jnp.linspace(-0.5, 0.5, *shape),
      (self.num_classes,),
    )
    return logits + COSINE_SCALE * centred_cosine(x1, x2) * weights


def centred_cosine(x1: Array, x2: Array) -> Array:
  """The cosine [..., 1] of vectors [..., D], each without its mean.

  0 for a vector that has the same number in all places.
  """
  x1, x2 = (x - x.mean(-1, keepdims=True) for x in (x1, x2))
  norm = lambda x: x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-6)
  return (norm(x1) * norm(x2)).sum(-1, keepdims=True)


def mean_pool(x: Array, weights: Array) -> Array:
  """Weighted mean of tokens or slots: [N, T, D], [N, T] -> [D] f32."""
  weights = weights.astype(jnp.float32)
  # A `where`, since values without weight may not be finite.
  total = jnp.where(weights[..., None] > 0, x * weights[..., None], 0.0)
  return total.sum((0, 1)) / jnp.maximum(weights.sum(), 1e-6)


def pair_features(x1: Array, x2: Array) -> Array:
  """Features [..., 4*D] of pairs [..., D]: x1, x2, x1 * x2, x1 - x2.

  Source: the "NLI" interaction of google-research/long-range-arena.
  """
  x1, x2 = jnp.broadcast_arrays(x1, x2)
  return jnp.concatenate([x1, x2, x1 * x2, x1 - x2], axis=-1)
