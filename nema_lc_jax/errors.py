"""Errors that a user can act on: printed in one line, without a traceback."""


class ConfigError(ValueError):
  """A mistake in flags, config or files; exit code 2."""


class RunError(RuntimeError):
  """A run that had to stop; exit code 1."""
