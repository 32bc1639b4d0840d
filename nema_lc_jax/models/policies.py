"""The registry of policies, and `make_policy`."""

import functools
import inspect
from collections.abc import Callable

from nema_lc_jax import own
from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.memory.types import Policy
from nema_lc_jax.models import learned, own_policy

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
  """The function that makes a policy; one of the user's own is imported."""
  if name in POLICIES:
    return POLICIES[name]
  if ":" not in name:
    raise ValueError(
      f"unknown policy {name!r}; known policies: {', '.join(POLICIES)}; name a"
      f" policy of your own as {own.FORMS}."
    )
  return own.find(name, "policy")


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
    name: a key of `POLICIES`, or one of your own, as `own.find` reads it.
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
  function = _find(name)
  if name in POLICIES:
    return function(width=width, **options)
  policy = own.run(lambda: function(width=width, **options), f"policy {name!r}")
  own_policy.check(policy, name, width=width)
  return policy
