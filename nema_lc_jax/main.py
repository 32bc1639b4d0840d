"""Trains a model with a slot memory, evaluates it and draws what it did.

python -m nema_lc_jax.main --config=configs/lra_lc.py [--workdir=DIR]
    [--config.FIELD=VALUE ...] [--force]
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from nema_lc_jax.errors import RunError

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Config file, with a variant after a colon: configs/toy_lc.py:recall.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; by default runs/TASK-POLICY-seedSEED."
)
_FORCE = flags.DEFINE_bool("force", False, "Overwrite a run that is there.")


def main(argv: list[str]) -> int:
  """Runs the config of the flags; returns the exit code."""
  from nema_lc_jax import train  # After flags: --help and typos are instant.

  if len(argv) > 1:
    return _fail(f"unknown argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.WARNING)
  try:
    train.run(_CONFIG.value, _WORKDIR.value, force=_FORCE.value)
  except (ValueError, OSError) as error:
    return _fail(error)
  except RunError as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  return 0


def _fail(message: object) -> int:
  if isinstance(message, KeyError):
    message = f"the config has no field {message}"
  print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
  return 2


def _parse_flags(argv: list[str]) -> list[str]:
  """Flags in one line of error each, where absl would give a traceback."""
  try:
    left = flags.FLAGS(argv, known_only=False)
    if _CONFIG.value is None and not flags.FLAGS["help"].present:
      raise ValueError("--config is required, e.g. --config=configs/lra_lc.py")
    if _CONFIG.value is not None:
      _ = _CONFIG.value.seed  # A file that failed to load says so only now.
    return left
  except (
    flags.Error, AttributeError, ImportError, KeyError, TypeError, ValueError,
    OSError
  ) as error:  # fmt: skip
    sys.exit(_fail(error))


if __name__ == "__main__":
  app.run(main, flags_parser=_parse_flags)
