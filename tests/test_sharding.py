"""One device, several by jit, and several by pmap: the same numbers."""

import functools

import jax
import numpy as np
import pytest

from nema_lc_jax import data, metrics
from nema_lc_jax import step as steps
from nema_lc_jax.experiment import make_experiment
from nema_lc_jax.sharding import make_parallel, require_divisible
from tests.helpers import tiny_config

STEPS = 3


def batches(experiment):
  iterator = data.train_iterator(
    experiment.dataset,
    batch_size=8,
    seed=0,
    length=experiment.config.data.length,
  )
  return [next(iterator) for _ in range(STEPS)]


def single_device(experiment):
  step = jax.jit(
    functools.partial(steps.train_step, trainer=experiment.trainer)
  )
  init = functools.partial(steps.init_train_state, experiment.trainer)
  state = jax.jit(init)(0, 1e-3)
  for batch in batches(experiment):
    state, values = step(state, batch)
  return state, values


def parallel(experiment, kind):
  run = make_parallel(experiment.trainer, kind=kind)
  state = run.init(0, 1e-3)
  for batch in batches(experiment):
    state, values = run.train_step(None)(state, run.put(batch))
  return state, values


def pair_config():
  config = tiny_config()
  config.data = {"name": "pytext", "length": 64}
  config.model.pool = "slots"
  config.model.num_layers = 0
  return config


@pytest.mark.parametrize("make", [tiny_config, pair_config])
def test_all_devices_equal_one_by_jit_and_by_pmap(make):
  assert jax.device_count() == 4
  config = make()
  config.model.dropout = 0.1  # the same masks on however many devices
  experiment = make_experiment(config)
  state, values = single_device(experiment)
  for kind in ("jit", "pmap"):
    other, other_values = parallel(experiment, kind)
    assert metrics.compute(other_values) == pytest.approx(
      metrics.compute(values), rel=1e-3, abs=1e-5
    )
    for a, b in zip(
      jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True
    ):
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_the_step_is_traced_once_per_number_of_slots():
  experiment = make_experiment(tiny_config())
  run = make_parallel(experiment.trainer)
  state = run.init(0, 1e-3)
  for batch in batches(experiment):
    state, _ = run.train_step(None)(state, run.put(batch))
  assert run.train_step(None)._cache_size() == 1


def test_unequal_shares_are_refused():
  with pytest.raises(ValueError, match=r"batch_size=6 must be a positive mult"):
    require_divisible("batch_size", 6)
  with pytest.raises(ValueError, match="known: jit, pmap"):
    make_parallel(None, kind="threads")
