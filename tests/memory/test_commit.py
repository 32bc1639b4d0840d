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
  proposal=jnp.array([[5.0, 6.0], [7.0, 8.0], [9.0, 9.0]]),
  write_priority=jnp.array([0.9, 0.8]),
  write_strength=jnp.array([0.9, 0.6]),
  retention_priority=jnp.zeros(3),
)
NO = [False] * 3


def after(
  *, update=NO, forget=NO, source=(-1, -1, -1), evict=NO, scores=SCORES
):
  allocation = Allocation(
    update=jnp.array(update),
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


def test_an_update_moves_the_content_by_its_probability():
  assert_state(
    after(update=[True, False, False]),
    # 1 + 0.25 * (5 - 1) and 2 + 0.25 * (6 - 2)
    [[2.0, 3.0], [3.0, 4.0], [0.0, 0.0]],
    [6, 1, 0],
    STATE.usage,
    [0.8, 0.4, 0.0],
  )


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


def test_retained_slots_decay_to_the_floor_and_updated_ones_do_not():
  scores = SCORES.replace(retained_strength=jnp.array([0.5, 1e-9, 0.7]))
  state = after(scores=scores)
  np.testing.assert_allclose(state.strength, [0.5, STRENGTH_FLOOR, 0.0])
  state = after(update=[True, True, False], scores=scores)
  np.testing.assert_allclose(state.strength, [0.8, 0.4, 0.0])


@pytest.mark.parametrize(
  ("strength", "stored"), [(1e-20, STRENGTH_FLOOR), (3.0, 1.0), (0.5, 0.5)]
)
def test_a_written_strength_lies_between_the_floor_and_one(strength, stored):
  scores = SCORES.replace(write_strength=jnp.array([strength, 0.0]))
  state = after(source=[-1, -1, 0], scores=scores)
  np.testing.assert_allclose(state.strength[2], stored)


def test_executed_operations_carry_gradients_and_others_none():
  def total(proposal, p_update, strength, retained):
    scores = SCORES.replace(
      proposal=proposal,
      action_probs=SCORES.action_probs.at[:, 1].set(p_update),
      write_strength=strength,
      retained_strength=retained,
    )
    state = after(
      update=[True, False, False], source=[-1, -1, 1], scores=scores
    )
    return state.content.sum() + state.strength.sum()

  got = jax.grad(total, argnums=(0, 1, 2, 3))(
    SCORES.proposal,
    SCORES.action_probs[:, 1],
    SCORES.write_strength,
    jnp.array([0.8, 0.3, 0.0]),
  )
  proposal, p_update, strength, retained = got
  # d/d proposal is p_update; d/d p_update is the sum of (proposal - content).
  np.testing.assert_allclose(proposal, [[0.25, 0.25], [0, 0], [0, 0]])
  np.testing.assert_allclose(p_update, [8.0, 0.0, 0.0])
  np.testing.assert_allclose(strength, [0.0, 1.0])
  np.testing.assert_allclose(retained, [0.0, 1.0, 0.0])


def test_the_state_is_float32_whatever_the_candidates_are():
  candidates = jax.tree.map(
    lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x,
    CANDIDATES,
  )
  allocation = Allocation(
    update=jnp.array(NO),
    forget=jnp.array(NO),
    source=jnp.array([0, 1, -1]),
    evict=jnp.array([True, True, False]),
  )
  state = commit(STATE, candidates, SCORES, allocation)
  kinds = [state.content, state.age, state.usage, state.strength]
  assert [str(x.dtype) for x in kinds] == ["float32", "int32"] + 2 * ["float32"]
