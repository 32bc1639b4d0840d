"""Evaluation of a model on a whole split, with the memory on and off."""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError, RunError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs import by_task
from nema_lc_jax.runs.intervals import Z, interval
from nema_lc_jax.training import distributed, metrics, oracle
from nema_lc_jax.training.capacity import rows_at
from nema_lc_jax.training.experiment import Experiment


class Evaluated(NamedTuple):
  """The results of a model on a split."""

  metrics: dict[str, float]  # means by name, and the number of `examples`
  correct: np.ndarray  # [examples], each one's share of correct answers
  tasks: np.ndarray | None  # [examples]; None for data sets of one task


def evaluate(
  experiment: Experiment,
  params: Params,
  split: str,
  *,
  budget: int | None = None,
  times: int = 1,
  at_step: int | None = None,
) -> Evaluated:
  """Evaluates every example of a split once.

  Args:
    experiment: its data set and model are used.
    params: of the model.
    split: "train", "validation" or "test".
    budget: replaces the model's own; 0 turns the memory off.
    times: text length as a multiple of data.length; other than at 1, only the
      first eval.examples are evaluated, in smaller batches.
    at_step: the step of the parameters, for errors.

  Raises:
    ConfigError: if the split asks nothing.
    RunError: if a metric is not finite: such a model has no accuracy.
  """
  step = experiment.steps.eval_step(budget)
  total, seen = None, []
  for batch in eval_batches(experiment, split, times):
    update, rows = step(params, experiment.steps.put(batch))
    total = update if total is None else total.merge(update)
    seen.append(jax.device_get(rows))
  rows = jax.tree.map(lambda *parts: np.concatenate(parts), *seen)
  # Sorted by index: a mesh may permute the processes' rows.
  order = np.argsort(rows["index"], kind="stable")
  order = order[rows["weight"][order] > 0]
  rows = {name: array[order] for name, array in rows.items()}
  if not float(total.accuracy.count):
    raise ConfigError(
      f"nothing is asked in the {split} split of data set"
      f" {experiment.dataset.name!r} at length"
      f" {times * experiment.config.data.length}: all its labels are negative."
    )
  means = metrics.compute(total)
  _require_finite(means, split, at_step)
  return Evaluated(
    means | {"examples": len(order)},
    rows["correct"],
    rows.get("task"),
  )


def _require_finite(
  means: dict[str, float], split: str, at_step: int | None
) -> None:
  """Raises RunError, which names the first metric that is not finite."""
  for name, value in means.items():
    if not math.isfinite(value):
      of = "" if at_step is None else f" of step {at_step}"
      raise RunError(
        f"the {name} on the {split} split is {value} with the parameters{of}:"
        " the parameters or the data are the cause; try a lower"
        " config.train.learning_rate."
      )


def eval_batches(experiment: Experiment, split: str, times: int):
  """This process's rows of the batches of `evaluate`."""
  config = experiment.config
  return data.eval_batches(
    experiment.dataset,
    split,
    batch_size=rows_at(config, times),
    length=times * config.data.length,
    limit=None if times == 1 else config.eval.examples,
    shard=distributed.shard(),
  )


def on_and_off(
  experiment: Experiment,
  params: Params,
  split: str,
  *,
  at_step: int | None = None,
) -> dict[str, Any]:
  """Evaluates a split with the memory on and, if there is one, off.

  `memory_gain_interval` is the 95% interval of the difference, paired by row.
  For a data set of several tasks the result has `error_by_task`, and its
  metrics have the means over tasks.
  """
  evaluated = functools.partial(
    evaluate, experiment, params, split, at_step=at_step
  )
  on, correct, tasks = evaluated()
  result = {
    "accuracy": on["accuracy"],
    "interval": interval(on["accuracy"], on["examples"]),
    "metrics": on,
  }
  if tasks is not None:
    result["error_by_task"] = by_task.errors(correct, tasks)
    on |= by_task.summed_up(result["error_by_task"])
  if experiment.has_memory:
    off, correct_off, _ = evaluated(budget=0)
    gain = correct - correct_off
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
  """Metrics, and the oracle's accuracy, at all eval.length_multipliers.

  Args:
    experiment: the run.
    params: of the model.
    split: as in `evaluate`.
    first: the metrics at multiplier 1, which are known already.
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
  """One line that says why the memory counts as collapsed; None if it does not.

  Args:
    experiment: the run.
    result: from `on_and_off`.
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
  write_rate = on.get("write_rate", 0.0)  # missing where there was no candidate
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
