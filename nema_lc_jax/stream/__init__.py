"""Streaming inference: pure functions, saved states, export and a command.

python -m nema_lc_jax.stream --workdir RUN < FILE

`Stream`, which opens a run, is imported on first use.
"""

import importlib

from nema_lc_jax.stream.core import Streaming, StreamState, make_stream
from nema_lc_jax.stream.export import export
from nema_lc_jax.stream.files import load, save

__all__ = [
  "Stream",
  "StreamState",
  "Streaming",
  "export",
  "load",
  "make_stream",
  "save",
]


def __getattr__(name: str):
  if name != "Stream":
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return importlib.import_module("nema_lc_jax.stream.run").Stream
