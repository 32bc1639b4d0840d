"""Errors by task, for data sets whose examples say of which task they are.

python -m nema_lc_jax.by_task RUN [RUN ...] [--published]

The usual table of bAbI from finished runs of single tasks, or of all jointly,
and beside it what others have published.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nema_lc_jax import markdown
from nema_lc_jax.errors import one_line

# The share of wrong answers above which a task is failed (Weston et al. 2015).
FAILED = 0.05

# Errors in %, task by task, of one model for all 20 tasks (10,000 questions
# each), means over several runs; and how many tasks a run fails in the mean.
# Franke et al. 2018 (arXiv:1807.02658; github.com/JoergFranke/ADNC), who name
# the others; LSTM is of Graves et al. 2016, from github.com/willsq/tf-DNC.
MODELS = ("LSTM", "DNC", "EntNet", "SDNC", "ADNC")
PUBLISHED = {
  "1": (28.4, 9.0, 0.0, 0.0, 0.1),
  "2": (56.0, 39.2, 15.3, 7.1, 0.8),
  "3": (51.3, 39.6, 29.3, 9.4, 6.5),
  "4": (0.8, 0.4, 0.1, 0.1, 0.0),
  "5": (3.2, 1.5, 0.4, 0.9, 1.0),
  "6": (15.2, 6.9, 0.6, 0.1, 0.0),
  "7": (16.4, 9.8, 1.8, 1.6, 1.0),
  "8": (17.7, 5.5, 1.5, 0.5, 0.2),
  "9": (15.4, 7.7, 0.0, 0.1, 0.0),
  "10": (28.7, 9.6, 0.1, 0.3, 0.1),
  "11": (12.2, 3.3, 0.2, 0.0, 0.0),
  "12": (5.4, 5.0, 0.0, 0.2, 0.0),
  "13": (7.2, 3.1, 0.0, 0.1, 0.0),
  "14": (55.9, 11.0, 7.3, 5.6, 0.2),
  "15": (47.0, 27.2, 3.6, 3.6, 0.1),
  "16": (53.3, 53.6, 53.3, 53.0, 52.1),
  "17": (34.8, 32.4, 8.8, 12.4, 18.5),
  "18": (5.0, 4.2, 1.3, 1.6, 1.1),
  "19": (90.9, 64.6, 70.4, 30.8, 43.3),
  "20": (1.3, 0.0, 0.0, 0.0, 0.1),
}
PUBLISHED_FAILED = (17.1, 11.2, 5.0, 4.1, 3.2)


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


def means(summaries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
  """The mean error of each task over the runs that have it, in order."""
  found: dict[str, list[float]] = {}
  for summary in summaries:
    for task, error in (summary.get("test_error_by_task") or {}).items():
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


def table(groups: Mapping[str, Mapping[str, float]], *, published: bool) -> str:
  """A Markdown table of `errors` by policy, and of others' work.

  Means are over the tasks that are found, others' too. How many tasks others
  failed is of all 20, as it was published.
  """
  tasks = list(next(iter(groups.values())))
  columns = {
    name: [
      *(f"{found[task]:.1%}" for task in tasks),
      f"{summed_up(found)['mean_error']:.1%}",
      f"{len(failed(found))} of {len(tasks)}",
    ]
    for name, found in groups.items()
  }
  if published:
    theirs = np.array([PUBLISHED[task] for task in tasks])
    for i, name in enumerate(MODELS):
      columns[f"{name}, published"] = [
        *(f"{error:.1f}%" for error in [*theirs[:, i], theirs[:, i].mean()]),
        f"{PUBLISHED_FAILED[i]} of {len(PUBLISHED)}",
      ]
  names = [*tasks, "mean", "failed"]
  rows = zip(names, *columns.values(), strict=True)
  return markdown.table(["task", *columns], list(rows))


def _groups(
  runs: Sequence[str], published: bool
) -> dict[str, dict[str, float]]:
  """Errors by task, and by policy."""
  found: dict[str, list[dict[str, Any]]] = {}
  for run in runs:
    path = Path(run) / "summary.json"
    if not path.exists():
      raise ValueError(f"{run} is no finished run: it has no {path.name}")
    summary = json.loads(path.read_text(encoding="utf-8"))
    if not summary.get("test_error_by_task"):
      raise ValueError(f"{run} has no errors by task")
    if published and summary["task"] != "babi":
      raise ValueError(f"--published is for bAbI; {run} is no run of it")
    found.setdefault(summary["policy"], []).append(summary)
  groups = {policy: means(summaries) for policy, summaries in found.items()}
  if len({tuple(group) for group in groups.values()}) > 1:
    each = "; ".join(f"{name}: {', '.join(g)}" for name, g in groups.items())
    raise ValueError(f"policies must have runs of the same tasks; got {each}")
  return groups


def main(argv: Sequence[str] | None = None) -> int:
  """Prints a table of runs; 2 is a user's mistake."""
  parser = argparse.ArgumentParser(
    prog="python -m nema_lc_jax.by_task",
    description="Prints the error of each task by policy, mean over the runs"
    " that have it, the mean over tasks, and which are above 5%, as Markdown.",
  )
  parser.add_argument("runs", nargs="+", help="folders of finished runs")
  parser.add_argument(
    "--published",
    action="store_true",
    help="with columns of what others published, of one model for all 20 tasks"
    " of bAbI; their means are of the tasks that these runs have",
  )
  args = parser.parse_args(argv)
  try:
    groups = _groups(args.runs, args.published)
  except (OSError, ValueError) as error:
    print(one_line(error), file=sys.stderr)
    return 2
  print(table(groups, published=args.published), end="\n\n")
  for policy, found in groups.items():
    print(f"{policy}: {verdict(found)}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
