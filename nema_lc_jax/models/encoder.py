"""The Transformer around the memory: what comes before and after its read.

Everything here is over the chunks of one text at once, [N, T, D]: none of it
depends on what happens in the memory, so chunks are computed in parallel.
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
from nema_lc_jax.models.ssm import StateSpaceBlock


class Block(nn.Module):
  """A pre-norm Transformer layer over [..., T, D]; padding is not attended."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [..., T, D] and valid [..., T] to [..., T, D]."""
    c, D, dtype = self.config, x.shape[-1], x.dtype
    drop = nn.Dropout(c.dropout, deterministic=not train)
    dense = lambda width, name, bias=True: nn.Dense(
      width, use_bias=bias, dtype=dtype, name=name
    )
    h = nn.LayerNorm(dtype=dtype, name="norm_attention")(x)
    # No biases: a softmax does not change with that of the keys, whose gradient
    # would be rounding errors for Adam to amplify.
    qkv = dense(3 * D, "qkv", bias=False)(h)
    qkv = qkv.reshape(*x.shape[:-1], 3, c.num_heads, D // c.num_heads)
    q, k, v = jnp.moveaxis(qkv, -3, 0)
    if c.position_embedding == "rotary":
      q, k = rotate(q), rotate(k)
    h = attend(q, k, v, valid, causal=c.causal)
    x = x + drop(dense(D, "out")(h.reshape(x.shape)))
    h = nn.LayerNorm(dtype=dtype, name="norm_mlp")(x)
    hidden = int(c.mlp_ratio * D)
    up = nn.gelu(dense(hidden, "up")(h))
    if c.gated_mlp:
      up *= dense(hidden, "gate")(h)
    return x + drop(dense(D, "down")(up))


class Stack(nn.Module):
  """`num_layers` layers over [N, T, D]: in each chunk, or over all of them."""

  config: ModelConfig
  num_layers: int

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [N, T, D] and valid [N, T] to [N, T, D]."""
    c, shape = self.config, x.shape
    if c.sees_whole_text:
      x, valid = x.reshape(1, -1, shape[-1]), valid.reshape(1, -1)
    layer = StateSpaceBlock if c.recurs else Block
    if c.remat:
      # Argument 3 is `train`, a Python bool (0 is self).
      layer = nn.remat(layer, static_argnums=(3,))
    for i in range(self.num_layers):
      x = layer(c, name=f"layer_{i}")(x, valid, train)
    return x.reshape(shape)


class Convolution(nn.Module):
  """What each token's neighbours in its chunk say, added: [N, T, D] alike.

  Pairs and triples of tokens for one layer's small price; where a token may
  not see what comes after it, the window ends with it.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array) -> Array:
    """x [N, T, D] and valid [N, T] to [N, T, D]."""
    c, T = self.config, x.shape[1]
    x = jnp.where(valid[..., None], x, 0)
    after = 0 if c.causal else c.conv_kernel_size // 2
    before = c.conv_kernel_size - 1 - after
    padded = jnp.pad(x, ((0, 0), (before, after), (0, 0)))
    # As a product of matrices: on a CPU, XLA's gradient of a convolution takes
    # longer than all the rest.
    window = [padded[:, i : i + T] for i in range(c.conv_kernel_size)]
    dense = nn.Dense(x.shape[-1], dtype=x.dtype, name="window")
    return x + nn.gelu(dense(jnp.concatenate(window, axis=-1)))


def sinusoids(places: Array, width: int) -> Array:
  """Places [N] as sinusoids [N, width], of the size of token embeddings.

  Source: Vaswani et al. 2017, "Attention Is All You Need".
  """
  rates = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
  angles = places[:, None] * rates
  both = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return 0.5 * both[:, :width]


class Embedding(nn.Module):
  """Token embeddings plus positions: ids [N, T] -> [N, T, D].

  Positions inside a chunk are learned, so they reach as far as any text. The
  number of the chunk is added, as fixed sinusoids, only for full attention: a
  memory knows order by age. A linear recurrence needs no positions, and with
  rotary ones nothing is added here.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Ids [N, T] to [N, T, D]."""
    D, init = self.config.width, nn.initializers.normal(0.5)
    # In eights: data sets of nearly the same vocabulary share their programs.
    rows = -(-self.config.vocab_size // 8) * 8
    embed = nn.Embed(rows, D, embedding_init=init, name="token")
    x = embed(tokens)
    learned = self.config.position_embedding == "learned"
    if learned and not self.config.recurs:
      # Weak at first: a token is to be found again wherever it stands.
      near = nn.initializers.normal(0.1)
      x += self.param("position", near, (tokens.shape[1], D))
    if learned and self.config.encoder == "full":
      x += sinusoids(jnp.arange(tokens.shape[0]), D)[:, None]
    return x.astype(self.config.dtype)


class Encoder(nn.Module):
  """Embedding and the layers before the memory read."""

  config: ModelConfig

  @nn.compact
  def __call__(self, tokens: Array, valid: Array, train: bool) -> Array:
    """Ids [N, T] and valid [N, T] to [N, T, D]."""
    x = Embedding(self.config, name="embedding")(tokens)
    if self.config.conv_kernel_size:
      x = Convolution(self.config, name="convolution")(x, valid)
    return Stack(self.config, self.config.num_layers, name="layers")(
      x, valid, train
    )


def _identity(key, shape, dtype=jnp.float32):
  del key
  return jnp.eye(*shape, dtype=dtype)


class MemoryInterface(nn.Module):
  """What a chunk asks the memory for, and what it offers to it.

  Each of the K candidates pools the chunk's tokens by a learned query.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array) -> tuple[Array, Array, Array]:
    """[N, T, D] to queries [N, T, D], candidates [N, K, D], age biases [N]."""
    D, K = x.shape[-1], self.config.num_candidates
    x = nn.LayerNorm(name="norm")(x.astype(jnp.float32))
    unit = nn.LayerNorm(use_scale=False, use_bias=False)
    # One space at first: a token finds the slots whose chunks have it, long
    # before queries and contents could be learned from each other.
    dense = functools.partial(nn.Dense, D, kernel_init=_identity)
    query = unit(dense(use_bias=False, name="query")(x))
    query *= self.config.query_norm * D**-0.5
    pool = self.param("pool", nn.initializers.normal(1.0), (K, D))
    # Projected are the few pools and what they gather, not all the tokens.
    pool = nn.Dense(D, use_bias=False, name="key")(pool)
    logits = jnp.einsum("kd,ntd->nkt", pool, x) * D**-0.5
    logits = jnp.where(valid[:, None], logits, -1e9)
    pooled = dense(name="value")(jax.nn.softmax(logits, axis=-1) @ x)
    # Contents of one norm: a read compares directions, strength is apart.
    content = unit(pooled)
    # Little at first: if the newest can be told by its age alone, nothing
    # teaches to forget what it replaced.
    bias = self.param("age_bias", nn.initializers.constant(-1.0), ())
    return query, content, jnp.broadcast_to(jax.nn.softplus(bias), (len(x),))


def with_positions(state: MemoryState) -> MemoryState:
  """The same slots, with their place in time beside their content: [M, 2*D].

  Places are how many slots are younger, as sinusoids: not ages, which in longer
  texts are others than in training.
  """
  younger = (state.age < state.age[:, None]) & state.alive
  place = sinusoids(younger.sum(1), state.content.shape[-1])
  return state.replace(content=jnp.concatenate([state.content, place], axis=1))


class Reading(NamedTuple):
  """What one chunk read, and from which memory."""

  state: MemoryState
  age_bias: Array  # []
  weights: Array  # [T, M], see read_weights


class ReadHop(nn.Module):
  """A further read of one chunk, by a query made of what was read before.

  It may ask for a time, too: for what came before, or after, what was read; and
  it may follow the links to what came just before or just after.
  """

  config: ModelConfig

  @nn.compact
  def __call__(
    self, x: Array, before: Reading, valid: Array, train: bool
  ) -> tuple[Array, Reading]:
    """x [1, T, D], the read before it and valid [1, T] to x and this read."""
    c, D, state = self.config, x.shape[-1], with_positions(before.state)
    x = Stack(c, 1, name="layers")(x, valid, train)
    h = nn.LayerNorm(name="norm")(x[0].astype(jnp.float32))
    content, when = jnp.split(before.weights @ state.content, 2, axis=-1)
    # What was read is in the space of the contents: at first it finds those
    # that have something in common with it, whenever they were.
    zeros = nn.initializers.zeros
    dense = functools.partial(nn.Dense, D, use_bias=False)
    query = dense(kernel_init=_identity, name="chain")(content)
    query += dense(name="query")(h)
    unit = nn.LayerNorm(use_scale=False, use_bias=False)
    query = unit(query) * c.query_norm * D**-0.5
    when = jnp.concatenate([h, when], axis=-1)
    when = dense(kernel_init=zeros, name="when")(when)
    # A read scales by the width, which is twice that of the contents here.
    query = jnp.concatenate([query, when], axis=-1) * 2**0.5
    # What came just before or after has links of its own: three numbers find
    # it, where `when` has to learn the turn from each place to the next.
    links = temporal_links(state)
    near = [before.weights @ link for link in (links, links.T)]
    near = jnp.stack([*near, before.weights], axis=-1)
    steer = nn.Dense(3, kernel_init=zeros, name="steer")(h)
    weights = read_weights(
      state,
      query,
      age_bias=before.age_bias,
      bias=(near * steer[:, None]).sum(-1),
    )
    weights = jnp.where(valid[0][:, None], weights, 0.0)
    found = (weights @ state.content)[None]
    x += dense(dtype=x.dtype, name="read")(found.astype(x.dtype))
    return x, before._replace(weights=weights)


class Decoder(nn.Module):
  """Adds what was read, reads on, then the layers after the reads."""

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
    """x, read [N, T, D] and valid [N, T] to [N, T, D] f32; read None: none.

    For reads after the first, N is 1, and `first` is that one.
    """
    c, D = self.config, x.shape[-1]
    if read is not None:
      dense = nn.Dense(D, use_bias=False, dtype=x.dtype, name="read")
      x = x + dense(read.astype(x.dtype))
    if first is not None:
      reading = first
      for i in range(1, c.num_hops):
        x, reading = ReadHop(c, name=f"read_{i}")(x, reading, valid, train)
    x = Stack(c, c.num_layers_after, name="layers")(x, valid, train)
    x = nn.LayerNorm(name="norm")(x.astype(jnp.float32))
    return nn.Dense(D, name="out")(x)


class Head(nn.Module):
  """A two-layer perceptron with a linear path: [..., D] -> logits [..., C].

  The linear path lets a similarity of two texts be learned within few steps.
  """

  num_classes: int
  hidden: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[..., D] to [..., C]."""
    h = nn.gelu(nn.Dense(self.hidden, name="hidden")(x))
    linear = nn.Dense(self.num_classes, use_bias=False, name="linear")
    return linear(x) + nn.Dense(self.num_classes, name="logits")(h)


def mean_pool(x: Array, weights: Array) -> Array:
  """Weighted mean of tokens or slots: [N, T, D], [N, T] -> [D]."""
  weights = weights.astype(jnp.float32)
  # A `where`, since what has no weight may be anything.
  total = jnp.where(weights[..., None] > 0, x * weights[..., None], 0.0)
  return total.sum((0, 1)) / jnp.maximum(weights.sum(), 1e-6)


def pair_features(x1: Array, x2: Array) -> Array:
  """[..., D] twice -> [..., 4*D]: x1, x2, x1*x2, x1-x2.

  Source: the "NLI" interaction of google-research/long-range-arena.
  """
  x1, x2 = jnp.broadcast_arrays(x1, x2)
  return jnp.concatenate([x1, x2, x1 * x2, x1 - x2], axis=-1)
