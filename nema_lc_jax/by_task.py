"""Prints the error of each task by policy, as a Markdown table.

This is the usual table of bAbI, from finished runs of single tasks or of all
tasks jointly. Errors are means over runs; the lines below the table give the
mean over tasks and the tasks with an error above 5%.
"""

import sys
from collections.abc import Sequence

from nema_lc_jax.plotting.by_task import table
from nema_lc_jax.runs.by_task import means, verdict
from nema_lc_jax.runs.command_line import Parser, run_command
from nema_lc_jax.runs.summary import Summary, read_summary

EXAMPLES = """\
  python -m nema_lc_jax.by_task runs/babi-[0-9]*
      all runs of single tasks
  python -m nema_lc_jax.by_task runs/babi-joint-* --published
      runs of all tasks jointly, beside published results
"""


def _groups(
  runs: Sequence[str], published: bool
) -> dict[str, dict[str, float]]:
  """Errors by task, for each policy."""
  summaries: dict[str, list[Summary]] = {}
  for run in runs:
    summary = read_summary(run)
    if not summary.test_error_by_task:
      raise ValueError(f"{run} has no errors by task")
    if published and summary.task != "babi":
      raise ValueError(f"--published is for bAbI; {run} is no run of it")
    summaries.setdefault(summary.policy, []).append(summary)
  groups = {policy: means(group) for policy, group in summaries.items()}
  if len({tuple(group) for group in groups.values()}) > 1:
    each = "; ".join(f"{name}: {', '.join(g)}" for name, g in groups.items())
    raise ValueError(f"policies must have runs of the same tasks; got {each}")
  return groups


def make_parser() -> Parser:
  """The parser of the flags."""
  parser = Parser("nema_lc_jax.by_task", __doc__, EXAMPLES)
  parser.add_argument(
    "runs", nargs="+", metavar="RUN", help="folders of finished runs"
  )
  parser.add_argument(
    "--published",
    action="store_true",
    help="add columns of published results, each of one model for all 20 tasks"
    " of bAbI; their means are over the tasks of these runs",
  )
  return parser


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  groups = _groups(args.runs, args.published)
  print(table(groups, published=args.published), end="\n\n")
  for policy, errors in groups.items():
    print(f"{policy}: {verdict(errors)}")


def main(argv: Sequence[str] | None = None) -> int:
  """Prints a table of runs, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
