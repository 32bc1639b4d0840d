"""How long items stay in the memory."""

import jax
import numpy as np

from nema_lc_jax.inspect.horizon import lifetimes, measure_horizon, survival
from tests.helpers import tiny_config
from tests.inspect.untrained import untrained


def test_survival_by_a_hand_made_table():
  # Of five items one leaves at age 1 and two at age 3; one is held to the end
  # at age 2 and one at age 3.
  durations = [1, 2, 3, 3, 3]
  ended = np.array([True, False, True, True, False])
  curve = survival(durations, ended)
  np.testing.assert_array_equal(curve.age, [0, 1, 2, 3])
  np.testing.assert_array_equal(curve.at_risk, [5, 5, 4, 3])
  np.testing.assert_allclose(curve.share, [1, 4 / 5, 4 / 5, 4 / 5 * 1 / 3])


def test_items_that_are_all_held_to_the_end_all_survive():
  curve = survival([2, 4, 4], np.zeros(3, bool))
  np.testing.assert_array_equal(curve.at_risk, [3, 3, 3, 2, 2])
  np.testing.assert_array_equal(curve.share, np.ones(5))


def test_lifetimes_by_a_hand_made_table():
  # Slot 0: written in 0, replaced in 2, forgotten in 4 (step 3 is padding).
  # Slot 1: written in 1, held to the end. Slot 2: never written.
  written = np.zeros((6, 3), bool)
  left = np.zeros((6, 3), bool)
  written[[0, 2, 1], [0, 0, 1]] = True
  left[[2, 4], [0, 0]] = True
  active = np.array([True, True, True, False, True, True])
  durations, ended = lifetimes(written, left, active)
  assert durations.tolist() == [2, 1, 3]
  assert ended.tolist() == [True, True, False]


def test_no_items_survive_nothing():
  none = np.zeros((4, 2), bool)
  durations, ended = lifetimes(none, none, np.ones(4, bool))
  assert survival(durations, ended).share.tolist() == [1.0]


def test_the_horizon_counts_every_item():
  config = tiny_config()
  config.model.num_layers = 1
  experiment, params = untrained(config)
  found = measure_horizon(experiment, params, times=3, examples=5)
  assert found["examples"] == 5
  assert found["length"] == 240
  left = sum(found["age_at_leaving"])
  assert found["items_written"] == left + found["items_held_at_the_end"]
  # In the end, every slot of every text holds an item.
  assert found["items_held_at_the_end"] == 5 * 3
  examples = experiment.dataset.evaluation("validation", 240)
  rows = [examples[i] for i in range(5)]
  batch = {k: np.stack([row[k] for row in rows]) for k in ("inputs", "mask")}
  keys = jax.random.split(jax.random.key(0), 5)  # nothing is drawn
  steps = jax.jit(experiment.model.apply)(params, keys, batch).steps
  assert found["items_written"] == steps.writes.sum()
  assert np.shape(found["rates"]["churn"]) == (30,)
  assert found["rates"]["churn"][0] == 0  # nothing is there to be lost
