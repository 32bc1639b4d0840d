"""Linen modules as pure functions of explicit parameters.

A module bound to its parameters would leak tracers inside jax.lax.scan.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array, Params


def init(module: nn.Module, key: Array, *args: Any) -> Params:
  """Initial parameters of `module` for arguments of these shapes."""
  return module.init(key, *args)["params"]


def apply(
  module: nn.Module, params: Params, *args: Any, key: Array | None = None
) -> Any:
  """The output of `module` with `params`; `key` is for dropout."""
  rngs = {} if key is None else {"dropout": key}
  return module.apply({"params": params}, *args, rngs=rngs)


def checkpointed_map(
  f: Callable[..., Any], key: Array, *chunks: Any, size: int
) -> Any:
  """Applies `f` to chunks on a leading axis N, `size` chunks at a time.

  The backward pass recomputes `f`, so that intermediate values are stored for
  at most `size` chunks.

  Args:
    f: maps a key and `chunks` of n rows to a pytree of n rows, each row
      independent of the others.
    key: for dropout; chunk n uses fold_in(key, n) unless all run at once.
    *chunks: pytrees, leaves [N, ...].
    size: chunks at a time; 0, or at least N: all at once, and no recomputation.
  """
  rows = len(jax.tree.leaves(chunks)[0])
  if not size or rows <= size:
    return f(key, *chunks)

  def one(inputs):
    index, chunk = inputs
    row = jax.tree.map(lambda x: x[None], chunk)
    output = f(jax.random.fold_in(key, index), *row)
    return jax.tree.map(lambda x: x[0], output)

  checkpointed = jax.checkpoint(one, prevent_cse=False)
  # Without a batch size for single chunks: grouping would transpose the batch.
  batch_size = None if size == 1 else size
  inputs = jnp.arange(rows), chunks
  return jax.lax.map(checkpointed, inputs, batch_size=batch_size)
