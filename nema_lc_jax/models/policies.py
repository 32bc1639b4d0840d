"""Every policy by name: `make_policy`."""

import functools
import importlib
import inspect
from collections.abc import Callable

from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.memory.types import Policy
from nema_lc_jax.models import learned

# A policy is called as `make(width=..., **options)`; a new one is a row here.
POLICIES = {
  "none": heuristics.none,
  "fifo": heuristics.fifo,
  "lru": heuristics.lru,
  "lfu": heuristics.lfu,
  "random": heuristics.random,
  "oracle": heuristics.oracle,
  "write_gate": functools.partial(learned.write_gate, "fifo"),
  "write_gate_lru": functools.partial(learned.write_gate, "lru"),
  "learned": learned.learned,
}


def _find(name: str) -> Callable[..., Policy]:
  """What makes the policy of that name; "module:attribute" is imported."""
  if name in POLICIES:
    return POLICIES[name]
  module, colon, attribute = name.partition(":")
  if not colon:
    raise ValueError(
      f"unknown policy {name!r}; known policies: {', '.join(POLICIES)}; one of"
      " your own is written module:function."
    )
  try:
    found = getattr(importlib.import_module(module), attribute)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(f"policy {name!r} cannot be imported: {error}.") from None
  if not callable(found):
    raise ValueError(f"policy {name!r} is no function, but {found!r}.")
  return found


def policy_options(name: str) -> tuple[str, ...]:
  """Names of the options that the policy of that name takes.

  Raises:
    ValueError: on an unknown name.
  """
  names = inspect.signature(_find(name)).parameters
  return tuple(option for option in names if option != "width")


def make_policy(name: str, *, width: int, **options) -> Policy:
  """The policy of that name.

  Args:
    name: one of `POLICIES`, or "module:function" for one of your own, which
      is called as those are.
    width: D, the width of slots, candidates and queries.
    **options: of that policy; see the functions of this module.

  Raises:
    ValueError: on an unknown name or an option that the policy does not have.
  """
  known = policy_options(name)
  for option in options:
    if option not in known:
      raise ValueError(
        f"policy {name!r} has no option {option!r}; it has:"
        f" {', '.join(known) or 'none'}."
      )
  return _find(name)(width=width, **options)
