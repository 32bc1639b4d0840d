"""Linen modules as pure functions of explicit parameters.

A module bound to its parameters would leak tracers inside a raw jax.lax.scan.
"""

from typing import Any

import flax.linen as nn

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
