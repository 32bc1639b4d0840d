"""Trains policies and encoders with several seeds, and compares them.

The folder of a sweep has runs/ with the folder of each run, logs/ with their
output, and sweep.json with the shared config. The same command resumes a sweep:
it trains the missing runs, and writes all tables and figures again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.models import BASELINES
from nema_lc_jax.runs import naming
from nema_lc_jax.runs.command_line import FROM_FILE, Parser, run_command
from nema_lc_jax.sweep import plan
from nema_lc_jax.sweep.run import Arguments, run

EXAMPLES = """\
  python -m nema_lc_jax.sweep --config=configs/lifecycle_lc.py:rebind \\
      --policies=none,fifo,lru,learned --seeds=5 --jobs=2 \\
      --learning_rates=5e-4,1e-3,2e-3
      every policy on seeds 0 to 4, two runs at a time; the learning rate of
      each policy is first tuned by validation accuracy on a separate seed, or
      on several with --tuning_seeds=3
  python -m nema_lc_jax.sweep --config=configs/lra_lc.py \\
      --policies=learned --encoders=local,full,recurrent,ssm
      also trains encoders without slots, whose mlp_ratio is set to match the
      number of parameters of the memory model within 10%
  python -m nema_lc_jax.sweep --config=configs/lifecycle_lc.py:rebind \\
      --grid 'config.memory.num_slots=2,4,8' --grid 'config.memory.budget=1,2'
      all combinations, for every policy
  python -m nema_lc_jax.sweep --config=configs/lifecycle_lc.py:revoke \\
      --policies=learned --ablate 'config.loss.write=0' \\
      --ablate 'config.memory.controller.ablate_input=age,usage'
      the unchanged config, and one change at a time
"""


def make_parser() -> Parser:
  """The flags."""
  parser = Parser("nema_lc_jax.sweep", __doc__, EXAMPLES, config=FROM_FILE)
  add = parser.add_argument
  names = {"metavar": "A,B,..."}
  values = {"action": "append", "default": [], "metavar": "FIELD=A,B,..."}
  add(
    "--policies",
    default="fifo,lru,learned",
    **names,
    help="names of policies, or module:function; default: fifo,lru,learned",
  )
  add(
    "--encoders",
    default="",
    **names,
    help=f"encoders without slots to compare with: {', '.join(BASELINES)}",
  )
  add(
    "--seeds",
    default="3",
    help="number of seeds, from 0 on; or a list such as 10-14 or 10,12-14;"
    " default: 3",
  )
  add(
    "--grid",
    **values,
    help="values of a field, combined with those of all other grids",
  )
  add("--ablate", **values, help="values of a field, as one change at a time")
  add(
    "--learning_rates",
    default="",
    **names,
    help="candidates for the learning rate, tuned by policy and encoder",
  )
  add(
    "--tuning_seeds",
    type=int,
    default=1,
    metavar="N",
    help="seeds per candidate in tuning; default: 1",
  )
  add(
    "--reference",
    default="learned",
    metavar="POLICY",
    help="policy that the others are compared with; default: learned",
  )
  add("--out", metavar="DIR", help="output folder; default: sweeps/TASK")
  add(
    "--jobs",
    type=int,
    default=1,
    metavar="N",
    help="runs at a time; default: 1",
  )
  return parser


def parse(argv: Sequence[str] | None) -> Arguments:
  """Reads the command line.

  Raises:
    ConfigError: in one line, on an invalid argument.
  """
  args = make_parser().parse(argv)
  if args.jobs < 1:
    raise ConfigError(f"--jobs must be at least 1, got {args.jobs}.")
  wanted = plan.make_plan(
    args.config,
    policies=_names(args.policies),
    encoders=_names(args.encoders),
    seeds=args.seeds,
    grid=args.grid,
    ablate=args.ablate,
    learning_rates=args.learning_rates,
    tuning_seeds=args.tuning_seeds,
    reference=args.reference,
    given=args.given,
  )
  out = Path(args.out or f"sweeps/{naming.safe(naming.task_name(args.config))}")
  return Arguments(args.config, wanted, out, args.jobs)


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(",")] if text else []


def _main(argv: Sequence[str] | None) -> int:
  failed = run(parse(argv))
  for line in failed:
    print(f"failed: {line}", file=sys.stderr)
  return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sweep; returns the exit code, 1 also if a run failed."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
