"""Linear recurrences with a matrix as state, in place of the memory.

A chunk of T tokens is computed at once, from the state that the chunk before it
left. The state has num_slots * width numbers, like the contents of the slots.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory import truncate_gradient
from nema_lc_jax.memory.types import Array
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.ssm import log_steps

# Initial range of the rates of decays, as in Mamba-2 (Dao and Gu 2024): a token
# decays a state by exp(-rate * step).
RATES = (1.0, 16.0)
CONV_KERNEL_SIZE = 4  # of the delta rule's queries, keys and values
# A token writes to one in so many slots, as in Raven, but to at least two:
# their weights are normalised, and that of a single one has no gradient.
ROUTED_SHARE, ROUTED_AT_LEAST = 8, 2


def decays(log_decay: Array) -> tuple[Array, Array]:
  """Products of decays from the start of a chunk, and between its tokens.

  Args:
    log_decay: logarithms of each token's decay, [T, ...].

  Returns:
    from the start up to token t, itself included [T, ...]; and from token s to
    a later or the same token t [T, T, ...], 0 for an earlier one.
  """
  total = jnp.cumsum(log_decay, axis=0)
  between = total[:, None] - total[None]
  causal = jnp.tril(jnp.ones(between.shape[:2], bool))
  causal = jnp.expand_dims(causal, range(2, between.ndim))
  return jnp.exp(total), jnp.exp(jnp.where(causal, between, -jnp.inf))


def delta_rule(
  state: Array, q: Array, k: Array, v: Array, log_decay: Array, rate: Array
) -> tuple[Array, Array]:
  """The gated delta rule over one chunk.

  S_t = a_t (I - b_t k_t k_t^T) S_(t-1) + b_t k_t v_t^T, read as q_t^T S_t, with
  decay a and rate b. Source: Yang et al. 2024, "Gated Delta Networks".

  Args:
    state: [K, V].
    q: queries [T, K].
    k: keys of norm 1 [T, K].
    v: values [T, V].
    log_decay: [T], at most 0.
    rate: [T], between 0 and 1; 0 where nothing is written.

  Returns:
    the state after the chunk, and what each token reads [T, V].
  """
  start, between = decays(log_decay)
  # What each token adds to the state depends on what earlier ones have added.
  mixed = rate[:, None] * jnp.tril(between * (k @ k.T), -1)
  wanted = rate[:, None] * (v - start[:, None] * (k @ state))
  added = jax.scipy.linalg.solve_triangular(
    mixed, wanted, lower=True, unit_diagonal=True
  )
  read = start[:, None] * (q @ state) + (between * (q @ k.T)) @ added
  state = start[-1] * state + (k * between[-1][:, None]).T @ added
  return state, read


def routed_slots(
  state: Array, q: Array, k: Array, v: Array, log_decay: Array
) -> tuple[Array, Array]:
  """Slots of keys and values, each token writing to few of them; one chunk.

  A slot m becomes a_t[m] times itself plus 1 - a_t[m] times the token's key and
  value, and is read by a softmax over the products of query and keys. Source:
  Afzal et al. 2025, "Raven: High-Recall Sequence Modeling with Sparse Memory
  Routing".

  Args:
    state: keys and values of the slots [M, K + V].
    q: queries [T, K].
    k: keys [T, K].
    v: values [T, V].
    log_decay: [T, M], at most 0; 0 where a token does not write.

  Returns:
    the state after the chunk, and what each token reads [T, V].
  """
  K = k.shape[-1]
  start, between = decays(log_decay)
  share = between * (1.0 - jnp.exp(log_decay))  # [T, T, M]
  logits = start * (q @ state[:, :K].T)
  logits += jnp.einsum("tsm,ts->tm", share, q @ k.T)
  weights = nn.softmax(logits)
  read = (weights * start) @ state[:, K:]
  read += jnp.einsum("tm,tsm->ts", weights, share) @ v
  added = share[-1].T @ jnp.concatenate([k, v], axis=-1)
  return start[-1][:, None] * state + added, read


def _log_rates(key: Array, shape: tuple[int, ...]) -> Array:
  low, high = RATES
  return jnp.log(jax.random.uniform(key, shape, minval=low, maxval=high))


def _step_biases(key: Array, shape: tuple[int, ...]) -> Array:
  # The inverse of softplus.
  return jnp.log(jnp.expm1(jnp.exp(log_steps(key, shape))))


def _log_decay(module: nn.Module, x: Array) -> Array:
  """Logarithms of the decays of each head [N, T, H]."""
  H = module.config.num_heads
  rate = jnp.exp(module.param("log_rate", _log_rates, (H,)))
  bias = module.param("step_bias", _step_biases, (H,))
  return -rate * nn.softplus(nn.Dense(H, use_bias=False, name="step")(x) + bias)


def _heads(x: Array, H: int, *sizes: int) -> list[Array]:
  """Splits [N, T, H * sum(sizes)] into arrays [N, T, H, size]."""
  x = x.reshape(*x.shape[:-1], H, sum(sizes))
  return jnp.split(x, list(itertools.accumulate(sizes))[:-1], axis=-1)


class DeltaRule(nn.Module):
  """Inputs of `delta_rule` at the tokens of a text, for each head."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, train: bool) -> tuple[Array, ...]:
    """x [N, T, D] -> q, k, v, log_decay, rate, all [N, T, H, ...]."""
    del train
    H, K, V = self.config.num_heads, self.config.num_slots, x.shape[-1]
    V //= H
    h = nn.Dense(H * (2 * K + V), use_bias=False, name="qkv")(x)
    # A short causal convolution of each channel, within the chunk: across its
    # border it would carry more than the state.
    taps = self.param(
      "window",
      nn.initializers.variance_scaling(1.0, "fan_in", "normal"),
      (CONV_KERNEL_SIZE, h.shape[-1]),
    )
    T, before = h.shape[1], CONV_KERNEL_SIZE - 1
    padded = jnp.pad(h, ((0, 0), (before, 0), (0, 0)))
    h = sum(tap * padded[:, i : i + T] for i, tap in enumerate(taps))
    q, k, v = _heads(nn.silu(h), H, K, K, V)
    unit = lambda a: a * jax.lax.rsqrt((a * a).sum(-1, keepdims=True) + 1e-6)
    rate = nn.sigmoid(nn.Dense(H, use_bias=False, name="rate")(x))
    return unit(q), unit(k), v, _log_decay(self, x), rate


class RoutedSlots(nn.Module):
  """Inputs of `routed_slots` at the tokens of a text, for each head."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, train: bool) -> tuple[Array, ...]:
    """x [N, T, D] -> q, k, v [N, T, H, D/(2 H)], log_decay [N, T, H, M]."""
    H, M = self.config.num_heads, self.config.num_slots
    half = x.shape[-1] // (2 * H)
    h = nn.silu(nn.Dense(3 * H * half, use_bias=False, name="qkv")(x))
    q, k, v = _heads(h, H, half, half, half)
    q, k = nn.RMSNorm(name="norm_query")(q), nn.RMSNorm(name="norm_key")(k)
    (router,) = _heads(nn.Dense(H * M, use_bias=False, name="router")(x), H, M)
    if train:  # Exploration, as in Raven.
      router += jax.random.gumbel(self.make_rng("dropout"), router.shape)
    written = min(M, max(ROUTED_AT_LEAST, M // ROUTED_SHARE))
    _, slots = jax.lax.top_k(router, written)
    score = nn.sigmoid(router) * jax.nn.one_hot(slots, M).sum(-2)
    score /= score.sum(-1, keepdims=True) + 1e-9
    return q, k, v, _log_decay(self, x)[..., None] * score


RULES = {
  "delta": (DeltaRule, delta_rule),
  "routed": (RoutedSlots, routed_slots),
}


def initial_state(c: ModelConfig) -> Array:
  """The state before the first chunk, of all heads: M * D numbers."""
  return jnp.zeros((c.num_heads, c.num_slots, c.width // c.num_heads))


class LinearMemory(nn.Module):
  """A recurrence over all tokens of a text: encoders "delta" and "routed".

  Each of H heads has a state of its own, [M, D/H]: a matrix of the delta rule,
  or keys and values of M slots, half each. Padding leaves states as they are.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [N, T, D], valid [N, T] -> what each token reads [N, T, D] f32."""
    c, (N, T, _) = self.config, x.shape
    inputs, rule = RULES[c.encoder]
    x = nn.LayerNorm(name="norm")(x.astype(jnp.float32))
    x = jnp.where(valid[..., None], x, 0.0)
    q, k, v, *written = inputs(c, name=c.encoder)(x, train)
    # Where there is no token nothing decays, and nothing is written.
    here = lambda w: jnp.where(jnp.expand_dims(valid, range(2, w.ndim)), w, 0.0)
    chunks = q, k, v, *map(here, written)
    heads = jax.vmap(rule, (0, *[1] * len(chunks)), (0, 1))
    if c.remat_steps:
      heads = jax.checkpoint(heads, prevent_cse=False)

    def body(state, inputs):
      index, chunk = inputs
      return heads(truncate_gradient(state, index, c.bptt_chunks), *chunk)

    _, read = jax.lax.scan(body, initial_state(c), (jnp.arange(N), chunks))
    read = nn.RMSNorm(name="norm_read")(read).reshape(N, T, -1)
    return read * nn.silu(nn.Dense(read.shape[-1], name="gate")(x))
