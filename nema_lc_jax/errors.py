"""Errors that a user can act on: printed in one line, without a traceback."""


class ConfigError(ValueError):
  """A mistake in flags, config or files; exit code 2."""


class RunError(RuntimeError):
  """A run that had to stop; exit code 1."""


class StoppedError(RunError):
  """A run that a signal stopped after it saved; exit code 0."""


def one_line(error: object) -> str:
  """The line that is printed for an error."""
  return f"error: {' '.join(str(error).split())}"
