"""Functions of a user's own, which a config names: policies and data sets.

MODULE:FUNCTION is imported from Python's path, FILE.py:FUNCTION from a file.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from nema_lc_jax.errors import ConfigError, what_failed

FORMS = "module:function or FILE.py:function"


def find(
  name: str, what: str, error: type[ValueError] = ConfigError
) -> Callable[..., Any]:
  """The function of that name.

  Args:
    name: in one of the two forms.
    what: the kind of thing that it makes, for errors.
    error: the type of the errors.

  Raises:
    ValueError: in one line, if there is no such module, file or function, or if
      its code fails.
  """
  place, _, attribute = name.rpartition(":")
  path = Path(place).expanduser()
  in_file = path.suffix == ".py"
  # Python would say that it cannot import from a package that is not known.
  is_module = place and not place.startswith(".") and "/" not in place
  if not attribute or not (in_file or is_module):
    raise error(f"{what} {name!r} must have the form {FORMS}.")
  if in_file and not path.is_file():
    raise error(f"{what} {name!r}: there is no file {path.absolute()}.")
  try:
    module = _from_file(path) if in_file else importlib.import_module(place)
  except (Exception, SystemExit) as failure:
    why = what_failed(failure)
    raise error(f"{what} {name!r} cannot be imported: {why}.") from None
  found = getattr(module, attribute, None)
  if found is None:
    raise error(
      f"{what} {name!r} cannot be imported: {place} has no function"
      f" {attribute!r}."
    )
  try:
    inspect.signature(found)
  except (TypeError, ValueError):
    raise error(f"{what} {name!r} is no function, but {found!r}.") from None
  return found


def run(
  code: Callable[[], Any], what: str, error: type[ValueError] = ConfigError
) -> Any:
  """What code of the user's own returns.

  Args:
    code: calls it.
    what: it is, for errors.
    error: the type of the errors.

  Raises:
    ValueError: in one line. A ValueError of the code is its own message to the
      user; any other error is located.
  """
  try:
    return code()
  except ValueError:
    raise
  except Exception as failure:
    raise error(f"{what} fails: {what_failed(failure)}.") from None


def _from_file(path: Path) -> ModuleType:
  """Imports a file, once in a process."""
  path = path.resolve()
  digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
  name = f"{path.stem}_{digest}"
  if name in sys.modules:
    return sys.modules[name]
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  # Before it is run: dataclasses look their module up.
  sys.modules[name] = module
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[name]
    raise
  return module
