"""Applying an allocation, by hand, and the gradients it carries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import (
  FRESH_USAGE,
  STRENGTH_FLOOR,
  Allocation,
  Candidates,
  MemoryState,
  Scores,
  Updates,
  commit,
)

# Slot 0 is strong, 1 weak, 2 free.
STATE = MemoryState(
  content=jnp.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]),
  age=jnp.array([5, 0, 0]),
  usage=jnp.array([0.7, 0.2, 0.0]),
  strength=jnp.array([0.8, 0.4, 0.0]),
)
CANDIDATES = Candidates(
  content=jnp.array([[10.0, 20.0], [30.0, 40.0]]), valid=jnp.array([True] * 2)
)
SCORES = Scores(
  action_probs=jnp.array([[0.75, 0.25, 0.0], [0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]),
  write_priority=jnp.array([0.9, 0.8]),
  write_strength=jnp.array([0.9, 0.6]),
  retention_priority=jnp.zeros(3),
)
# Candidate 0 moves slots by 1/4 and 1/2, candidate 1 by 1/8 and 1.
UPDATES = Updates(
  slot=jnp.array([0, 1]),
  prob=jnp.array([[0.25, 0.125], [0.5, 1.0], [0.0, 0.0]]),
  content=jnp.array(
    [[[5.0, 6.0], [9.0, 2.0]], [[7.0, 8.0], [5.0, 5.0]], [[9.0, 9.0]] * 2]
  ),
  strength=jnp.array([[0.9, 0.6]] * 3),
  stored=jnp.array([0.9, 0.6]),
)
NO = [False] * 3
NONE = (-1, -1, -1)


def after(*, update=NONE, forget=NO, source=NONE, evict=NO, scores=SCORES):
  allocation = Allocation(
    update_source=jnp.array(update, jnp.int32),
    forget=jnp.array(forget),
    source=jnp.array(source, jnp.int32),
    evict=jnp.array(evict),
  )
  return commit(STATE, CANDIDATES, scores, allocation)


def assert_state(state, content, age, usage, alive):
  np.testing.assert_allclose(state.content, content, rtol=1e-6)
  np.testing.assert_array_equal(state.age, age)
  np.testing.assert_allclose(state.usage, usage, rtol=1e-6)
  np.testing.assert_allclose(state.strength, alive, rtol=1e-6)


def test_retaining_changes_only_the_age():
  assert_state(after(), STATE.content, [6, 1, 0], STATE.usage, [0.8, 0.4, 0.0])


def test_an_update_moves_content_and_strength_by_its_probability():
  scores = SCORES.replace(updates=UPDATES)
  assert_state(
    after(update=[0, -1, -1], scores=scores),
    # 1 + 0.25 * (5 - 1) and 2 + 0.25 * (6 - 2)
    [[2.0, 3.0], [3.0, 4.0], [0.0, 0.0]],
    [0, 1, 0],
    [FRESH_USAGE, 0.2, 0.0],
    # 0.8 + 0.25 * (0.9 - 0.8)
    [0.825, 0.4, 0.0],
  )
  assert_state(
    after(update=[1, 0, -1], scores=scores),
    [[2.0, 2.0], [5.0, 6.0], [0.0, 0.0]],
    [0, 0, 0],
    [FRESH_USAGE, FRESH_USAGE, 0.0],
    # Candidate 1, of 0.6, is weaker than slot 0; 0.4 + 0.5 * (0.9 - 0.4).
    [0.8, 0.65, 0.0],
  )


@pytest.mark.parametrize("relaxation", ["none", "straight_through"])
def test_only_executed_updates_have_a_value(relaxation):
  scores = SCORES.replace(updates=UPDATES.replace(relaxation=relaxation))
  assert_state(after(scores=scores), *jax.tree.leaves(after()))


def test_soft_updates_need_not_be_executed():
  updates = UPDATES.replace(relaxation="soft")
  state = after(scores=SCORES.replace(updates=updates))
  assert_state(
    state,
    # Slot 0: 1 + (5 - 1) / 4 + (9 - 1) / 8, 2 + (6 - 2) / 4 + (2 - 2) / 8.
    # Slot 1: the shares 1/2 and 1 become 1/3 and 2/3:
    # 3 + (7 - 3) / 3 + 2 * (5 - 3) / 3, 4 + (8 - 4) / 3 + 2 * (5 - 4) / 3.
    [[3.0, 3.0], [17 / 3, 6.0], [0.0, 0.0]],
    [6, 1, 0],
    STATE.usage,
    # 0.8 + (0.9 - 0.8) / 4, 0.4 + (0.9 - 0.4) / 3 + 2 * (0.6 - 0.4) / 3
    [0.825, 0.7, 0.0],
  )


def update_slopes(relaxation):
  """d (content + strength) / d prob of slots [M, K] after one update."""

  def total(prob):
    updates = UPDATES.replace(prob=prob, relaxation=relaxation)
    scores = SCORES.replace(updates=updates)
    state = after(update=[0, -1, -1], scores=scores)
    return state.content.sum() + state.strength.sum()

  return jax.grad(total)(UPDATES.prob)


def test_straight_through_gives_updates_that_are_not_executed_a_gradient():
  # Slot 0, candidate 0: (5 - 1) + (6 - 2) + (0.9 - 0.8).
  np.testing.assert_allclose(
    update_slopes("none"), [[8.1, 0], [0, 0], [0, 0]], rtol=1e-6
  )
  slopes = update_slopes("straight_through")
  # Slot 0, candidate 1: (9 - 1) + (2 - 2).
  np.testing.assert_allclose(slopes[0], [8.1, 8.0], rtol=1e-6)
  # (7 - 3) + (8 - 4) + (0.9 - 0.4) and (5 - 3) + (5 - 4) + (0.6 - 0.4).
  np.testing.assert_allclose(slopes[1], [8.5, 3.2], rtol=1e-6)
  np.testing.assert_array_equal(slopes[2], [0.0, 0.0])


def test_a_forget_clears_the_slot():
  assert_state(
    after(forget=[True, False, False]),
    [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]],
    [0, 1, 0],
    [0.0, 0.2, 0.0],
    [0.0, 0.4, 0.0],
  )


def test_a_write_fills_a_free_slot_freshly():
  assert_state(
    after(source=[-1, -1, 1]),
    [[1.0, 2.0], [3.0, 4.0], [30.0, 40.0]],
    [6, 1, 0],
    [0.7, 0.2, FRESH_USAGE],
    [0.8, 0.4, 0.6],
  )


@pytest.mark.parametrize("how", ["evict", "forget"])
def test_a_write_leaves_nothing_of_the_item_before(how):
  done = {how: [True, False, False]}
  assert_state(
    after(source=[0, -1, -1], **done),
    [[10.0, 20.0], [3.0, 4.0], [0.0, 0.0]],
    [0, 1, 0],
    [FRESH_USAGE, 0.2, 0.0],
    [0.9, 0.4, 0.0],
  )


def test_retained_slots_decay_to_the_floor_before_they_are_updated():
  scores = SCORES.replace(retained_strength=jnp.array([0.5, 1e-9, 0.7]))
  state = after(scores=scores)
  np.testing.assert_allclose(state.strength, [0.5, STRENGTH_FLOOR, 0.0])
  state = after(update=[0, 1, -1], scores=scores.replace(updates=UPDATES))
  # 0.5 + 0.25 * (0.9 - 0.5); all of 0.6.
  np.testing.assert_allclose(state.strength, [0.6, 0.6, 0.0])


def test_the_claim_follows_the_strength_but_for_soft_eviction():
  state = STATE.replace(claim=jnp.array([0.9, 0.5, 0.0]))
  scores = SCORES.replace(
    updates=UPDATES, retained_strength=jnp.array([0.4, 0.1, 0.0])
  )
  allocation = Allocation(
    update_source=jnp.array([0, -1, -1]),
    forget=jnp.array(NO),
    source=jnp.array([-1, -1, 1]),
    evict=jnp.array(NO),
  )
  claim = commit(state, CANDIDATES, scores, allocation).claim
  np.testing.assert_allclose(claim, [0.525, 0.1, 0.6], rtol=1e-6)
  scores = scores.replace(retained_claim=jnp.array([0.8, 0.3, 0.0]))
  claim = commit(state, CANDIDATES, scores, allocation).claim
  np.testing.assert_allclose(claim, [0.825, 0.3, 0.6], rtol=1e-6)


@pytest.mark.parametrize(
  ("strength", "stored"), [(1e-20, STRENGTH_FLOOR), (3.0, 1.0), (0.5, 0.5)]
)
def test_a_written_strength_lies_between_the_floor_and_one(strength, stored):
  scores = SCORES.replace(write_strength=jnp.array([strength, 0.0]))
  state = after(source=[-1, -1, 0], scores=scores)
  np.testing.assert_allclose(state.strength[2], stored)


def test_executed_operations_carry_gradients_and_others_none():
  def total(content, prob, strength, retained):
    scores = SCORES.replace(
      updates=UPDATES.replace(content=content, prob=prob),
      write_strength=strength,
      retained_strength=retained,
    )
    state = after(update=[0, -1, -1], source=[-1, -1, 1], scores=scores)
    return state.content.sum() + state.strength.sum()

  content, prob, strength, retained = jax.grad(total, argnums=(0, 1, 2, 3))(
    UPDATES.content,
    UPDATES.prob,
    SCORES.write_strength,
    jnp.array([0.8, 0.3, 0.0]),
  )
  # d/d content is prob; d/d prob is the sum of (updated - content), and 0.9 -
  # strength.
  np.testing.assert_allclose(content[0, 0], [0.25, 0.25])
  assert np.count_nonzero(content) == 2
  np.testing.assert_allclose(
    prob, [[8.1, 0.0], [0.0] * 2, [0.0] * 2], rtol=1e-6
  )
  np.testing.assert_allclose(strength, [0.0, 1.0])
  np.testing.assert_allclose(retained, [0.75, 1.0, 0.0])


def test_the_state_is_float32_whatever_the_candidates_are():
  candidates = jax.tree.map(
    lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x,
    CANDIDATES,
  )
  allocation = Allocation(
    update_source=jnp.array(NONE),
    forget=jnp.array(NO),
    source=jnp.array([0, 1, -1]),
    evict=jnp.array([True, True, False]),
  )
  state = commit(STATE, candidates, SCORES, allocation)
  kinds = [state.content, state.age, state.usage, state.strength]
  assert [str(x.dtype) for x in kinds] == ["float32", "int32"] + 2 * ["float32"]
