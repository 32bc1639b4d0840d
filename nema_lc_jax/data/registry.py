"""The data sets by name."""

import inspect
from collections.abc import Callable
from typing import Any

from nema_lc_jax import own
from nema_lc_jax.data.lifecycle import (
  boxes,
  count,
  delayed_qa,
  gather,
  mqar,
  pairs,
  pressure,
  rebind,
  recall,
  revoke,
  toy,
)
from nema_lc_jax.data.lra import aan, cifar10, imdb, listops, pathfinder
from nema_lc_jax.data.text import babi, babilong, file, haystack, lm, pytext
from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  require_at_least,
  require_seed,
)

# A new data set is one file with a keyword-only `load`, and one row here. One
# outside of the package needs no row: it is named as `own.find` reads it.
_LOADERS = {
  "aan": aan.load,
  "babi": babi.load,
  "babilong": babilong.load,
  "boxes": boxes.load,
  "cifar10": cifar10.load,
  "count": count.load,
  "delayed_qa": delayed_qa.load,
  "file": file.load,
  "forgetting_mqar": mqar.load_forgetting,
  "gather": gather.load,
  "haystack": haystack.load,
  "imdb": imdb.load,
  "listops": listops.load,
  "lm": lm.load,
  "mqar": mqar.load,
  "pathfinder": pathfinder.load,
  "pi_updates": pairs.load_pi_updates,
  "pressure": pressure.load,
  "pytext": pytext.load,
  "rebind": rebind.load,
  "recall": recall.load,
  "remember": pairs.load_remember,
  "revoke": revoke.load,
  "rewrite": pairs.load_rewrite,
  "toy": toy.load,
}
NAMES = tuple(_LOADERS)

# Options that every config has; of the last two a data set may have none.
_COMMON = {"length", "seed"}
PLACES = {"dir", "path"}


def _find(name: str) -> Callable[..., Dataset]:
  """The loader of that name; one of the user's own is imported."""
  if name in _LOADERS:
    return _LOADERS[name]
  if ":" not in name:
    raise DataError(
      f"unknown data set {name!r}; known: {', '.join(NAMES)}; one of your own"
      f" is written {own.FORMS}"
    )
  return own.find(name, "data set", DataError)


def options_of(name: str) -> set[str]:
  """The names of the options that `load(name, ...)` accepts.

  Raises:
    DataError: for an unknown name.
  """
  return _COMMON.union(inspect.signature(_find(name)).parameters)


def names_with(option: str) -> list[str]:
  """The data sets of the package that have an option."""
  return [name for name in NAMES if option in options_of(name)]


def load(name: str, **options: Any) -> Dataset:
  """The data set `name`, with options as its own `load` documents them.

  Args:
    name: one of `NAMES`, or "module:function" for one of your own: a function
      with keyword options that returns a Dataset.
    **options: of that data set. Each data set accepts `length` and `seed`, and
      ignores those that it has no use for. `dir` and `path` may always be None.

  Raises:
    DataError: for an unknown name or option, or a value out of its range; one
      line that says what is allowed.
  """
  # A common option that is None, such as `dir`, leaves the loader's default.
  given = {
    option: value
    for option, value in options.items()
    if not (option in _COMMON | PLACES and value is None)
  }
  accepted = options_of(name)
  for option in given:
    if option not in accepted:
      having = names_with(option)
      raise DataError(
        f"unknown option {option!r} of data set {name!r}; known: "
        f"{', '.join(sorted(accepted))}"
        + "; other data sets have it: " * bool(having)
        + ", ".join(having)
      )
  loader = _find(name)
  known = inspect.signature(loader).parameters
  require_at_least(1, length=given.get("length", 1))
  require_seed(given.get("seed", 0))
  used = {k: v for k, v in given.items() if k in known}
  if name in _LOADERS:
    return loader(**used)
  dataset = own.run(lambda: loader(**used), f"data set {name!r}", DataError)
  if not isinstance(dataset, Dataset):
    raise DataError(f"data set {name!r} is no Dataset, but {dataset!r}")
  return dataset
