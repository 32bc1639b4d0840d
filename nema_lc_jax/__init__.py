"""NeMA-LC in JAX: a Transformer memory whose slots' life is learned.

The memory core is `nema_lc_jax.memory`. Everything here loads on first use.
"""

import importlib

from nema_lc_jax.version import __version__

_LAZY = {
  "build_model": "nema_lc_jax.models",
  "make_policy": "nema_lc_jax.models",
} | dict.fromkeys(
  (
    "Candidates",
    "Chunk",
    "MemoryState",
    "Policy",
    "allocate",
    "commit",
    "init_state",
    "memory_step",
    "read",
    "scan_chunks",
  ),
  "nema_lc_jax.memory",
)

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str):
  """Loads what is asked for, and not before."""
  if name not in _LAZY:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *_LAZY})
