"""The Recurrent Memory Transformer (Bulatov et al. 2022), as a baseline.

The same layers run on one chunk after another, each together with memory
tokens whose outputs are the memory tokens of the next chunk.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory import truncate_gradient
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import pure
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.encoder import Block


class RecurrentChunk(nn.Module):
  """All layers, applied to one chunk and its memory tokens.

  R read tokens before the chunk hold the memory. Their outputs are the next
  memory, unless attention is causal, so that they cannot see the chunk: then
  R write tokens, with the same inputs, follow the chunk and give the memory.
  """

  config: ModelConfig

  @nn.compact
  def __call__(
    self, memory: Array, x: Array, valid: Array, train: bool
  ) -> tuple[Array, Array]:
    """memory [R, D], x [T, D], valid [T] -> the next memory, and [T, D]."""
    c, R = self.config, memory.shape[0]
    read_tokens = memory.astype(x.dtype)
    write_tokens = [read_tokens] if c.causal else []
    h = jnp.concatenate([read_tokens, x, *write_tokens])
    pad = R, R * len(write_tokens)
    valid = jnp.pad(valid, pad, constant_values=True)
    for i in range(c.num_layers + c.num_layers_after):
      h = Block(c, name=f"layer_{i}")(h, valid, train)
    written = h[-R:] if c.causal else h[:R]
    # Normalised, or the residual stream would grow from chunk to chunk.
    written = nn.LayerNorm(name="norm_memory")(written.astype(jnp.float32))
    return written, h[R : R + len(x)]


def init_recurrent(
  module: RecurrentChunk, key: Array, x: Array, valid: Array
) -> Params:
  """Initial parameters for `scan_recurrent`, from chunks [N, T, D], [N, T]."""
  keys = jax.random.split(key)
  # Scaled like the memory after a chunk, which is layer-normalised.
  start = jax.random.normal(keys[0], (module.config.num_slots, x.shape[-1]))
  chunk = pure.init(module, keys[1], start, x[0], valid[0], False)
  return {"start": start, "chunk": chunk}


def scan_recurrent(
  module: RecurrentChunk,
  params: Params,
  key: Array,
  x: Array,
  valid: Array,
  train: bool,
) -> Array:
  """Applies the layers to the chunks of one text, one after another.

  A chunk without a valid token leaves the memory as it is.

  Args:
    module: of one chunk (static).
    params: `chunk`, those of `module`, and `start`, the first memory [R, D].
    key: for dropout; chunk n uses fold_in(key, n).
    x: chunks [N, T, D].
    valid: mask of their tokens [N, T].
    train: static.

  Returns:
    The outputs of the chunks [N, T, D].
  """
  c = module.config

  def body(memory, inputs):
    index, x, valid = inputs
    memory = truncate_gradient(memory, index, c.bptt_chunks)
    chunk_key = jax.random.fold_in(key, index)
    run = functools.partial(pure.apply, module, params["chunk"], key=chunk_key)
    written, x = run(memory, x, valid, train)
    return jnp.where(valid.any(), written, memory), x

  if c.remat:
    body = jax.checkpoint(body, prevent_cse=False)
  indices = jnp.arange(len(x))
  return jax.lax.scan(body, params["start"], (indices, x, valid))[1]
