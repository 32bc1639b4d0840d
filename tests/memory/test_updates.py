"""What an update makes of a slot: the rules, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import Candidates, Chunk, MemoryState
from nema_lc_jax.models import controller, make_policy, pure

D, M, K = 4, 3, 2
RULES = ("gated_delta", "gated_change", "mean")


def normalised(x):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def draw(*shape):
  rng = np.random.default_rng(sum(shape))
  return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("rule", RULES)
def test_at_first_an_update_is_the_mean_of_slot_and_candidate(rule):
  policy = make_policy("learned", width=D, update_rule=rule)
  params = policy.init(jax.random.key(0), num_slots=M, num_candidates=K)
  slots, candidates = draw(M, D), draw(K, D)
  state = MemoryState(
    content=jnp.asarray(slots),
    age=jnp.zeros(M, jnp.int32),
    usage=jnp.ones(M),
    strength=jnp.ones(M),
  )
  chunk = Chunk(
    query=jnp.zeros((1, D)),
    candidates=Candidates(jnp.asarray(candidates), jnp.ones(K, bool)),
    valid=jnp.ones(1, bool),
  )
  scores = policy.score(params, jax.random.key(1), state, chunk, train=False)
  expected = normalised(slots[:, None] + candidates[None])
  # The gate is 1/2 but for small initial weights.
  np.testing.assert_allclose(scores.updates.content, expected, atol=0.1)


@pytest.mark.parametrize("adds_change", [False, True])
def test_gate_and_change_are_what_they_are_said_to_be(adds_change):
  module = controller.GatedDelta(8, adds_change=adds_change)
  slots, candidates = draw(M, D), draw(K, D)
  params = pure.init(module, jax.random.key(0), slots, candidates)
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  params = jax.tree.unflatten(
    tree,
    [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)],
  )
  found = pure.apply(module, params, slots, candidates)
  weights = jax.tree.map(np.asarray, params)
  for m in range(M):
    for k in range(K):
      hidden = candidates[k] @ weights["candidate"]["kernel"]
      hidden += weights["candidate"]["bias"]
      hidden = jax.nn.gelu(hidden + slots[m] @ weights["slot"]["kernel"])
      dense = lambda name, h=hidden: (
        h @ weights[name]["kernel"] + weights[name]["bias"]
      )
      gate = 1 / (1 + np.exp(-dense("gate")))
      delta = (candidates[k] - slots[m]) @ weights["basis"]["kernel"]
      if adds_change:
        delta += dense("change")
      moved = slots[m] + (gate * delta) @ weights["back"]["kernel"]
      np.testing.assert_allclose(found[m, k], normalised(moved), atol=1e-4)
  assert ("change" in params) == adds_change
