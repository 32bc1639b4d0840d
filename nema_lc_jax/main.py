"""Trains a model with a slot memory, evaluates it and draws what it did.

python -m nema_lc_jax.main --config=configs/lra_lc.py [--workdir=DIR]
    [--config.FIELD=VALUE ...] [--force]
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from nema_lc_jax.errors import RunError, one_line

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Config file, with a variant after a colon: configs/lifecycle_lc.py:recall.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; by default runs/TASK-POLICY-seedSEED."
)
_FORCE = flags.DEFINE_bool("force", False, "Overwrite a run that is there.")


def main(argv: list[str]) -> int:
  """Runs the config of the flags; 2 is a user's mistake, 1 a stopped run."""
  from nema_lc_jax import train  # After flags: --help and typos are instant.

  logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise ValueError(f"unknown argument {argv[1]!r}; flags begin with --.")
    train.run(_CONFIG.value, _WORKDIR.value, force=_FORCE.value)
  except (ValueError, OSError, RunError) as error:
    print(one_line(error), file=sys.stderr)
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
