"""The memory core: pure functions over immutable pytrees.

It imports only jax, chex and flax.struct. Read `types.py` first.
"""

from nema_lc_jax.memory.allocator import allocate, commit
from nema_lc_jax.memory.provenance import Provenance, no_provenance, track
from nema_lc_jax.memory.state import (
  init_state,
  read,
  read_bias,
  read_weights,
  temporal_links,
)
from nema_lc_jax.memory.step import (
  memory_step,
  scan_chunks,
  truncate_gradient,
)
from nema_lc_jax.memory.types import (
  FORGET,
  FRESH_USAGE,
  RETAIN,
  STRENGTH_FLOOR,
  UPDATE,
  Allocation,
  Candidates,
  Chunk,
  GroundTruth,
  MemoryState,
  Policy,
  Scores,
  StepOutput,
  Updates,
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
  "GroundTruth",
  "MemoryState",
  "Policy",
  "Provenance",
  "Scores",
  "StepOutput",
  "Updates",
  "allocate",
  "commit",
  "decayed_usage",
  "init_state",
  "memory_step",
  "no_provenance",
  "read",
  "read_bias",
  "read_weights",
  "scan_chunks",
  "temporal_links",
  "track",
  "truncate_gradient",
]
