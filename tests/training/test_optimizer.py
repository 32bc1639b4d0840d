import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.training.optimizer import (
  learning_rate_schedule,
  make_optimizer,
)

PARAMS = {
  "encoder": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
  "policy": {"gate": {"kernel": jnp.ones((2, 2))}},
}


def optimizer(**kwargs):
  options = {"weight_decay": 0.5, "clip_norm": 1.0, "policy_factor": 3.0}
  return make_optimizer(**options | kwargs)


def step(grads, tx, state=None):
  return tx.update(grads, tx.init(PARAMS) if state is None else state, PARAMS)


def ones(scale=1.0):
  return {
    "encoder": {"kernel": jnp.full((2, 2), scale), "bias": jnp.full(2, scale)},
    "policy": {"gate": {"kernel": jnp.full((2, 2), scale)}},
  }


def test_policy_has_its_own_rate_and_no_decay():
  updates, _ = step(ones(), optimizer())
  # Adam's first direction is sign(grad); decay adds 0.5 * param.
  np.testing.assert_allclose(updates["encoder"]["kernel"], 1.5, rtol=1e-4)
  np.testing.assert_allclose(updates["encoder"]["bias"], 1.0, rtol=1e-4)
  np.testing.assert_allclose(
    updates["policy"]["gate"]["kernel"], 3.0, rtol=1e-4
  )


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_non_finite_gradients_are_skipped_and_counted(bad):
  tx = optimizer()
  updates, state = step(ones(), tx)
  grads = ones()
  grads["encoder"]["bias"] = jnp.array([1.0, bad])
  for count in range(1, 4):
    updates, state = step(grads, tx, state)
    assert float(jnp.abs(updates["policy"]["gate"]["kernel"]).max()) == 0
    assert int(state.total_notfinite) == count
    assert int(state.notfinite_count) == count
  updates, state = step(ones(), tx, state)
  assert float(jnp.abs(updates["encoder"]["bias"]).min()) > 0
  assert int(state.total_notfinite) == 3
  assert int(state.notfinite_count) == 0  # in a row


def test_schedules():
  cosine = learning_rate_schedule(steps=100, warmup_steps=10)
  assert [float(cosine(s)) for s in (0, 5, 10, 55, 100)] == pytest.approx(
    [0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6
  )
  rsqrt = learning_rate_schedule(steps=100, warmup_steps=10, schedule="rsqrt")
  assert float(rsqrt(40)) == pytest.approx(0.5)
  with pytest.raises(ValueError, match="known: cosine, constant, rsqrt"):
    learning_rate_schedule(steps=9, warmup_steps=1, schedule="step")
  with pytest.raises(ValueError, match="warmup_steps=10 must lie between 0"):
    learning_rate_schedule(steps=9, warmup_steps=10)
