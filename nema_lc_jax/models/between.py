"""What encoders without slots pass from chunk to chunk."""

from collections.abc import Callable
from typing import NamedTuple

from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import pure
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.linear_memory import RULES, LinearMemory
from nema_lc_jax.models.recurrent import (
  RecurrentChunk,
  init_recurrent,
  scan_recurrent,
)


class Between(NamedTuple):
  """A part of a model that knows of all chunks so far, as pure functions.

  init(key, x, valid) -> params
    For chunks x [N, T, D] with the mask valid [N, T].

  apply(params, key, x, valid, train) -> (x, read)
    The chunks, changed or not, and what their tokens read [N, T, D], or None.
  """

  init: Callable[[Array, Array, Array], Params]
  apply: Callable[..., tuple[Array, Array | None]]


def between_chunks(c: ModelConfig) -> Between | None:
  """That of `c.encoder`; None if it has none of its own, or slots."""
  if c.encoder == "recurrent":
    chunk = RecurrentChunk(c)
    return Between(
      lambda key, x, valid: init_recurrent(chunk, key, x, valid),
      lambda params, *args: (scan_recurrent(chunk, params, *args), None),
    )
  if c.encoder in RULES:
    module = LinearMemory(c)
    return Between(
      lambda key, x, valid: pure.init(module, key, x, valid, False),
      lambda params, key, x, valid, train: (
        x,
        pure.apply(module, params, x, valid, train, key=key),
      ),
    )
  return None
