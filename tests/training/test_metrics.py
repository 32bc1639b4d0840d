"""The names of metrics: those that are summed up, in the order of the log."""

import jax
import jax.numpy as jnp

from nema_lc_jax import data
from nema_lc_jax.runs.metric_names import METRICS, of_kind
from nema_lc_jax.training import losses, metrics, truth
from tests.helpers import tiny_config
from tests.inspect.untrained import untrained


def test_what_is_summed_up_is_what_is_named():
  experiment, params = untrained(tiny_config())
  batch = next(
    data.eval_batches(experiment.dataset, "validation", batch_size=2, length=80)
  )

  def sums_of(params, batch):
    keys = jax.random.split(jax.random.key(0), 2)
    steps = experiment.model.apply(params, keys, batch).steps
    does = losses.lifecycle_sums(steps) | losses.dynamics_sums(steps, budget=2)
    return does, truth.truth_sums(steps, jnp.ones(len(keys), bool))

  lifecycle, known = jax.eval_shape(sums_of, params, batch)
  assert set(lifecycle) == set(metrics.LIFECYCLE)
  assert {*known, "stale_read_rate"} == set(metrics.TRUTH)


def test_the_log_has_the_metrics_in_the_order_of_all_versions():
  assert " ".join(metrics.TRAIN_NAMES) == (
    "loss task_loss accuracy write_loss forget_loss stability_loss"
    " memory_utilisation memory_age write_rate update_rate forget_rate"
    " budget_used churn write_precision write_recall update_precision"
    " update_recall premature_forget_rate stale_read_rate"
    " accuracy_if_held learning_rate grad_norm"
  )


def test_each_metric_is_of_one_kind_and_has_a_title_of_its_own():
  kinds = {metric.kind for metric in METRICS.values()}
  assert sorted(of_kind(*kinds)) == sorted(METRICS)
  assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
