"""Generation: tokens that are drawn one after another, as pure functions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models.ranges import real, whole
from nema_lc_jax.stream.core import Streaming, StreamState

PADDING = 0
TEMPERATURE = 0.8  # by default


def require_options(
  length: int, temperature: float, top_p: float, seed: int
) -> None:
  """Raises ConfigError, in one line, on an option out of its range."""
  for name, allowed, value in (
    ("length", whole(1), length),
    ("temperature", real(0), temperature),
    ("top_p", real(0, 1, above=True), top_p),
    ("seed", whole(0), seed),
  ):
    try:
      allowed.require(name, value)
    except ValueError as error:
      raise ConfigError(str(error)) from None


def sample(
  key: Array, logits: Array, temperature: Array, top_p: Array
) -> Array:
  """Draws a token from the most probable ones.

  Args:
    key: of the draw.
    logits: [C]; the token of padding, 0, is never drawn.
    temperature: [] at least 0; 0: the most probable token.
    top_p: [] above 0; the fewest tokens whose probabilities add up to at least
      this are drawn from. Source: Holtzman et al. 2020, "The Curious Case of
      Neural Text Degeneration".

  Returns:
    [] int32.
  """
  logits = logits.astype(jnp.float32).at[PADDING].set(-jnp.inf)
  best = logits.argmax()
  scaled = logits / jnp.maximum(temperature, 1e-6)
  order = jnp.argsort(-scaled)
  probabilities = jax.nn.softmax(scaled)[order]
  before = jnp.cumsum(probabilities) - probabilities
  kept = jnp.where(before < top_p, scaled[order], -jnp.inf)
  drawn = order[jax.random.categorical(key, kept)]
  return jnp.where(temperature > 0, drawn, best).astype(jnp.int32)


def make_generator(
  stream: Streaming, count: int
) -> Callable[..., tuple[StreamState, Array]]:
  """Makes a function that continues a text by `count` tokens.

  generate(params, state, key, temperature, top_p) -> (state, tokens [count])
    Each token is drawn by `sample` and appended to the text. The cost of a
    token does not depend on the length of the text.

  Args:
    stream: of a model with the head causal_lm.
    count: tokens (static).
  """

  def generate(
    params: Params, state: StreamState, key: Array, temperature, top_p
  ) -> tuple[StreamState, Array]:
    def body(state, key):
      logits = stream.answer(params, state)
      token = sample(key, logits, temperature, top_p)
      return stream.push(params, state, token[None]), token

    return jax.lax.scan(body, state, jax.random.split(key, count))

  return generate
