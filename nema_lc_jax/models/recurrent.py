"""Recurrent memory tokens, for comparison with the slots.

The Recurrent Memory Transformer (Bulatov et al. 2022): the same layers read
one chunk after the other, with memory tokens beside it that carry on.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.encoder import Block
from nema_lc_jax.models.pure import call


class RecurrentChunk(nn.Module):
  """All layers over one chunk and its memory tokens.

  R tokens before the chunk hold the memory; what the layers make of them is
  the memory after it. Where no token may see those after it, these cannot know
  of the chunk: there R more after it, the same at first, are what is written.
  """

  config: ModelConfig

  @nn.compact
  def __call__(
    self, memory: Array, x: Array, valid: Array, train: bool
  ) -> tuple[Array, Array]:
    """Memory [R, D], x [T, D], valid [T] to the memory after, and [T, D]."""
    c, R = self.config, memory.shape[0]
    held = memory.astype(x.dtype)
    after = [held] if c.causal else []
    h = jnp.concatenate([held, x, *after])
    seen = jnp.pad(valid, (R, R * len(after)), constant_values=True)
    for i in range(c.num_layers + c.num_layers_after):
      h = Block(c, name=f"layer_{i}")(h, seen, train)
    written = h[-R:] if c.causal else h[:R]
    # Normalised, or a residual stream would grow from chunk to chunk.
    written = nn.LayerNorm(name="norm_memory")(written.astype(jnp.float32))
    return written, h[R : R + len(x)]


def scan_recurrent(
  module: RecurrentChunk,
  params: Params,
  key: Array,
  x: Array,
  valid: Array,
  *,
  train: bool,
) -> Array:
  """The layers over the chunks of one text, one after the other.

  A chunk without a valid token leaves the memory as it is.

  Args:
    module: what runs on each chunk (static).
    params: `chunk`, its parameters, and `start`, the first memory [R, D].
    key: for dropout; chunk n draws from fold_in(key, n).
    x: chunks [N, T, D].
    valid: of their tokens [N, T].
    train: static.

  Returns:
    [N, T, D].
  """
  c = module.config

  def body(memory, numbered):
    number, x, valid = numbered
    if c.bptt_chunks is not None:
      cut = number % c.bptt_chunks == 0
      memory = jnp.where(cut, jax.lax.stop_gradient(memory), memory)
    chunk_key = jax.random.fold_in(key, number)
    run = functools.partial(call, module, params["chunk"], key=chunk_key)
    written, x = run(memory, x, valid, train)
    return jnp.where(valid.any(), written, memory), x

  if c.remat:
    body = jax.checkpoint(body, prevent_cse=False)
  numbers = jnp.arange(len(x))
  return jax.lax.scan(body, params["start"], (numbers, x, valid))[1]
