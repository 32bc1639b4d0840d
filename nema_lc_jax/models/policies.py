"""The registry of policies, and `make_policy`."""

import functools
import importlib
import inspect
from collections.abc import Callable

from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.memory.types import Policy
from nema_lc_jax.models import learned

# Each function is called with `width=...` and its own options. A new policy is
# one row here.
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
  """The function that makes a policy; "module:attribute" is imported."""
  if name in POLICIES:
    return POLICIES[name]
  module, colon, attribute = name.partition(":")
  if not colon:
    raise ValueError(
      f"unknown policy {name!r}; known policies: {', '.join(POLICIES)}; name a"
      " policy of your own as module:function."
    )
  try:
    function = getattr(importlib.import_module(module), attribute)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(f"policy {name!r} cannot be imported: {error}.") from None
  if not callable(function):
    raise ValueError(f"policy {name!r} is not a function: {function!r}.")
  return function


def policy_options(name: str) -> tuple[str, ...]:
  """The names of the options of a policy.

  Raises:
    ValueError: on an unknown name.
  """
  names = inspect.signature(_find(name)).parameters
  return tuple(option for option in names if option != "width")


def make_policy(name: str, *, width: int, **options) -> Policy:
  """Makes a policy by name.

  Args:
    name: a key of `POLICIES`, or "module:function" for a policy of your own.
    width: D, the width of slots, candidates and queries.
    **options: of the policy; see memory/policies.py and models/learned.py.

  Raises:
    ValueError: on an unknown name, or an option that the policy does not have.
  """
  known = policy_options(name)
  for option in options:
    if option not in known:
      raise ValueError(
        f"policy {name!r} has no option {option!r}; it has:"
        f" {', '.join(known) or 'none'}."
      )
  return _find(name)(width=width, **options)
