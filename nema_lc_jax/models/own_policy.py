"""Whether a policy of the user's own does what `Policy` says."""

from typing import Any

import jax
import jax.numpy as jnp

from nema_lc_jax import own
from nema_lc_jax.memory import Candidates, Chunk, GroundTruth, init_state
from nema_lc_jax.memory.types import Policy, Scores

# Slots, candidates and tokens of the example: all different, so that an axis in
# the place of another is found.
M, K, T = 5, 2, 4


def check(policy: Any, name: str, *, width: int) -> None:
  """Raises ValueError, in one line, unless a policy's functions fit.

  They are only traced, on one chunk with ground truth.

  Args:
    policy: what the user's function returned.
    name: of the policy, for errors.
    width: D.
  """
  if not isinstance(policy, Policy):
    raise ValueError(f"policy {name!r} must return a Policy, got {policy!r}.")

  def run(part: str, *args, **options) -> Any:
    function = getattr(policy, part)
    trace = lambda: jax.eval_shape(
      lambda *arrays: function(*arrays, **options), *args
    )
    return own.run(trace, f"{part} of policy {name!r}")

  key = jax.random.key(0)
  state = init_state(num_slots=M, width=width)
  one, none = jnp.ones((), int), jnp.zeros((), int)
  truth = GroundTruth(fact=one, invalidates=none, updates=none)
  chunk = Chunk(
    query=jnp.zeros((T, width)),
    candidates=Candidates(jnp.zeros((K, width)), jnp.ones(K, bool)),
    valid=jnp.ones(T, bool),
    age_bias=jnp.zeros(()),
    ground_truth=truth,
  )
  params = run("init", key, num_slots=M, num_candidates=K)
  usage = run("update_usage", state, jnp.zeros((T, M)), chunk.valid)
  _require_array(usage, (M,), f"update_usage of policy {name!r}")
  for train in (False, True):
    scores = run("score", params, key, state, chunk, train=train)
    if not isinstance(scores, Scores):
      raise ValueError(
        f"score of policy {name!r} must return Scores, got {scores!r}."
      )
    for field, shape in {
      "action_probs": (M, 3),
      "write_priority": (K,),
      "write_strength": (K,),
      "retention_priority": (M,),
      "retained_strength": (M,),
      "retained_claim": (M,),
    }.items():
      array = getattr(scores, field)
      if array is not None or not field.startswith("retained_"):
        _require_array(array, shape, f"{field} of policy {name!r}")
    if scores.updates is not None:
      for field, shape in {
        "slot": (K,),
        "prob": (M, K),
        "content": (M, K, width),
        "strength": (M, K),
        "stored": (K,),
      }.items():
        _require_array(
          getattr(scores.updates, field),
          shape,
          f"updates.{field} of policy {name!r}",
          "int32" if field == "slot" else "float32",
        )


def _require_array(
  array: Any, shape: tuple[int, ...], what: str, dtype: str = "float32"
) -> None:
  """Raises ValueError unless an abstract array has that shape and type."""
  wanted = f"{dtype}{list(shape)}"
  of, found = getattr(array, "dtype", None), getattr(array, "shape", ())
  got = f"{of}{list(found)}" if of is not None else repr(array)
  if got != wanted:
    raise ValueError(
      f"{what} must be {wanted} for {M} slots and {K} candidates, got {got}."
    )
