"""Reading: attention tables computed by hand, the null slot, gradients."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import (
  init_state,
  read,
  read_bias,
  read_weights,
  temporal_links,
)
from tests.memory.streams import make_states

E = math.e


def memory(content, alive, age=None):
  state = init_state(num_slots=len(alive), width=4)
  return state.replace(
    content=jnp.array(content, jnp.float32),
    strength=jnp.array(alive, jnp.float32),
    age=state.age if age is None else jnp.array(age, jnp.int32),
  )


# With the scale 1/sqrt(4) the query [1, 0, 0, 0] has logits 1 and 0.
X, Y, Z = [2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]
QUERY = jnp.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def test_two_slots_of_different_strength_and_the_null_slot():
  state = memory([X, Y], [1.0, 0.5])
  total = 1 + E + 0.5
  weights = [[E / total, 0.5 / total], [1 / 2.5, 0.5 / 2.5]]
  np.testing.assert_allclose(read_weights(state, QUERY), weights, rtol=1e-6)
  values = [[2 * E / total, 1 / total, 0, 0], [0.8, 0.4, 0, 0]]
  np.testing.assert_allclose(read(state, QUERY), values, rtol=1e-6)


def test_the_null_slot_takes_half_of_a_neutral_read():
  state = memory([Z], [1.0])
  np.testing.assert_allclose(read_weights(state, QUERY), [[0.5], [0.5]])


def test_free_slots_are_not_read_whatever_they_hold():
  state = memory([X, Y], [1.0, 0.0])
  alone = memory([X], [1.0])
  assert np.all(read_weights(state, QUERY)[:, 1] == 0)
  np.testing.assert_array_equal(read(state, QUERY), read(alone, QUERY))


def test_a_bias_is_added_to_the_logits_of_slots():
  state = memory([X, Y, Z], [1.0, 0.5, 0.0])
  bias = jnp.array([[0.0, 2.0, 9.0], [1.0, 0.0, 9.0]])
  first, second = 1 + E + 0.5 * E**2, 1 + E + 0.5
  weights = [[E / first, 0.5 * E**2 / first, 0], [E / second, 0.5 / second, 0]]
  got = read_weights(state, QUERY, bias=bias)
  np.testing.assert_allclose(got, weights, rtol=1e-6)


def test_links_lead_from_each_slot_to_the_next_older_ones():
  # The third is free; the last two are of one age.
  state = memory([X] * 5, [1.0, 0.1, 0.0, 0.5, 0.5], age=[9, 2, 3, 5, 5])
  links = np.zeros((5, 5))
  links[1, [3, 4]] = 1
  links[[3, 4], 0] = 1
  np.testing.assert_array_equal(temporal_links(state), links)
  assert not temporal_links(init_state(num_slots=3, width=4)).any()


def test_an_empty_memory_reads_exactly_zero():
  state = init_state(num_slots=3, width=4)
  for bias in (0.0, 2.0):
    got = read(state, 1e6 * QUERY, age_bias=bias)
    np.testing.assert_array_equal(got, np.zeros((2, 4)))


def test_gradients_through_an_empty_memory_are_zero_and_finite():
  def total(content, alive, query, bias):
    state = init_state(num_slots=3, width=4)
    state = state.replace(content=content, strength=alive)
    return (read(state, query, age_bias=bias) ** 2 + 1).sum()

  grads = jax.grad(total, argnums=(0, 1, 2, 3))(
    jnp.zeros((3, 4)), jnp.zeros(3), QUERY, 0.5
  )
  for grad in grads:
    np.testing.assert_array_equal(grad, np.zeros_like(grad))


def test_the_strength_of_a_single_live_slot_has_a_gradient():
  def value(strength):
    state = memory([X, Y], [0.0, 0.0])
    state = state.replace(strength=state.strength.at[0].set(strength))
    return read(state, QUERY)[0, 0]

  # The read is 2*E*s/(1 + E*s); its derivative is 2*E/(1 + E*s)^2.
  slope = 2 * E / (1 + 0.5 * E) ** 2
  np.testing.assert_allclose(jax.grad(value)(0.5), slope, rtol=1e-5)


def test_age_bias_divides_strength_by_a_power_of_age():
  old = memory([X, Y], [1.0, 0.5], age=[3, 0])
  weak = memory([X, Y], [1 / 16, 0.5])
  np.testing.assert_allclose(
    read_weights(old, QUERY, age_bias=2.0),
    read_weights(weak, QUERY),
    rtol=1e-5,
  )


def test_age_bias_prefers_the_younger_of_two_equal_slots():
  state = memory([X, X], [1.0, 1.0], age=[4, 1])
  older, younger = read_weights(state, QUERY, age_bias=0.5)[0]
  assert younger > older
  unbiased = read_weights(state, QUERY)[0]
  assert unbiased[0] == unbiased[1]


def test_reads_tell_no_difference_between_old_and_ancient():
  old = memory([X, Y], [1.0, 0.5], age=[15, 0])
  ancient = memory([X, Y], [1.0, 0.5], age=[100_000, 0])
  weights = [read_weights(s, QUERY, age_bias=1.3) for s in (old, ancient)]
  np.testing.assert_array_equal(*weights)
  younger = memory([X, Y], [1.0, 0.5], age=[14, 0])
  assert (read_weights(younger, QUERY, age_bias=1.3) > weights[0])[0, 0]


def test_age_bias_is_learnable_from_reads_of_old_slots():
  state = memory([X, Y], [1.0, 0.5], age=[3, 0])
  slope = jax.grad(lambda b: read(state, QUERY, age_bias=b)[0, 0])(0.0)
  # p * (1 - p) * value * d logit, with p = E / (1 + E + 0.5).
  p = E / (1.5 + E)
  np.testing.assert_allclose(slope, -2 * p * (1 - p) * math.log(4), rtol=1e-5)


def test_log_strength_exponentiated_is_what_slots_compete_with():
  state = memory([X, Y, Z], [1.0, 0.5, 0.0], age=[3, 1, 0])
  np.testing.assert_allclose(
    jnp.exp(read_bias(state, 1.0)), [0.25, 0.25, 0.0], rtol=1e-6
  )


def test_masses_are_at_most_one_and_finite_on_extreme_states():
  states = make_states(0, 200)
  query = 1e3 * jax.random.normal(jax.random.key(0), (200, 3, 4))
  mass = jax.vmap(read_weights)(states, query)
  chex.assert_tree_all_finite(mass)
  assert mass.min() >= 0
  assert mass.sum(-1).max() <= 1 + 1e-6


def test_reads_are_float32_for_bfloat16_queries():
  state = memory([X, Y], [1.0, 0.5])
  got = read(state, QUERY.astype(jnp.bfloat16))
  assert got.dtype == jnp.float32
  np.testing.assert_array_equal(got, read(state, QUERY))


def test_a_query_of_another_width_is_an_error():
  with pytest.raises(AssertionError):
    read(memory([X], [1.0]), jnp.zeros((2, 3)))


@pytest.mark.parametrize(
  ("sizes", "message"),
  [
    ({"num_slots": 0, "width": 4}, "num_slots must be at least 1, got 0"),
    ({"num_slots": 2, "width": 0}, "width must be at least 1, got 0"),
  ],
)
def test_a_memory_without_slots_or_width_is_an_error(sizes, message):
  with pytest.raises(ValueError, match=message):
    init_state(**sizes)


def test_the_empty_memory_is_all_zeros_of_the_stated_types():
  state = init_state(num_slots=2, width=3)
  chex.assert_shape(state.content, (2, 3))
  chex.assert_shape([state.age, state.usage, state.strength], (2,))
  chex.assert_type(
    [state.content, state.age, state.usage, state.strength],
    [jnp.float32, jnp.int32, jnp.float32, jnp.float32],
  )
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(state))


def test_the_state_is_immutable():
  state = init_state(num_slots=2, width=3)
  with pytest.raises(AttributeError):
    state.strength = jnp.ones(2)
