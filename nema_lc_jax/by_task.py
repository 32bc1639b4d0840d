"""Errors by task, for data sets whose examples say of which task they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# The share of wrong answers above which a task is failed (Weston et al. 2015).
FAILED = 0.05


def errors(right: np.ndarray, tasks: np.ndarray) -> dict[str, float]:
  """The share of wrong answers of each task, by its number in words.

  Args:
    right: share of right answers of each example [n].
    tasks: number of the task of each example [n].
  """
  return {
    str(task): float(np.mean(1 - right[tasks == task]))
    for task in np.unique(tasks)
  }


def summed_up(found: Mapping[str, float]) -> dict[str, float]:
  """Means over tasks, which all count the same, from `errors`."""
  return {
    "mean_error": float(np.mean(list(found.values()))),
    "failed_tasks": float(len(failed(found))),
  }


def failed(found: Mapping[str, float]) -> list[str]:
  """The tasks with an error above 5%."""
  return [task for task, error in found.items() if error > FAILED]


def line(summary: Mapping[str, Any]) -> str | None:
  """What to print of a summary; None where there are no tasks."""
  found = summary["test_error_by_task"]
  if found is None:
    return None
  each = ", ".join(f"{task}: {error:.1%}" for task, error in found.items())
  over = failed(found)
  return (
    f"error by task {each}; mean {summary['test_metrics']['mean_error']:.1%};"
    f" above {FAILED:.0%}, failed: {len(over)} of {len(found)}"
    f" ({', '.join(over) or 'none'})"
  )
