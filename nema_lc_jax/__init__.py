"""NeMA-LC in JAX: a Transformer with a slot memory whose lifecycle is learned.

The memory core is `nema_lc_jax.memory`. All names here load on first use.
"""

import importlib
import sys

from nema_lc_jax.version import __version__

# While Python looks for the module of `python -m nema_lc_jax.NAME`, and nothing
# else is imported yet, that is its argument 0.
if sys.argv[:1] == ["-m"]:
  from nema_lc_jax.runs import process

  process.begin()

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
  if name not in _LAZY:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *_LAZY})
