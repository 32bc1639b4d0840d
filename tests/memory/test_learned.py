"""The learned policies: gradients that reach, subsumption, exploration."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nema_lc_jax.memory import (
  FORGET,
  RETAIN,
  STRENGTH_FLOOR,
  UPDATE,
  init_state,
  scan_chunks,
)
from nema_lc_jax.models import POLICIES, make_policy
from nema_lc_jax.models.policies import policy_options
from nema_lc_jax.models.soft_eviction import soft_eviction
from tests.memory.streams import (
  D,
  K,
  M,
  N,
  assert_equal,
  at,
  empty,
  lively,
  make_chunks,
  make_states,
  params_of,
  policy_of,
)

KEY = jax.random.key(3)
LEARNED = ("write_gate", "write_gate_lru", "learned")


def run(policy, params, chunks, *, state=None, key=KEY, budget=2, train=False):
  return scan_chunks(
    params,
    key,
    empty() if state is None else state,
    chunks,
    policy=policy,
    budget=budget,
    train=train,
  )


@functools.cache
def jitted(name, *, budget=2, train=False, **options):
  policy = policy_of(name, **options)
  return jax.jit(
    lambda params, chunks, state, key=KEY: run(
      policy, params, chunks, state=state, key=key, budget=budget, train=train
    )
  )


def zero_leaves(grads):
  """Names of the leaves that are 0 all over."""
  leaves, _ = jax.tree.flatten_with_path(grads)
  chex.assert_tree_all_finite(grads)
  return [jax.tree_util.keystr(path) for path, x in leaves if not x.any()]


# Gradients.


def test_a_late_read_teaches_the_decisions_about_an_early_item():
  policy, length = policy_of("learned"), 10
  chunks = make_chunks(0, num=length)
  # Only the first chunk offers anything: all gradient is about that item.
  offered = jnp.zeros((length, K), bool).at[0, 0].set(True)
  chunks = chunks.replace(
    candidates=chunks.candidates.replace(valid=offered),
    valid=jnp.ones_like(chunks.valid),
  )

  def late(params):
    _, out = run(policy, params, chunks)
    return (out.read[-1] ** 2).sum(), out

  grads, out = jax.jit(jax.grad(late, has_aux=True))(params_of(policy))
  assert out.alive[-1].sum() == 1
  assert out.age[-1].max() == length - 2  # nobody replaced it
  chex.assert_tree_all_finite(grads)
  for part in ("gate", "slots"):
    size = sum(jnp.abs(x).sum() for x in jax.tree.leaves(grads[part]))
    assert size > 1e-5, part


@pytest.mark.parametrize("name", LEARNED)
def test_every_parameter_gets_a_gradient(name):
  chunks = make_chunks(1, lead=(16,))
  weights = jax.random.normal(KEY, chunks.query.shape)

  def loss(params):
    _, out = jax.vmap(lambda c: run(policy_of(name), params, c))(chunks)
    return (out.read * weights).sum()

  assert zero_leaves(jax.jit(jax.grad(loss))(lively(name))) == []


# Subsumption.


@pytest.mark.parametrize(
  ("keep", "name"), [("fifo", "write_gate"), ("lru", "write_gate_lru")]
)
def test_learned_without_its_slot_actions_is_the_write_gate(keep, name):
  options = {"eviction": keep, "allow_update": False, "allow_forget": False}
  params = lively("learned")
  chunks = make_chunks(2, num=30, padded=(4, 11))
  full = jitted("learned", train=True, **options)
  state, out = full(params, chunks, empty())
  gate = jitted(name, train=True)
  gate_state, gate_out = gate({"gate": params["gate"]}, chunks, empty())
  assert gate_out.evictions.sum() > 5
  assert_equal(out.allocation, gate_out.allocation)
  chex.assert_trees_all_close(state, gate_state, atol=1e-6)
  chex.assert_trees_all_close(out.read, gate_out.read, atol=1e-6)


@pytest.mark.parametrize("keep", ["strength", "fifo", "lru"])
def test_the_learned_state_stays_finite_under_every_keep(keep):
  chunks = make_chunks(2, num=30, padded=(4, 11))
  state, out = jitted("learned", eviction=keep)(
    lively("learned"), chunks, empty()
  )
  chex.assert_tree_all_finite((state, out.read, out.action_probs))
  assert out.alive[-1].any()


@pytest.mark.parametrize("action", [UPDATE, FORGET])
def test_an_action_switched_off_never_happens(action):
  off = {UPDATE: {"allow_update": False}, FORGET: {"allow_forget": False}}[
    action
  ]
  chunks = make_chunks(3, num=30)
  _, out = jitted("learned", **off)(lively("learned"), chunks, empty())
  other = {UPDATE: out.forgets, FORGET: out.updates}[action]
  assert not {UPDATE: out.updates, FORGET: out.forgets}[action].any()
  assert other.any()
  np.testing.assert_array_equal(
    out.action_probs[..., action], np.zeros((30, M))
  )
  np.testing.assert_allclose(
    out.action_probs.sum(-1), np.ones((30, M)), rtol=1e-5
  )


@functools.cache
def slope_through(num, with_claim):
  """Mean norm of the gradient of the last read after `num` chunks, 3 seeds.

  New policies, whose slots are all about equally strong: near the edge.
  """
  policy = policy_of("learned", capacity=4)
  slots = init_state(num_slots=6, width=D)
  if with_claim:
    slots = slots.replace(claim=slots.strength)

  @jax.jit
  def norm(params, chunks):
    def last_read(params):
      _, out = run(policy, params, chunks, state=slots, train=True)
      return jnp.square(out.read[-1]).sum()

    return optax.tree.norm(jax.grad(last_read)(params))

  norms = []
  for seed in range(3):
    key = jax.random.key(seed)
    params = policy.init(key, num_slots=6, num_candidates=K)
    norms.append(norm(params, make_chunks(seed, num=num)))
  return float(np.mean(norms))


def test_the_gradient_does_not_grow_with_the_number_of_chunks():
  assert 0 < slope_through(1024, True) < 10 * slope_through(32, True)


def test_without_the_claim_it_explodes():
  assert slope_through(1024, False) > 1e6 * slope_through(32, False)


# Exploration, threshold, strength.


@pytest.mark.parametrize("name", LEARNED)
def test_noise_explores_in_training_only_and_never_in_strengths(name):
  chunks, params = make_chunks(4, num=30), lively(name)

  def sources(train):
    outs = [
      jitted(name, train=train)(params, chunks, empty(), jax.random.key(n))[1]
      for n in range(6)
    ]
    first = {str(out.write_strength[0].tolist()) for out in outs}
    assert len(first) == 1
    return {str(out.allocation.source.tolist()) for out in outs}

  assert len(sources(train=False)) == 1
  assert len(sources(train=True)) > 1


def test_without_noise_training_has_the_values_of_evaluation():
  chunks, params = make_chunks(4, num=30), lively("learned")
  options = {"train": True, "noise": 0.0, "update_relaxation": "none"}
  trained = jitted("learned", **options)(params, chunks, empty())
  assert trained[1].updates.sum() > 5
  assert_equal(trained, jitted("learned")(params, chunks, empty()))


def test_soft_updates_are_counted_once_and_written_too():
  num = 12
  chunks, params = make_chunks(4, num=num), params_of(policy_of("learned"))
  slots = init_state(num_slots=num * K, width=D)
  ample = {
    "train": True,
    "budget": 9,
    "capacity": None,
    "write_threshold": 0.0,
    "noise": 0.0,
  }
  _, out = jitted("learned", **ample)(params, chunks, slots)
  assert out.updates.sum() > 0
  done = out.writes + out.updates
  assert (done <= out.candidates.sum(-1)).all()
  # A candidate that updates a slot has one of its own as well, unless hardly
  # any strength is left for it.
  allocation = out.allocation
  left = out.write_strength > STRENGTH_FLOOR
  for step in range(num):
    updating = set(allocation.update_source[step].tolist()) - {-1}
    written = set(allocation.source[step].tolist()) - {-1}
    assert updating & written == {k for k in updating if left[step, k]}


def test_the_threshold_keeps_candidates_out():
  chunks, params = make_chunks(5, num=30), lively("learned")
  threshold = 0.6
  strict = jitted("learned", write_threshold=threshold)
  _, out = strict(params, chunks, empty())
  step, slot = np.nonzero(out.allocation.source >= 0)
  stored = out.stored[step, out.allocation.source[step, slot]]
  assert len(stored) > 5
  assert stored.min() > threshold
  # Left open, the same memory takes weaker ones too.
  _, out = jitted("learned", write_threshold=0.0)(params, chunks, empty())
  step, slot = np.nonzero(out.allocation.source >= 0)
  assert (
    out.write_strength[step, out.allocation.source[step, slot]].min()
    < threshold
  )


@pytest.mark.parametrize("name", LEARNED)
def test_nothing_is_written_above_an_unreachable_threshold(name):
  policy = make_policy(name, width=D, write_threshold=1.0)
  chunk = at(make_chunks(6), 0)
  scores = policy.score(lively(name), KEY, empty(), chunk, train=True)
  assert scores.write_priority.tolist() == [-np.inf] * K
  assert (scores.write_strength > 0).all()


def eager_to_forget():
  params = params_of(policy_of("learned"))
  bias = jnp.array([-20.0, 20.0])
  params["slots"]["logits"]["bias"] = bias
  params["updates"]["match"]["bias"] = jnp.float32(-100.0)
  return params


def test_strength_decays_boundedly_and_never_below_the_floor():
  # Budget 0: no forget is ever executed, only the decay is seen.
  chunks = make_chunks(7, num=30)
  state = make_states(3)
  state = state.replace(strength=jnp.array([1.0, 0.5, 0.0]))
  after, out = jitted("learned", budget=0)(eager_to_forget(), chunks, state)
  np.testing.assert_allclose(out.strength[1], [0.1, 0.05, 0.0], rtol=1e-5)
  floor = np.float32(STRENGTH_FLOOR)
  np.testing.assert_array_equal(after.strength, [floor, floor, 0.0])
  assert out.strength[:, :2].min() >= floor


def test_strengths_lie_in_zero_to_one():
  chunks = make_chunks(8, num=30)
  _, out = jitted("learned", train=True)(lively("learned"), chunks, empty())
  live = out.strength[out.alive]
  assert live.min() >= np.float32(STRENGTH_FLOOR)
  assert max(live.max(), out.write_strength.max()) <= 1
  assert out.write_strength.min() >= 0
  np.testing.assert_array_equal(out.alive, out.alive)


def test_a_written_slot_holds_the_write_score():
  first = at(make_chunks(9), slice(1))
  state, out = jitted("learned")(lively("learned"), first, empty())
  source = out.allocation.source[0]
  assert (source >= 0).any()
  expected = np.where(source >= 0, out.write_strength[0][source], 0.0)
  np.testing.assert_array_equal(state.strength, expected)


# Scores.


def score(params, state, chunk, **options):
  policy = policy_of("learned", **options)
  return policy.score(params, KEY, state, chunk, train=False)


def test_slots_compete_with_what_is_left_of_their_strength_at_any_age():
  state = make_states(3).replace(strength=jnp.array([1.0, 0.5, 0.0]))
  state = state.replace(age=jnp.array([3, 0, 0]))
  chunk = at(make_chunks(0), 0).replace(age_bias=jnp.float32(2.0))
  scores = score(eager_to_forget(), state, chunk)
  # p_forget is 1 and costs 0.9 of it.
  np.testing.assert_allclose(
    scores.retention_priority, [0.1, 0.05, 0.0], rtol=1e-5
  )
  np.testing.assert_array_equal(
    scores.retention_priority, scores.retained_strength
  )


def faded(alive, kept, capacity=2, soft_eviction_decay=0.1):
  state = make_states(3).replace(strength=jnp.asarray(alive))
  kept = jnp.asarray(kept)
  left = soft_eviction(
    state, state.strength, kept, capacity=capacity, decay=soft_eviction_decay
  )
  return np.asarray(left)


def test_what_is_clearly_beyond_the_capacity_fades():
  # The edge lies half-way between the second best and the third.
  left = faded([0.8, 0.4, 0.2], [10.0, 0.0, 20.0])
  np.testing.assert_allclose(left, [0.8, 0.04, 0.2], rtol=1e-5)
  # At the edge itself, each keeps the square root.
  left = faded([0.8, 0.4, 0.2], [5.0, 5.0, 20.0])
  root = 0.1**0.5
  np.testing.assert_allclose(left, [0.8 * root, 0.4 * root, 0.2], rtol=1e-5)


def test_nothing_fades_while_it_fits():
  alive = [0.8, 0.0, 0.2]
  np.testing.assert_allclose(faded(alive, [10.0, 0.0, 20.0]), alive, rtol=1e-6)
  full = [0.8, 0.4, 0.2]
  np.testing.assert_array_equal(
    faded(full, [3.0, 2.0, 1.0], capacity=3), np.float32(full)
  )


def test_to_fade_has_a_gradient_to_the_margin():
  state = make_states(3).replace(strength=jnp.array([0.8, 0.4, 0.2]))

  def left(kept, slot):
    return soft_eviction(state, state.strength, kept, capacity=2, decay=0.1)[
      slot
    ]

  kept = jnp.array([0.3, 0.1, 0.5])
  slope = jax.grad(left)(kept, 1)
  assert slope[1] > 0  # being better keeps more of it
  assert slope[0] < 0  # its rival being better, less
  assert slope[2] == 0  # far inside


def test_a_new_policy_remembers():
  params, chunk = params_of(policy_of("learned")), at(make_chunks(0), 0)
  state = make_states(4)
  scores = score(params, state, chunk)
  update = scores.action_probs[:, UPDATE]
  assert (scores.action_probs[:, RETAIN] > 0.8 * (1 - update)).all()
  # Rare, about 0.047, but not so rare that it has no gradient.
  forget = scores.action_probs[:, FORGET] / (1 - update)
  assert (forget > 0.02).all()
  assert (forget < 0.1).all()
  # sigmoid(1)
  np.testing.assert_allclose(scores.updates.stored, 0.73, atol=0.1)
  assert (scores.write_priority > 0).all()


def test_ages_beyond_those_of_training_change_no_action():
  state = make_states(5).replace(strength=jnp.array([1.0, 0.5, 0.2]))
  chunk, params = at(make_chunks(0), 0), lively("learned")
  old, ancient = (
    score(params, state.replace(age=jnp.full(M, age)), chunk).action_probs
    for age in (100, 1_000_000)
  )
  np.testing.assert_array_equal(old, ancient)
  young = score(params, state.replace(age=jnp.full(M, 1)), chunk).action_probs
  assert not np.array_equal(old, young)


# make_policy.


def error_of(name, **options):
  with pytest.raises(ValueError, match=r"(policy|eviction)") as error:
    make_policy(name, width=D, **options)
  text = str(error.value)
  assert "\n" not in text
  return text


def test_an_unknown_policy_lists_the_known_ones():
  text = error_of("lfru")
  assert "'lfru'" in text
  assert all(name in text for name in POLICIES)


def test_an_unknown_option_lists_those_of_the_policy(policy):
  text = error_of(policy, nois=1.0)
  assert "'nois'" in text
  assert repr(policy) in text
  known = policy_options(policy)
  assert all(option in text for option in known)
  if policy in LEARNED:
    assert {"noise", "write_threshold"} < set(known)
  elif policy in POLICIES:
    assert known == ()
  if not known:
    assert text.endswith("it has: none.")


def test_an_unknown_keep_is_an_error_that_lists_the_known_ones():
  text = error_of("learned", eviction="newest")
  assert "'newest'" in text
  assert "fifo" in text
  assert "lru" in text


def test_the_policies_that_share_a_rule_differ_by_it():
  # write_gate and write_gate_lru on one stream, with the same gate.
  params, chunks = lively("write_gate"), make_chunks(10, num=5 * N)
  sources = [
    jitted(name)(params, chunks, empty())[1].allocation.source.tolist()
    for name in ("write_gate", "write_gate_lru")
  ]
  assert sources[0] != sources[1]
