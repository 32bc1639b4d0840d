"""Evaluating a model on all of a split, with the memory on and off."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from nema_lc_jax import data
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs import by_task
from nema_lc_jax.runs.intervals import Z, interval
from nema_lc_jax.training import distributed, metrics, oracle
from nema_lc_jax.training.experiment import Experiment


class Evaluated(NamedTuple):
  """What a model does with a split."""

  metrics: dict[str, float]  # means by name, and `examples`, their number
  right: np.ndarray  # share of right answers of each example [examples]
  tasks: np.ndarray | None  # of each example; None where they name none


def evaluate(
  experiment: Experiment,
  params: Params,
  split: str,
  *,
  budget: int | None = None,
  times: int = 1,
) -> Evaluated:
  """Metrics over every example of a split, once each.

  Args:
    experiment: whose data set and model it is.
    params: of the model.
    split: "train", "validation" or "test".
    budget: in place of the model's own; 0 is memory off.
    times: how many times data.length a text has; where that is not 1, only
      the first eval.examples are evaluated, in smaller batches.
  """
  step = experiment.steps.eval_step(budget)
  total, seen = None, []
  for batch in eval_batches(experiment, split, times):
    update, rows = step(params, experiment.steps.put(batch))
    total = update if total is None else total.merge(update)
    seen.append(jax.device_get(rows))
  rows = jax.tree.map(lambda *parts: np.concatenate(parts), *seen)
  # By number: a mesh may hold the processes' rows in another order.
  order = np.argsort(rows["index"], kind="stable")
  order = order[rows["weight"][order] > 0]
  rows = {name: array[order] for name, array in rows.items()}
  return Evaluated(
    metrics.compute(total) | {"examples": len(order)},
    rows["right"],
    rows.get("task"),
  )


def eval_batches(experiment: Experiment, split: str, times: int):
  """This process's rows of the batches of `evaluate`, at times the length."""
  config = experiment.config
  rows, devices = config.train.eval_batch_size, jax.device_count()
  # Few long texts at a time would leave a device idle in the memory scan; but
  # the memory that full attention takes grows with the square of the length.
  full = config.model.encoder == "full"
  most = rows // times**2 if full else 8 * rows // times
  return data.eval_batches(
    experiment.dataset,
    split,
    batch_size=max(min(rows, most) // devices, 1) * devices,
    length=times * config.data.length,
    limit=None if times == 1 else config.eval.examples,
    shard=distributed.shard(),
  )


def on_and_off(
  experiment: Experiment, params: Params, split: str
) -> dict[str, Any]:
  """The metrics with the memory on, and what is left with it off.

  `memory_gain_interval` is the 95% interval of the difference, paired by row.
  Of a data set of several tasks there is `error_by_task`, too, and what it
  sums up to is among the metrics.
  """
  on, right, tasks = evaluate(experiment, params, split)
  result = {
    "accuracy": on["accuracy"],
    "interval": interval(on["accuracy"], on["examples"]),
    "metrics": on,
  }
  if tasks is not None:
    result["error_by_task"] = by_task.errors(right, tasks)
    on |= by_task.summed_up(result["error_by_task"])
  if experiment.config.model.encoder == "memory":
    off, right_off, _ = evaluate(experiment, params, split, budget=0)
    gain = right - right_off
    error = Z * gain.std() / math.sqrt(len(gain))
    result["accuracy_memory_off"] = off["accuracy"]
    result["memory_gain_interval"] = (
      float(gain.mean() - error),
      float(gain.mean() + error),
    )
  return result


def by_length(
  experiment: Experiment, params: Params, split: str, first: dict[str, float]
) -> dict[str, Any]:
  """Accuracy, the oracle's, and other metrics at all eval.length_multipliers.

  Args:
    experiment: the run.
    params: of the model.
    split: which to evaluate.
    first: the metrics at the config's own length, which are known already.
  """
  metrics_by, oracle_by = {}, {}
  for times in experiment.config.eval.length_multipliers:
    metrics_by[str(times)] = (
      first
      if times == 1
      else evaluate(experiment, params, split, times=times).metrics
    )
    batches = eval_batches(experiment, split, times)
    best = oracle.accuracy(experiment.config, experiment.dataset, batches)
    if best is not None:
      oracle_by[str(times)] = best
  return {
    "accuracy_by_length": {k: v["accuracy"] for k, v in metrics_by.items()},
    "oracle_accuracy_by_length": oracle_by or None,
    "metrics_by_length": metrics_by,
  }


def memory_verdict(
  experiment: Experiment, result: dict[str, Any]
) -> str | None:
  """What is wrong with the memory of a run, in one line; None if nothing is.

  Args:
    experiment: the run.
    result: of `on_and_off`.
  """
  c, memory = experiment.config, experiment.config.memory
  if c.model.encoder != "memory" or memory.policy == "none":
    return None
  on = result["metrics"]
  per_chunk = min(memory.budget, memory.num_candidates)
  most = per_chunk / memory.num_candidates
  # Only a policy with parameters learns when to write.
  policy = experiment.steps.template.params["policy"]
  learned = bool(jax.tree.leaves(policy))
  offered = c.data.length // c.model.chunk_length * per_chunk
  problems = []
  write_rate = on.get("write_rate", 0.0)  # of no chunk: nothing is written
  if write_rate < 1e-3:
    problems.append("nothing is written (write rate 0)")
  elif learned and write_rate > 0.999 * most and offered > memory.num_slots:
    problems.append(
      f"everything is written (write rate {write_rate:.3f}, saturated)"
    )
  low, high = result["memory_gain_interval"]
  both = (
    f"{on['accuracy']:.3f} with the memory,"
    f" {result['accuracy_memory_off']:.3f} without"
  )
  if high < 0:
    problems.append(f"accuracy is worse with the memory on ({both})")
  elif low <= 0:
    problems.append(f"accuracy is the same with the memory off ({both})")
  if not problems:
    return None
  return "COLLAPSED MEMORY: " + "; ".join(problems) + "."
