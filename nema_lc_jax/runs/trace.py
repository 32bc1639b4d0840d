"""The memory trace of a run: the state of all slots over one text."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Legend entries of the codes of `Trace.operation`.
OPERATIONS = (
  "free",
  "retained",
  "updated",
  "forgotten",
  "written",
  "replaced",
  "forgotten, rewritten",
)

FREE, RETAINED, UPDATED, FORGOTTEN, WRITTEN, REPLACED, RENEWED = range(7)

# Codes of `Trace.ground_truth`.
FACT, ASKED = 1, 2

# Names of arrays in traces of older runs.
OLD_NAMES = {"strength": "alive", "ground_truth": "truth"}


class Trace(NamedTuple):
  """The memory over one text of N steps; M slots."""

  # A code of OPERATIONS.
  operation: np.ndarray  # [N, M]
  # Strength after the step; 0 where the slot is free.
  strength: np.ndarray  # [N, M]
  # Read mass that the slot received in the step.
  attention: np.ndarray  # [N, M]
  # FACT where the chunk held a fact, ASKED where it held the one asked for.
  ground_truth: np.ndarray | None = None  # [N]


def read_trace(path: Path) -> Trace:
  """Reads memory_trace.npz; ValueError on a missing or misshapen array."""
  with np.load(path) as file:
    arrays = {
      name: file[saved]
      for name in Trace._fields
      for saved in (name, OLD_NAMES.get(name))
      if saved in file
    }
  for name in ("operation", "strength", "attention"):
    if name not in arrays:
      raise ValueError(f"{path} lacks the array {name!r}")
    if arrays[name].shape != arrays["operation"].shape:
      raise ValueError(f"{path}: {name!r} and 'operation' differ in shape")
  return Trace(**arrays)


def operations(steps: Any, strength: np.ndarray) -> np.ndarray:
  """A code of OPERATIONS for each step and slot [N, M].

  RENEWED: the slot was forgotten by decision and written in the same step.
  REPLACED: a write evicted its item.

  Args:
    steps: a StepOutput of one text, leaves [N, ...].
    strength: [N, M], after each step.
  """
  conditions = {
    REPLACED: steps.allocation.evict,
    RENEWED: steps.allocation.forget & (steps.allocation.source >= 0),
    WRITTEN: steps.allocation.source >= 0,
    FORGOTTEN: steps.allocation.forget,
    UPDATED: steps.allocation.update,
    RETAINED: strength > 0,
  }
  return np.select([*conditions.values()], [*conditions], FREE).astype(np.int8)
