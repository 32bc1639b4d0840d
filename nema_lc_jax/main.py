"""Trains a model with a slot memory, evaluates it and draws what it did."""

import sys
from collections.abc import Sequence

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.command_line import FROM_FILE, Parser, run_command

EXAMPLES = """\
  python -m nema_lc_jax.main --config=configs/lra_lc.py
      the quick start: 5 minutes on 2 CPU cores, without any download
  python -m nema_lc_jax.main --config=configs/lifecycle_lc.py:rebind \\
      --config.memory.policy=fifo --workdir=runs/mine
      another task, with one field of its config changed, in a chosen folder
"""
WHO = ("coordinator", "num_processes", "process_id")


def make_parser() -> Parser:
  """The flags."""
  parser = Parser("nema_lc_jax.main", __doc__, EXAMPLES, config=FROM_FILE)
  add = parser.add_argument
  add("--workdir", metavar="DIR", help="default: runs/TASK-POLICY-seedSEED")
  add("--force", action="store_true", help="overwrite a run that is there")
  about = "be one process of several; see launch/README.md"
  add("--distributed", action="store_true", help=about)
  about = "where process 0 listens; not on TPU pods, SLURM and Open MPI"
  add("--coordinator", metavar="HOST:PORT", help=about)
  add("--num_processes", type=int, metavar="N", help="how many there are")
  add("--process_id", type=int, metavar="I", help="which this one is, from 0")
  about = "end if a process has been silent for so long; default: 60"
  add("--dead_after", type=int, default=60, metavar="SECONDS", help=about)
  return parser


def _main(argv: Sequence[str] | None) -> int:
  args = make_parser().parse(argv)
  who = {name: getattr(args, name) for name in WHO}
  if not args.distributed and set(who.values()) != {None}:
    raise ConfigError(f"--{', --'.join(who)} need --distributed.")
  # After flags: --help and typos are instant.
  from nema_lc_jax.training import distributed, train

  def command():
    if args.distributed:
      distributed.initialize(**who, dead_after=args.dead_after)
    with distributed.guarded():
      train.run(args.config, args.workdir, force=args.force)

  return run_command(command, label=distributed.label)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the config of the flags, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
