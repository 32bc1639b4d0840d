"""The memory core: pure functions over immutable pytrees.

Depends on jax, chex and flax.struct alone. Read `types.py` first.
"""

from nema_lc_jax.memory.allocator import allocate, commit
from nema_lc_jax.memory.state import (
  init_state,
  log_strength,
  next_older,
  read,
  read_weights,
)
from nema_lc_jax.memory.step import memory_step, scan_chunks
from nema_lc_jax.memory.types import (
  FORGET,
  FRESH_USAGE,
  RETAIN,
  STRENGTH_FLOOR,
  UPDATE,
  Allocation,
  Candidates,
  Chunk,
  MemoryState,
  Policy,
  Scores,
  StepOutput,
  Truth,
  decayed_usage,
)

__all__ = [
  "FORGET",
  "FRESH_USAGE",
  "RETAIN",
  "STRENGTH_FLOOR",
  "UPDATE",
  "Allocation",
  "Candidates",
  "Chunk",
  "MemoryState",
  "Policy",
  "Scores",
  "StepOutput",
  "Truth",
  "allocate",
  "commit",
  "decayed_usage",
  "init_state",
  "log_strength",
  "memory_step",
  "next_older",
  "read",
  "read_weights",
  "scan_chunks",
]
