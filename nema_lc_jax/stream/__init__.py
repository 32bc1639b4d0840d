"""Texts without an end: pure functions, their states as files, a command.

python -m nema_lc_jax.stream --workdir RUN < FILE
"""

from nema_lc_jax.stream.core import Streaming, StreamState, make_stream
from nema_lc_jax.stream.export import export
from nema_lc_jax.stream.files import load, save
from nema_lc_jax.stream.run import Stream

__all__ = [
  "Stream",
  "StreamState",
  "Streaming",
  "export",
  "load",
  "make_stream",
  "save",
]
