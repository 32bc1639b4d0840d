"""Metrics as clu collections, from pairs (sum, count)."""

from clu import metrics as clu_metrics

from nema_lc_jax.training.losses import Sums

LIFECYCLE = (
  "write_loss",
  "forget_loss",
  "stability_loss",
  "memory_utilisation",
  "memory_age",
  "write_rate",
  "update_rate",
  "forget_rate",
  "budget_used",
  "churn",
)
# Of tasks that know the truth.
TRUTH = (
  "write_precision",
  "write_recall",
  "premature_forget_rate",
  "stale_read_rate",
)
NAMES = ("loss", "task_loss", "accuracy", *LIFECYCLE, *TRUTH)
TRAIN_NAMES = (*NAMES, "learning_rate", "grad_norm")

EvalMetrics = clu_metrics.Collection.create(
  **dict.fromkeys(NAMES, clu_metrics.Average)
)
TrainMetrics = clu_metrics.Collection.create(
  **dict.fromkeys(TRAIN_NAMES, clu_metrics.Average)
)


def from_sums(kind: type, sums: Sums) -> clu_metrics.Collection:
  """A collection of `kind` from pairs; what is missing counts 0 of 0."""
  empty = kind.empty()
  fields = {
    name: clu_metrics.Average(total=total, count=count)
    for name, (total, count) in sums.items()
  }
  return empty.replace(**fields)


def compute(collection: clu_metrics.Collection) -> dict[str, float]:
  """Means by name; of what a memory does nothing where nothing was counted."""
  means = {}
  for name, metric in vars(collection).items():
    if isinstance(metric, clu_metrics.Average):
      total, count = float(metric.total), float(metric.count)
      if count or name not in (*LIFECYCLE, *TRUTH):
        means[name] = total / count if count else 0.0
  return means
