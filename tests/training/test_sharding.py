"""One device, several by jit, and several by pmap: the same numbers."""

import functools

import jax
import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.training import metrics, sharding, steps
from nema_lc_jax.training.checks import require_divisible
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.sharding import CompiledSteps
from tests.helpers import tiny_config

STEPS = 3


@functools.cache
def experiment_of(make):
  config = make()
  config.model.dropout = 0.1  # the same masks on however many devices
  return make_experiment(config)


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
    functools.partial(steps.train_step, spec=experiment.steps.spec)
  )
  init = functools.partial(steps.init_train_state, experiment.steps.spec)
  state = jax.jit(init)(0, 1e-3)
  for batch in batches(experiment):
    state, values = step(state, batch)
  return state, values


@functools.cache
def parallel(make, **layout):
  """The steps over all devices, and where some of them end."""
  experiment = experiment_of(make)
  run = CompiledSteps(experiment.steps.spec, **layout)
  state = run.init(0, 1e-3)
  for batch in batches(experiment):
    state, values = run.train_step(None)(state, run.put(batch))
    jax.block_until_ready(values)
  return run, (state, values)


def pair_config():
  config = tiny_config()
  config.data = {"name": "pytext", "length": 64}
  config.model.pool = "slots"
  config.model.num_layers = 0
  config.memory.policy = "fifo"  # the learned one is in the other config
  return config


def carrying_config():
  return tiny_config(carry=0.7)


def assert_same(one, other):
  (state, values), (other_state, other_values) = one, other
  assert metrics.compute(other_values) == pytest.approx(
    metrics.compute(values), rel=1e-3, abs=1e-5
  )
  for a, b in zip(
    jax.tree.leaves((state.params, state.memory)),
    jax.tree.leaves((other_state.params, other_state.memory)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("make", [tiny_config, pair_config])
def test_all_devices_equal_one_by_jit_and_by_pmap(make):
  assert jax.device_count() == 4
  one = single_device(experiment_of(make))
  for kind in ("jit", "pmap"):
    assert_same(one, parallel(make, kind=kind)[1])


def test_carried_memories_stay_on_the_devices_of_their_rows():
  _, result = parallel(carrying_config, kind="jit")
  assert_same(single_device(experiment_of(carrying_config)), result)
  for leaf in jax.tree.leaves(result[0].memory):
    assert {s.data.shape[0] for s in leaf.addressable_shards} == {8 // 4}


def test_sharded_parameters_equal_replicated_ones(monkeypatch):
  monkeypatch.setattr(sharding, "LARGE", 32)
  _, one = parallel(tiny_config, kind="jit")
  for fsdp in (2, 4):
    _, other = parallel(tiny_config, fsdp=fsdp)
    assert_same(one, other)
    state, _ = other
    cut = 0
    for leaf in jax.tree.leaves((state.params, state.opt_state)):
      share = leaf.addressable_shards[0].data.size
      assert share in (leaf.size, leaf.size // fsdp)
      cut += share < leaf.size
    assert cut > 20


@pytest.mark.parametrize(
  ("shape", "fsdp", "expected"),
  [
    ((256, 1024), 4, (None, "fsdp")),
    ((1024, 256), 4, ("fsdp",)),
    ((255, 1024, 6), 4, (None, "fsdp")),
    ((1023, 64), 4, (None, "fsdp")),  # the largest is not divisible
    ((1023, 63), 4, ()),
    ((64, 64), 4, ()),  # too small
    ((256, 1024), 1, ()),
  ],
)
def test_the_largest_dimension_that_can_be_is_cut(shape, fsdp, expected):
  assert tuple(sharding.layout(shape, fsdp)) == expected


def test_the_step_is_traced_once_per_number_of_slots():
  run, _ = parallel(tiny_config, kind="jit")
  assert run.train_step(None)._cache_size() == 1


def test_unequal_shares_are_refused():
  with pytest.raises(ValueError, match=r"batch_size=6 must be a positive mult"):
    require_divisible("batch_size", 6)
  with pytest.raises(ValueError, match="known: jit, pmap"):
    CompiledSteps(None, kind="threads")
  with pytest.raises(ValueError, match=r"fsdp=3 must divide .* devices, 4"):
    CompiledSteps(None, fsdp=3)
  with pytest.raises(ValueError, match="got 1 processes and fsdp=2: use 'jit'"):
    CompiledSteps(None, kind="pmap", fsdp=2)
