"""The command line of the plots."""

import argparse
import sys
from collections.abc import Sequence

from nema_lc_jax.plotting import compare, plot_run
from nema_lc_jax.plotting.published import TASKS

DESCRIPTION = """\
Draws the figures of a training run, or of several runs against each other, as
PNG and PDF. It reads what training left in a run's folder: metrics.jsonl, and,
once the run has finished, summary.json and memory_trace.npz.
"""
EXAMPLES = """\
examples:
  python -m nema_lc_jax.plotting --workdir runs/learned_0
      redraws runs/learned_0/plots; also works while the run is training
  python -m nema_lc_jax.plotting --compare runs/fifo_* runs/learned_* --out fig
      groups finished runs by policy, and those without slots by encoder, with
      a 95% t interval over seeds, and writes figures and compare.csv into fig;
      all runs must have seen the same task and data
  python -m nema_lc_jax.plotting --compare runs/aan-* --published
      also published.tex, the runs beside published numbers of Long Range Arena
"""


def make_parser() -> argparse.ArgumentParser:
  """The flags; `--workdir` or `--compare` is required."""
  parser = argparse.ArgumentParser(
    prog="python -m nema_lc_jax.plotting",
    description=DESCRIPTION,
    epilog=EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument(
    "--workdir", metavar="DIR", help="the run to draw, into DIR/plots"
  )
  what.add_argument(
    "--compare", metavar="DIR", nargs="+", help="finished runs to compare"
  )
  parser.add_argument(
    "--published",
    metavar="TASK",
    nargs="?",
    const="auto",
    choices=("auto", *TASKS),
    help="with --compare, a LaTeX table of the runs beside published numbers of"
    f" Long Range Arena: {', '.join(TASKS)}; by default the runs' own task",
  )
  parser.add_argument(
    "--out",
    metavar="DIR",
    help="where --compare writes (default: ./plots_compare)",
  )
  return parser


def main(argv: Sequence[str] | None = None) -> int:
  """Draws, and returns the exit code: 2 after a user's mistake."""
  parser = make_parser()
  args = parser.parse_args(argv)
  if args.workdir and args.out:
    parser.error("--out goes with --compare; --workdir writes into DIR/plots")
  if args.workdir and args.published is not None:
    parser.error("--published goes with --compare")
  try:
    if args.workdir:
      written = plot_run(args.workdir)
    else:
      out = args.out or "plots_compare"
      written = compare(args.compare, out, published=args.published)
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(f"wrote {len(written)} files to {written[0].parent}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
