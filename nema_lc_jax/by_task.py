"""Errors by task, for data sets whose examples say of which task they are.

python -m nema_lc_jax.by_task RUN [RUN ...] [--published]

The usual table of bAbI from finished runs of single tasks, or of all jointly,
and beside it what others have published.
"""

import argparse
import sys
from collections.abc import Sequence

from nema_lc_jax.errors import one_line
from nema_lc_jax.plotting.by_task import table
from nema_lc_jax.runs.by_task import means, verdict
from nema_lc_jax.runs.summary import Summary, read_summary


def _groups(
  runs: Sequence[str], published: bool
) -> dict[str, dict[str, float]]:
  """Errors by task, and by policy."""
  found: dict[str, list[Summary]] = {}
  for run in runs:
    summary = read_summary(run)
    if not summary.test_error_by_task:
      raise ValueError(f"{run} has no errors by task")
    if published and summary.task != "babi":
      raise ValueError(f"--published is for bAbI; {run} is no run of it")
    found.setdefault(summary.policy, []).append(summary)
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
