"""Draws the figures of one run, or compares several, as PNG and PDF.

It reads metrics.jsonl from the folder of a run and, of a finished run,
summary.json and memory_trace.npz.
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
      groups finished runs by policy, or by encoder if they have no slots;
      writes figures with 95% t intervals over seeds, and compare.csv, into fig;
      all runs must have the same task and data
  python -m nema_lc_jax.plotting --compare runs/aan-* --published
      also writes published.tex, with published results of Long Range Arena
"""


def make_parser() -> Parser:
  """The flags; `--workdir` or `--compare` is required."""
  parser = Parser("nema_lc_jax.plotting", __doc__, EXAMPLES)
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument(
    "--workdir", metavar="DIR", help="run to draw, into DIR/plots"
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
    help="with --compare, also a LaTeX table with published results of Long"
    f" Range Arena: {', '.join(TASKS)}; by default those of the runs' task",
  )
  parser.add_argument(
    "--out",
    metavar="DIR",
    help="output folder of --compare; default: plots_compare",
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
