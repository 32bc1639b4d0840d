"""Metrics as clu collections of pairs (sum, count)."""

from clu import metrics as clu_metrics

from nema_lc_jax.runs import metric_names
from nema_lc_jax.runs.metric_names import BUDGET, LOSS, SLOTS, TASK
from nema_lc_jax.training.losses import Sums

LIFECYCLE = metric_names.of_kind(LOSS, SLOTS, BUDGET)
# Of tasks with ground truth.
TRUTH = metric_names.of_kind(metric_names.TRUTH)
NAMES = (*metric_names.of_kind(TASK), *LIFECYCLE, *TRUTH)
TRAIN_NAMES = (*NAMES, "learning_rate", "grad_norm")

EvalMetrics = clu_metrics.Collection.create(
  **dict.fromkeys(NAMES, clu_metrics.Average)
)
TrainMetrics = clu_metrics.Collection.create(
  **dict.fromkeys(TRAIN_NAMES, clu_metrics.Average)
)


def from_sums(kind: type, sums: Sums) -> clu_metrics.Collection:
  """A collection of `kind` from pairs; missing metrics are 0 of 0."""
  empty = kind.empty()
  fields = {
    name: clu_metrics.Average(total=total, count=count)
    for name, (total, count) in sums.items()
  }
  return empty.replace(**fields)


def compute(collection: clu_metrics.Collection) -> dict[str, float]:
  """Means by name, without memory metrics that counted nothing."""
  means = {}
  for name, metric in vars(collection).items():
    if isinstance(metric, clu_metrics.Average):
      total, count = float(metric.total), float(metric.count)
      if count or name not in (*LIFECYCLE, *TRUTH):
        means[name] = total / count if count else 0.0
  return means
