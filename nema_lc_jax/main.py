"""Trains a model with a slot memory, evaluates it and draws what it did.

python -m nema_lc_jax.main --config=configs/lra_lc.py [--workdir=DIR]
    [--config.FIELD=VALUE ...] [--force] [--distributed]
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from nema_lc_jax.errors import RunError, StoppedError, one_line

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Config file, with a variant after a colon: configs/lifecycle_lc.py:recall.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; by default runs/TASK-POLICY-seedSEED."
)
_FORCE = flags.DEFINE_bool("force", False, "Overwrite a run that is there.")
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "Be one process of several, on as many machines. TPU pods, SLURM and Open MPI"
  " say which; elsewhere the three flags below do.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of process 0, which must be free there."
)
_COUNT = flags.DEFINE_integer("num_processes", None, "How many there are.")
_ID = flags.DEFINE_integer("process_id", None, "Which this one is, from 0.")
_DEAD_AFTER = flags.DEFINE_integer(
  "dead_after", 60, "Seconds without a process after which all others end."
)


def main(argv: list[str]) -> int:
  """Runs the config of the flags.

  Returns 0, also if a signal asked the run to stop and it has saved; 1 if it
  had to stop; 2 on a user's mistake.
  """
  # After flags: --help and typos are instant.
  from nema_lc_jax.training import distributed, train

  logging.set_verbosity(logging.WARNING)
  who = {
    "coordinator": _COORDINATOR.value,
    "num_processes": _COUNT.value,
    "process_id": _ID.value,
  }
  try:
    if len(argv) > 1:
      raise ValueError(f"unknown argument {argv[1]!r}; flags begin with --.")
    if _DISTRIBUTED.value:
      distributed.initialize(**who, dead_after=_DEAD_AFTER.value)
    elif set(who.values()) != {None}:
      raise ValueError(f"--{', --'.join(who)} need --distributed.")
    with distributed.guarded():
      train.run(_CONFIG.value, _WORKDIR.value, force=_FORCE.value)
  except StoppedError as asked:
    print(f"{distributed.label()}{asked}", file=sys.stderr)
  except (ValueError, OSError, RunError) as error:
    print(distributed.label() + one_line(error), file=sys.stderr)
    return 1 if isinstance(error, RunError) else 2
  return 0


def _parse_flags(argv: list[str]) -> list[str]:
  """Flags in one line of error each, where absl would give a traceback."""
  try:
    left = flags.FLAGS(argv)
    if not any(arg.lstrip("-").startswith("help") for arg in argv[1:]):
      if _CONFIG.value is None:
        raise ValueError("--config is required: --config=configs/lra_lc.py")
      _ = _CONFIG.value.seed  # A file that failed to load says so only now.
  except (
    flags.Error, AttributeError, ImportError, KeyError, TypeError, ValueError,
    OSError,
  ) as error:  # fmt: skip
    print(one_line(error), file=sys.stderr)
    sys.exit(2)
  return left


if __name__ == "__main__":
  app.run(main, flags_parser=_parse_flags)
