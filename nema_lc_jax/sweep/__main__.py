"""Trains policies, encoders, seeds and settings, and draws up the result.

python -m nema_lc_jax.sweep --config=FILE[:VARIANT] --policies=fifo,learned \
    --seeds=5 [--encoders=full,ssm] [--grid 'config.memory.budget=1,2,4'] \
    [--ablate ...] [--jobs=2]

A sweep is a folder: runs/ holds each run as main would leave it, logs/ what it
printed, sweep.json the config that they share. The same command resumes it,
runs what is missing, and makes the tables and figures anew.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from nema_lc_jax.errors import ConfigError, RunError, one_line
from nema_lc_jax.models import BASELINES
from nema_lc_jax.runs import naming
from nema_lc_jax.runs.command_line import load_config
from nema_lc_jax.sweep import figures as figures
from nema_lc_jax.sweep import plan
from nema_lc_jax.sweep.run import Arguments, run

EPILOG = """\
examples:
  python -m nema_lc_jax.sweep --config=configs/lifecycle_lc.py:rebind \\
      --policies=none,fifo,lru,learned --seeds=5 --jobs=2
      every policy on seeds 0 to 4, two runs at a time
  ... --encoders=local,full,recurrent,ssm
      beside them, models without slots, whose mlp_ratio is set so that they
      have as many parameters as the memory model, within 10%
  ... --learning_rates=5e-4,1e-3,2e-3
      first finds each policy's best rate by validation accuracy, on a seed
      that is not among those of the result; on several by --tuning_seeds=3
  ... --grid 'config.memory.num_slots=2,4,8' --grid 'config.memory.budget=1,2'
      every combination, for every policy
  ... --policies=learned --ablate 'config.loss.write=0' \\
      --ablate 'config.memory.controller.ablate_input=age,usage'
      the config as it is, and with one change at a time
"""


def make_parser() -> argparse.ArgumentParser:
  """The flags of a sweep; those of its config are parsed apart."""
  parser = argparse.ArgumentParser(
    prog="python -m nema_lc_jax.sweep",
    description="Trains several policies on several seeds and settings, and"
    " compares them. Any field of the config may be set for all of them, such"
    " as --config.train.steps=500.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    "--policies", default="fifo,lru,learned", help="names, or module:function"
  )
  add(
    "--encoders",
    default="",
    metavar="A,B,...",
    help=f"encoders without slots to compare with: {', '.join(BASELINES)}",
  )
  add(
    "--seeds",
    default="3",
    help="how many, from 0; or which ones, such as 10-14 or 10,12-14",
  )
  add(
    "--grid",
    action="append",
    default=[],
    metavar="FIELD=A,B,...",
    help="values of a field, in all combinations with other grids",
  )
  add(
    "--ablate",
    action="append",
    default=[],
    metavar="FIELD=A,B,...",
    help="the same, one change at a time",
  )
  add(
    "--learning_rates",
    default="",
    metavar="A,B,...",
    help="tune the learning rate of each policy and encoder among these",
  )
  add(
    "--tuning_seeds",
    type=int,
    default=1,
    help="runs of each that decide on the learning rate",
  )
  add("--reference", default="learned", help="what the others are compared to")
  add("--out", default=None, help="folder; by default sweeps/TASK")
  add("--jobs", type=int, default=1, help="runs at a time")  # fmt: skip
  return parser


def parse(argv: Sequence[str]) -> Arguments:
  """Reads the command line.

  Raises:
    ConfigError: in one line, on anything that cannot be.
  """
  parser = make_parser()
  args, rest = parser.parse_known_args(argv)
  config = load_config(parser.prog, rest)
  if args.jobs < 1:
    raise ConfigError(f"--jobs must be at least 1, got {args.jobs}.")
  wanted = plan.make_plan(
    config,
    policies=_names(args.policies),
    encoders=_names(args.encoders),
    seeds=args.seeds,
    grid=args.grid,
    ablate=args.ablate,
    learning_rates=args.learning_rates,
    tuning_seeds=args.tuning_seeds,
    reference=args.reference,
  )
  out = Path(args.out or f"sweeps/{naming.task_name(config)}")
  return Arguments(config, wanted, out, args.jobs)


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(",")] if text else []


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sweep; 2 is a user's mistake, 1 a sweep that is not complete."""
  logging.set_verbosity(logging.WARNING)
  try:
    args = parse(sys.argv[1:] if argv is None else argv)
    failed = run(args)
  except (ValueError, OSError, RunError) as error:
    print(one_line(error), file=sys.stderr)
    return 1 if isinstance(error, RunError) else 2
  for line in failed:
    print(f"failed: {line}", file=sys.stderr)
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
