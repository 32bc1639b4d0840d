"""The metrics of a run: their names on disk, and their titles in figures."""

from typing import NamedTuple

# What a metric is of.
TASK = "task"
LOSS = "lifecycle losses"
SLOTS = "what the memory does"
BUDGET = "what it spends"
TRUTH = "what it does, against the ground truth"
BY_TASK = "data sets of several tasks"
COST = "cost"


class Metric(NamedTuple):
  """What a metric is of, and how figures name it."""

  kind: str
  title: str  # of a panel that shows it alone
  # Of a rate, its label among other rates, and the operation whose colour it
  # has.
  label: str = ""
  operation: str = ""


# In the order of metrics.jsonl.
METRICS = {
  "loss": Metric(TASK, "Loss"),
  "task_loss": Metric(TASK, "Task loss"),
  "accuracy": Metric(TASK, "Accuracy"),
  "write_loss": Metric(LOSS, "Write loss"),
  "forget_loss": Metric(LOSS, "Forget loss"),
  "stability_loss": Metric(LOSS, "Stability loss"),
  "memory_utilisation": Metric(SLOTS, "Memory utilisation (share)"),
  "memory_age": Metric(SLOTS, "Retention age (chunks)"),
  "write_rate": Metric(
    SLOTS, "Writes per candidate", "write / candidate", "write"
  ),
  "update_rate": Metric(
    SLOTS, "Updates per live slot", "update / slot", "update"
  ),
  "forget_rate": Metric(
    SLOTS, "Forgets per live slot", "forget / slot", "forget"
  ),
  "budget_used": Metric(BUDGET, "Budget used"),
  "churn": Metric(SLOTS, "Items lost per live slot", "churn / slot", "replace"),
  "write_precision": Metric(TRUTH, "Writes that hold a fact"),
  "write_recall": Metric(TRUTH, "Facts that are written"),
  "premature_forget_rate": Metric(TRUTH, "Facts lost before their use"),
  "stale_read_rate": Metric(TRUTH, "Answers that were right before"),
  "mean_error": Metric(BY_TASK, "Mean error over tasks"),
  "failed_tasks": Metric(BY_TASK, "Failed tasks"),
  "num_parameters": Metric(COST, "Parameters"),
  "examples_per_second": Metric(COST, "Training speed (examples/s)"),
  "peak_memory_bytes": Metric(COST, "Training memory (bytes)"),
}


def of_kind(*kinds: str) -> tuple[str, ...]:
  """The names of all metrics of these kinds."""
  return tuple(name for name, m in METRICS.items() if m.kind in kinds)
