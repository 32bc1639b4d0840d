"""Errors by task, for data sets whose examples name their task."""

from collections.abc import Iterable, Mapping

import numpy as np

from nema_lc_jax.runs.summary import Summary

# The share of wrong answers above which a task is failed (Weston et al. 2015).
FAILED = 0.05


def errors(correct: np.ndarray, tasks: np.ndarray) -> dict[str, float]:
  """The share of wrong answers of each task, by its number as a string.

  Args:
    correct: [n], share of correct answers of each example.
    tasks: [n], number of the task of each example.
  """
  return {
    str(task): float(np.mean(1 - correct[tasks == task]))
    for task in np.unique(tasks)
  }


def means(summaries: Iterable[Summary]) -> dict[str, float]:
  """The mean error of each task over the runs that have it, by task."""
  collected: dict[str, list[float]] = {}
  for summary in summaries:
    for task, error in (summary.test_error_by_task or {}).items():
      collected.setdefault(task, []).append(error)
  return {
    task: float(np.mean(collected[task])) for task in sorted(collected, key=int)
  }


def summed_up(errors: Mapping[str, float]) -> dict[str, float]:
  """The mean over tasks of `errors`, and the number of failed tasks."""
  return {
    "mean_error": float(np.mean(list(errors.values()))),
    "failed_tasks": float(len(failed(errors))),
  }


def failed(errors: Mapping[str, float]) -> list[str]:
  """The tasks with an error above 5%."""
  return [task for task, error in errors.items() if error > FAILED]


def line(errors: Mapping[str, float]) -> str:
  """The line that a run prints of its `errors`."""
  each = ", ".join(f"{task}: {error:.1%}" for task, error in errors.items())
  return f"error by task {each}; {verdict(errors)}"


def verdict(errors: Mapping[str, float]) -> str:
  """The mean of `errors` and the failed tasks, in words."""
  above = failed(errors)
  return (
    f"mean {summed_up(errors)['mean_error']:.1%}; above {FAILED:.0%}, failed:"
    f" {len(above)} of {len(errors)} ({', '.join(above) or 'none'})"
  )
