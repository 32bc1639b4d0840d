"""Errors by task, for data sets whose examples say of which task they are."""

from collections.abc import Iterable, Mapping

import numpy as np

from nema_lc_jax.runs.summary import Summary

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


def means(summaries: Iterable[Summary]) -> dict[str, float]:
  """The mean error of each task over the runs that have it, in order."""
  found: dict[str, list[float]] = {}
  for summary in summaries:
    for task, error in (summary.test_error_by_task or {}).items():
      found.setdefault(task, []).append(error)
  return {task: float(np.mean(found[task])) for task in sorted(found, key=int)}


def summed_up(found: Mapping[str, float]) -> dict[str, float]:
  """Means over tasks, which all count the same, from `errors`."""
  return {
    "mean_error": float(np.mean(list(found.values()))),
    "failed_tasks": float(len(failed(found))),
  }


def failed(found: Mapping[str, float]) -> list[str]:
  """The tasks with an error above 5%."""
  return [task for task, error in found.items() if error > FAILED]


def line(found: Mapping[str, float]) -> str:
  """What to print of `errors`."""
  each = ", ".join(f"{task}: {error:.1%}" for task, error in found.items())
  return f"error by task {each}; {verdict(found)}"


def verdict(found: Mapping[str, float]) -> str:
  """The mean of `errors`, and the tasks that are failed."""
  over = failed(found)
  return (
    f"mean {summed_up(found)['mean_error']:.1%}; above {FAILED:.0%}, failed:"
    f" {len(over)} of {len(found)} ({', '.join(over) or 'none'})"
  )
