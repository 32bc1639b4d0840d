"""The metrics of a run: their names on disk, and their titles in figures."""

from typing import NamedTuple

# The kinds of metrics.
TASK = "task"
LOSS = "lifecycle losses"
SLOTS = "memory operations"
BUDGET = "use of the budget"
TRUTH = "memory operations compared with the ground truth"
BITS = "language modelling"
BY_TASK = "data sets of several tasks"
COST = "cost"


class Metric(NamedTuple):
  """The kind of a metric, and its names in figures."""

  kind: str
  title: str  # of a panel that shows it alone
  # For rates: the label among other rates, and the operation that gives the
  # colour.
  label: str = ""
  operation: str = ""


# In the order of metrics.jsonl.
METRICS = {
  "loss": Metric(TASK, "Loss"),
  "task_loss": Metric(TASK, "Task loss"),
  "accuracy": Metric(TASK, "Accuracy"),
  "bits_per_byte": Metric(BITS, "Bits per byte"),
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
  "write_precision": Metric(TRUTH, "Writes with a fact"),
  "write_recall": Metric(TRUTH, "Facts written"),
  "update_precision": Metric(TRUTH, "Updates of the right slot"),
  "update_recall": Metric(TRUTH, "Facts that update their slot"),
  "premature_forget_rate": Metric(TRUTH, "Facts lost before use"),
  "stale_read_rate": Metric(TRUTH, "Stale answers"),
  "accuracy_if_held": Metric(TRUTH, "Accuracy if the facts are held"),
  "mean_error": Metric(BY_TASK, "Mean error over tasks"),
  "failed_tasks": Metric(BY_TASK, "Failed tasks"),
  "num_parameters": Metric(COST, "Parameters"),
  "examples_per_second": Metric(COST, "Training speed (examples/s)"),
  "peak_memory_bytes": Metric(COST, "Training memory (bytes)"),
}


def of_kind(*kinds: str) -> tuple[str, ...]:
  """The names of all metrics of these kinds."""
  return tuple(name for name, m in METRICS.items() if m.kind in kinds)
