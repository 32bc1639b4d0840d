"""Errors that a user can act on: printed in one line, without a traceback."""

import sysconfig
import traceback
from pathlib import Path


class ConfigError(ValueError):
  """A mistake in flags, config or files; exit code 2."""


class RunError(RuntimeError):
  """A run that had to stop; exit code 1."""


class StoppedError(RunError):
  """A run that a signal stopped after it saved; exit code 0."""


def one_line(error: object) -> str:
  """The line that is printed for an error."""
  return f"error: {' '.join(str(error).split())}"


def what_failed(error: BaseException) -> str:
  """How a user's own code failed and, where it is known, in which line."""
  told = " ".join(f"{type(error).__name__}: {error}".split())
  if isinstance(error, SyntaxError):
    return f"{error.filename}, line {error.lineno}: {error.msg}"
  frames = traceback.extract_tb(error.__traceback__)
  users = [f for f in frames if not _in_a_library(Path(f.filename))]
  if not users:
    return told
  return f"{users[-1].filename}, line {users[-1].lineno}: {told}"


def _in_a_library(path: Path) -> bool:
  """Whether a file is of this package, of Python or of what is installed."""
  libraries = sysconfig.get_paths()
  roots = (Path(__file__).parent, *map(Path, libraries.values()))
  return "importlib" in path.name or any(root in path.parents for root in roots)
