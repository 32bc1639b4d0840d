"""The data sets by name."""

import inspect
from typing import Any

from nema_lc_jax.data.lifecycle import (
  delayed_qa,
  mqar,
  pressure,
  rebind,
  recall,
  revoke,
  toy,
)
from nema_lc_jax.data.lra import aan, cifar10, imdb, listops, pathfinder
from nema_lc_jax.data.text import babi, file, pytext
from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  require_at_least,
  require_seed,
)

# A new data set is one file with a keyword-only `load`, and one row here.
_LOADERS = {
  "aan": aan.load,
  "babi": babi.load,
  "cifar10": cifar10.load,
  "delayed_qa": delayed_qa.load,
  "file": file.load,
  "forgetting_mqar": mqar.load_forgetting,
  "imdb": imdb.load,
  "listops": listops.load,
  "mqar": mqar.load,
  "pathfinder": pathfinder.load,
  "pressure": pressure.load,
  "pytext": pytext.load,
  "rebind": rebind.load,
  "recall": recall.load,
  "revoke": revoke.load,
  "toy": toy.load,
}
NAMES = tuple(_LOADERS)

# Options of the common configuration, accepted even where they mean nothing.
_COMMON = {"dir", "length", "path", "seed"}


def options_of(name: str) -> set[str]:
  """Names of the options that the data set `name` takes, and of its seed.

  Raises:
    DataError: for an unknown name.
  """
  if name not in _LOADERS:
    raise DataError(f"unknown data set {name!r}; known: {', '.join(NAMES)}")
  return _COMMON.union(inspect.signature(_LOADERS[name]).parameters)


def load(name: str, **options: Any) -> Dataset:
  """The data set `name`, with options as its own `load` documents them.

  Raises:
    DataError: for an unknown name or option, or a value out of its range; one
      line that says what is allowed.
  """
  accepted = options_of(name)
  for option in options:
    if option not in accepted:
      raise DataError(
        f"unknown option {option!r} of data set {name!r}; "
        f"known: {', '.join(sorted(accepted))}"
      )
  loader = _LOADERS[name]
  known = inspect.signature(loader).parameters
  # An unset common option, such as `dir: None`, leaves the loader's default.
  given = {
    option: value
    for option, value in options.items()
    if not (option in _COMMON and value is None)
  }
  require_at_least(1, length=given.get("length", 1))
  require_seed(given.get("seed", 0))
  return loader(**{k: v for k, v in given.items() if k in known})
