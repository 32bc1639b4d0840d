import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax import data, models
from nema_lc_jax.memory.types import Allocation, StepOutput
from nema_lc_jax.training import losses
from nema_lc_jax.training.experiment import make_experiment
from tests.helpers import tiny_config


def hand_steps() -> StepOutput:
  """One text, 3 chunks (the last is padding), 2 slots, 1 candidate, by hand."""
  shape = (1, 3, 2)
  source = jnp.array([[[0, -1], [-1, 0], [-1, -1]]])
  none = jnp.zeros(shape, bool)
  return StepOutput(
    read=None,
    writes=jnp.array([[1, 1, 0]]),
    updates=jnp.array([[0, 1, 0]]),
    forgets=jnp.array([[0, 0, 0]]),
    evictions=jnp.array([[0, 0, 0]]),
    active=jnp.array([[True, True, False]]),
    attention=jnp.zeros(shape),
    action_probs=jnp.array(
      [
        [
          [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
          [[0.5, 0.1, 0.4], [0.7, 0.1, 0.2]],
          [[0.2, 0.2, 0.6], [0.9, 0.1, 0.0]],
        ]
      ]
    ),
    write_strength=jnp.array([[[0.7], [0.3], [0.9]]]),
    stored=jnp.array([[[0.8], [0.4], [0.9]]]),
    candidates=jnp.array([[[True], [True], [False]]]),
    kept=jnp.array([[[False, False], [True, False], [True, True]]]),
    allocation=Allocation(
      # By another candidate than the one that is written in this step.
      update_source=jnp.full(shape, -1).at[0, 1, 0].set(1),
      forget=none,
      source=source,
      evict=none,
    ),
    age=jnp.array([[[0, 0], [0, 0], [1, 0]]]),
    usage=jnp.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]),
    strength=jnp.array([[[0.0, 0.0], [0.8, 0.0], [0.8, 0.4]]]),
  )


def mean(pair) -> float:
  return float(pair[0] / jnp.maximum(pair[1], 1e-9))


def test_lifecycle_losses_equal_hand_computed_values():
  sums = losses.lifecycle_sums(hand_steps())
  assert mean(sums["write_loss"]) == pytest.approx((80 / 83 + 40 / 43) / 2)
  # Only slot 0 in step 1 was alive in an active step: age 0, usage 1.
  phi = 0.5 * (1.0 + 0.5)
  assert mean(sums["forget_loss"]) == pytest.approx(0.4 * phi)
  # No slot kept its item over two active steps in a row after the first.
  assert float(sums["stability_loss"][1]) == 0


def test_stability_counts_slots_that_kept_their_item():
  steps = hand_steps()
  steps = steps.replace(active=jnp.array([[True, True, True]]))
  total, count = losses.lifecycle_sums(steps)["stability_loss"]
  change = (0.3**2 + 0.1**2 + 0.2**2) / 3
  assert float(count) == 1
  assert float(total) == pytest.approx(change, abs=1e-6)


def test_dynamics_equal_hand_computed_values():
  sums = losses.dynamics_sums(hand_steps(), budget=2)
  expected = {
    "memory_utilisation": (0.5 + 1.0) / 2,
    "memory_age": (0 + 1 + 0) / 3,
    "write_rate": 1.0,
    "update_rate": 1.0,
    "forget_rate": 0.0,
    "churn": 0.0,
    "budget_used": (0.5 + 1.0) / 2,
  }
  assert {k: mean(v) for k, v in sums.items()} == pytest.approx(expected)


def test_task_loss_is_the_mean_over_what_is_asked():
  logits = jnp.array([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [3.0, 0.0]]])
  batch = {
    "label": jnp.array([[0, -1], [1, 1]]),
    "weight": jnp.array([1.0, 1.0]),
  }
  sums = losses.task_sums(logits, batch)
  expected = [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(3))]
  assert mean(sums["task_loss"]) == pytest.approx(np.mean(expected), abs=1e-6)
  assert mean(sums["accuracy"]) == pytest.approx(1 / 3)
  batch["weight"] = jnp.array([1.0, 0.0])
  assert mean(losses.task_sums(logits, batch)["accuracy"]) == 1.0


def test_all_pairs_weigh_both_classes_the_same():
  groups = jnp.array([0, 1, 2, 1])
  always = jnp.stack([jnp.zeros((4, 4)), jnp.ones((4, 4))], axis=-1)
  sums = losses.task_sums(always, {"group": groups})
  assert mean(sums["accuracy"]) == pytest.approx(0.5)
  # Six of the sixteen pairs are of one group.
  perfect = (groups[:, None] == groups[None]).astype(jnp.float32)
  logits = jnp.stack([1 - perfect, perfect], axis=-1)
  assert mean(losses.task_sums(logits, {"group": groups})["accuracy"]) == 1.0


def test_each_lifecycle_loss_has_a_gradient_to_the_controller():
  config = tiny_config()
  experiment = make_experiment(config)
  batch = next(
    data.train_iterator(experiment.dataset, batch_size=4, seed=0, length=80)
  )
  keys = jax.random.split(jax.random.key(0), 4)

  def loss(policy_params, params):
    params = params | {"policy": policy_params}
    output = experiment.model.apply(params, keys, batch, train=True)
    sums = losses.lifecycle_sums(output.steps)
    return {name: total / count for name, (total, count) in sums.items()}

  params = jax.jit(experiment.model.init)(jax.random.key(0))
  grads = jax.jit(jax.jacrev(loss))(params["policy"], params)
  parts = {"write": "gate", "forget": "slots", "stability": "slots"}
  for name, part in parts.items():
    leaves = jax.tree.leaves(grads[f"{name}_loss"][part])
    norms = [float(jnp.abs(g).max()) for g in leaves]
    assert all(np.isfinite(norms)), name
    assert min(norms) > 0, name


def test_heuristics_lifecycle_losses_have_no_gradient():
  model = models.build_model(
    head="classify",
    vocab_size=5,
    num_classes=2,
    chunk_length=4,
    width=8,
    num_heads=2,
    policy="fifo",
    num_slots=2,
  )
  params = jax.jit(model.init)(jax.random.key(0))
  batch = {
    "inputs": jnp.ones((2, 16), jnp.int32),
    "mask": jnp.ones((2, 16), bool),
  }
  keys = jax.random.split(jax.random.key(0), 2)

  def loss(params):
    sums = losses.lifecycle_sums(model.apply(params, keys, batch).steps)
    return sum(total for total, _ in sums.values())

  grads = jax.jit(jax.grad(loss))(params)
  assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) == 0
