"""Draws the figures of a run, or of several against each other, as PNG and PDF.

It reads what training left in a run's folder: metrics.jsonl, and, once the run
has finished, summary.json and memory_trace.npz.
"""

import sys
from collections.abc import Sequence

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.plotting import compare, plot_run
from nema_lc_jax.plotting.published import TASKS
from nema_lc_jax.runs.command_line import Parser, run_command

EXAMPLES = """\
  python -m nema_lc_jax.plotting --workdir runs/learned_0
      redraws runs/learned_0/plots; also works while the run is training
  python -m nema_lc_jax.plotting --compare runs/fifo_* runs/learned_* --out fig
      groups finished runs by policy, and those without slots by encoder, with
      a 95% t interval over seeds, and writes figures and compare.csv into fig;
      all runs must have seen the same task and data
  python -m nema_lc_jax.plotting --compare runs/aan-* --published
      also published.tex, the runs beside published numbers of Long Range Arena
"""


def make_parser() -> Parser:
  """The flags; `--workdir` or `--compare` is required."""
  parser = Parser("nema_lc_jax.plotting", __doc__, EXAMPLES)
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


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  if args.workdir and args.out:
    raise ConfigError(
      "--out goes with --compare; --workdir writes into DIR/plots."
    )
  if args.workdir and args.published is not None:
    raise ConfigError("--published goes with --compare.")
  if args.workdir:
    written = plot_run(args.workdir)
  else:
    out = args.out or "plots_compare"
    written = compare(args.compare, out, published=args.published)
  print(f"wrote {len(written)} files to {written[0].parent}")


def main(argv: Sequence[str] | None = None) -> int:
  """Draws, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
