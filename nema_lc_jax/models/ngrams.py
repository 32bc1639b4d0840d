"""Embeddings of hashed n-grams: what words mean, beside what a text says.

A table has no room for each n-gram that occurs, so they share its rows by a
hash, as in fastText (Bojanowski et al. 2017) and the Byte Latent Transformer
(Pagnoni et al. 2024). Engram (Cheng et al. 2026, arXiv:2601.07372) calls such a
table a conditional memory, and finds that it frees layers for what is far away.
"""

import flax.linen as nn
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array
from nema_lc_jax.models.config import ModelConfig

# Multipliers of the hash: odd, so that each is invertible modulo 2^32.
MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
# Smaller than that of tokens, which are what a read has to find.
SCALE = 0.1


def ngram_rows(tokens: Array, size: int, rows: int) -> Array:
  """The rows of the n-grams that end at each token, by a hash.

  Before the first token of a chunk there is padding, 0. Sizes have different
  hashes.

  Args:
    tokens: ids [..., T].
    size: tokens of an n-gram (static).
    rows: of the table (static).

  Returns:
    [..., T] int32 in [0, rows).
  """
  T = tokens.shape[-1]
  before = [(0, 0)] * (tokens.ndim - 1)
  code = jnp.full(tokens.shape, size, jnp.uint32)
  for ago in range(size):
    earlier = jnp.pad(tokens, [*before, (ago, 0)])[..., :T]
    code = (code ^ earlier.astype(jnp.uint32)) * jnp.uint32(MIX[0])
    code ^= code >> 15
  for multiplier in MIX[1:]:
    code = code * jnp.uint32(multiplier)
    code ^= code >> 13
  return (code % rows).astype(jnp.int32)


class NGrams(nn.Module):
  """The sum of the embeddings of all n-grams that end at a token."""

  config: ModelConfig

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Ids [N, T] -> [N, T, D] f32."""
    c = self.config
    # One table for all sizes: one gradient, and one update.
    table = self.param(
      "table",
      nn.initializers.normal(SCALE),
      (len(c.ngram_sizes), c.ngram_rows, c.width),
    )
    return sum(
      table[i, ngram_rows(tokens, size, c.ngram_rows)]
      for i, size in enumerate(c.ngram_sizes)
    )
