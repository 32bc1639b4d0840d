"""Trains a model with a slot memory, evaluates it and plots the results."""

import sys
from collections.abc import Sequence

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.command_line import FROM_FILE, Parser, run_command

EXAMPLES = """\
  python -m nema_lc_jax.main --config=configs/lra_lc.py
      the quick start: about 6 minutes on 2 CPU cores, without any download
  python -m nema_lc_jax.main --config=configs/lifecycle_lc.py:rebind \\
      --config.memory.policy=fifo --workdir=runs/mine
      another task with one field of its config changed, in a chosen folder
"""
PROCESS_FLAGS = ("coordinator", "num_processes", "process_id")


def make_parser() -> Parser:
  """The parser of the flags."""
  parser = Parser("nema_lc_jax.main", __doc__, EXAMPLES, config=FROM_FILE)
  add = parser.add_argument
  add("--workdir", metavar="DIR", help="default: runs/TASK-POLICY-seedSEED")
  add("--force", action="store_true", help="overwrite an existing run")
  about = "run as one of several processes; see launch/README.md"
  add("--distributed", action="store_true", help=about)
  about = "address of process 0; not on TPU pods, SLURM and Open MPI"
  add("--coordinator", metavar="HOST:PORT", help=about)
  add("--num_processes", type=int, metavar="N", help="number of processes")
  add("--process_id", type=int, metavar="I", help="its index, from 0")
  about = "exit if a process sends no heartbeat for this long; default: 60"
  add("--dead_after", type=int, default=60, metavar="SECONDS", help=about)
  return parser


def _main(argv: Sequence[str] | None) -> int:
  args = make_parser().parse(argv)
  process = {name: getattr(args, name) for name in PROCESS_FLAGS}
  if not args.distributed and set(process.values()) != {None}:
    raise ConfigError(f"--{', --'.join(process)} need --distributed.")
  # Imported after parsing, so that --help and typos are instant.
  from nema_lc_jax.training import distributed, given, train

  given.settle(args.config, args.given)

  def command():
    if args.distributed:
      distributed.initialize(**process, dead_after=args.dead_after)
    if distributed.is_first():
      for line in given.without_effect(args.config, args.given):
        print(f"warning: {line}", file=sys.stderr)
    with distributed.guarded():
      train.run(args.config, args.workdir, force=args.force)

  return run_command(command, label=distributed.label)


def main(argv: Sequence[str] | None = None) -> int:
  """Trains the config that the flags name, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
