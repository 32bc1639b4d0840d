"""Linen modules as pure functions of explicit parameters.

A module bound to its parameters would leak tracers inside a raw jax.lax.scan.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array, Params


def init(module: nn.Module, key: Array, *args: Any) -> Params:
  """The parameters of `module` for arguments like these."""
  return module.init(key, *args)["params"]


def call(
  module: nn.Module, params: Params, *args: Any, key: Array | None = None
) -> Any:
  """`module` on `params` and arguments; `key` is for dropout."""
  rngs = {} if key is None else {"dropout": key}
  return module.apply({"params": params}, *args, rngs=rngs)


def checkpointed_map(
  f: Callable[..., Any], key: Array, *chunks: Any, size: int
) -> Any:
  """`f` over chunks on a leading axis N, `size` of them at a time.

  What `f` computes on the way is computed again in the backward pass, so that
  never more of it is kept than of `size` chunks.

  Args:
    f: of a key and `chunks` of n rows, each on its own, to a pytree of n rows.
    key: for dropout; in turns, row n draws from fold_in(key, n).
    *chunks: pytrees, leaves [N, ...].
    size: the most chunks at once; 0: all, and nothing is computed again.
  """
  rows = len(jax.tree.leaves(chunks)[0])
  if not size or rows <= size:
    return f(key, *chunks)

  def turn(numbered):
    number, chunk = numbered
    one = jax.tree.map(lambda x: x[None], chunk)
    made = f(jax.random.fold_in(key, number), *one)
    return jax.tree.map(lambda x: x[0], made)

  again = jax.checkpoint(turn, prevent_cse=False)
  # In ones apart: cutting into groups would transpose what is batched.
  group = None if size == 1 else size
  return jax.lax.map(again, (jnp.arange(rows), chunks), batch_size=group)
