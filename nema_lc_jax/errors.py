"""Errors that a user can act on: printed in one line, without a traceback."""


class ConfigError(ValueError):
  """A mistake in flags, config or files; exit code 2."""


class RunError(RuntimeError):
  """A run that had to stop; exit code 1."""


class StoppedError(RunError):
  """A run that was asked to stop, and saved; exit code 0."""


def one_line(error: object) -> str:
  """What to print for a user's mistake."""
  return f"error: {' '.join(str(error).split())}"
