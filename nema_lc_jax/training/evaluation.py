"""Evaluation of a model on a whole split, with the memory on and off."""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError, RunError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs import by_task
from nema_lc_jax.runs.intervals import Z, interval
from nema_lc_jax.training import distributed, metrics, oracle
from nema_lc_jax.training.capacity import rows_at
from nema_lc_jax.training.experiment import Experiment, under_fifo

# Below this share of candidates, a memory counts as empty.
LEAST_WRITE_RATE = 1e-3
NOTHING_WRITTEN = "nothing is written (write rate 0)."


class Evaluated(NamedTuple):
  """The results of a model on a split."""

  # Means by name, and the numbers of `examples` and `questions`.
  metrics: dict[str, float]
  correct: np.ndarray  # [examples], each one's share of correct answers
  questions: np.ndarray  # [examples]
  tasks: np.ndarray | None  # [examples]; None for data sets of one task
  # The loss of each token [examples, L], if it was asked for.
  nats: np.ndarray | None = None


def evaluate(
  experiment: Experiment,
  params: Params,
  split: str,
  *,
  budget: int | None = None,
  relaxed: bool = False,
  times: int = 1,
  at_step: int | None = None,
  limit: int | None = None,
  per_token: bool = False,
) -> Evaluated:
  """Evaluates every example of a split once.

  Args:
    experiment: its data set and model are used.
    params: of the model.
    split: "train", "validation" or "test".
    budget: replaces the model's own; 0 turns the memory off.
    relaxed: applies the model as in training: with its spare slots, soft
      updates, noise and dropout.
    times: text length as a multiple of data.length; other than at 1, only the
      first eval.examples are evaluated, in smaller batches.
    limit: evaluates only the first so many; None: all.
    at_step: the step of the parameters, for errors.
    per_token: also returns the loss of each token of a language model.

  Raises:
    ConfigError: if the split asks nothing.
    RunError: if a metric is not finite: such a model has no accuracy.
  """
  extra = (True,) if per_token else ()  # Programs are cached by arguments.
  step = experiment.steps.eval_step(budget, relaxed, *extra)
  total, seen = None, []
  batches = eval_batches(
    experiment, split, times, limit, in_buckets=not per_token
  )
  for batch in batches:
    update, rows = step(params, experiment.steps.put(batch))
    total = update if total is None else total.merge(update)
    seen.append(jax.device_get(rows))
  rows = jax.tree.map(lambda *parts: np.concatenate(parts), *seen)
  # Sorted by index: a mesh may permute the processes' rows.
  order = np.argsort(rows["index"], kind="stable")
  order = order[rows["weight"][order] > 0]
  rows = {name: array[order] for name, array in rows.items()}
  counts = {
    "examples": len(order),
    "questions": int(rows["questions"].sum()),
  }
  if not counts["questions"] and times == 1 and limit is None:
    raise ConfigError(
      f"nothing is asked in the {split} split of data set"
      f" {experiment.dataset.name!r} at length"
      f" {times * experiment.config.data.length}: all its labels are negative."
    )
  means = metrics.compute(total)
  dataset = experiment.dataset
  if dataset.head == "causal_lm" and dataset.byte_level:
    means["bits_per_byte"] = means["task_loss"] / math.log(2)
  _require_finite(means, split, at_step)
  return Evaluated(
    means | counts,
    rows["correct"],
    rows["questions"],
    rows.get("task"),
    rows.get("nats"),
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


def eval_batches(
  experiment: Experiment,
  split: str,
  times: int,
  limit: int | None = None,
  *,
  in_buckets: bool = True,
):
  """This process's rows of the batches of `evaluate`."""
  config = experiment.config
  length = times * config.data.length
  return data.eval_batches(
    experiment.dataset,
    split,
    batch_size=rows_at(config, times),
    length=length,
    buckets=experiment.buckets(length) if in_buckets else (),
    limit=limit if times == 1 else config.eval.examples,
    shard=distributed.shard(),
  )


def compare(
  experiment: Experiment,
  params: Params,
  split: str,
  *,
  at_step: int | None = None,
) -> dict[str, Any]:
  """Evaluates a split, and what the memory and its decisions are worth.

  `interval` is that of the share of correctly answered questions. With slots,
  `accuracy_memory_off` is that without memory. For a learned policy there are
  two more, of the first eval.examples: `accuracy_under_fifo`, of the same
  parameters but the policy's, and `accuracy_relaxed`, of the model as in
  training. `memory_gain_interval`, `fifo_gain_interval` and
  `relaxed_gain_interval` are 95% intervals of the accuracy minus these, paired
  by row and weighted by its questions. They are missing without
  eval.diagnostics, and if the first eval.examples ask nothing.
  For a data set of several tasks the result has `error_by_task`, and its
  metrics have the means over tasks.
  """
  evaluated = functools.partial(evaluate, split=split, at_step=at_step)
  on = evaluated(experiment, params)
  result = {
    "accuracy": on.metrics["accuracy"],
    "interval": interval(on.metrics["accuracy"], on.metrics["questions"]),
    "metrics": on.metrics,
  }
  if on.tasks is not None:
    result["error_by_task"] = by_task.errors(on.correct, on.tasks)
    on.metrics.update(by_task.summed_up(result["error_by_task"]))
  if experiment.has_memory:
    off = evaluated(experiment, params, budget=0)
    result["accuracy_memory_off"] = off.metrics["accuracy"]
    result["memory_gain_interval"] = gain_interval(on, off)
  few = experiment.config.eval.examples
  # Older runs have no such field.
  wanted = experiment.config.eval.get("diagnostics", True)
  if wanted and experiment.learns_policy and on.questions[:few].any():
    fifo = evaluated(*under_fifo(experiment, params), limit=few)
    result["accuracy_under_fifo"] = fifo.metrics["accuracy"]
    result["fifo_gain_interval"] = gain_interval(on, fifo)
    relaxed = evaluated(experiment, params, relaxed=True, limit=few)
    result["accuracy_relaxed"] = relaxed.metrics["accuracy"]
    result["relaxed_gain_interval"] = gain_interval(on, relaxed)
  return result


def gain_interval(one: Evaluated, other: Evaluated) -> tuple[float, float]:
  """The 95% interval of how much more one answers of the other's first rows."""
  gain = one.correct[: len(other.correct)] - other.correct
  return mean_interval(gain, other.questions)


def mean_interval(
  values: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
  """The 95% interval of the weighted mean of values [n] of independent rows."""
  total = max(weights.sum(), 1)
  mean = (weights * values).sum() / total
  error = Z * math.sqrt((weights**2 * (values - mean) ** 2).sum()) / total
  return float(mean - error), float(mean + error)


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
    found = first
    if times != 1:
      found = evaluate(experiment, params, split, times=times).metrics
    if not found["questions"]:
      logging.warning(
        "nothing is asked in the first config.eval.examples=%d of %s at %d"
        " times the length, which is left out",
        experiment.config.eval.examples, split, times,
      )  # fmt: skip
      continue
    metrics_by[str(times)] = found
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

  It does not help, or its decisions cost accuracy.

  Args:
    experiment: the run.
    result: from `compare`.
  """
  if not _has_policy(experiment):
    return None
  on, rate = result["accuracy"], _write_rate(result["metrics"])
  problem = _gain_problem(
    result["memory_gain_interval"], on, result["accuracy_memory_off"]
  )
  low, high = result.get("fifo_gain_interval", (0.0, 0.0))
  if not problem and high < 0:
    problem = (
      f"fifo with the same parameters is more accurate by {-high:.3f} to"
      f" {-low:.3f}"
    )
  if not problem:
    return None
  return f"COLLAPSED MEMORY: {problem}; write rate {rate:.3g}."


def early_warning(
  experiment: Experiment, params: Params, on: Evaluated, *, thorough: bool
) -> str | None:
  """What `memory_verdict` may find in the end; None if nothing is wrong.

  Args:
    experiment: the run.
    params: of the model.
    on: the result on the whole of validation.
    thorough: looks for more than that nothing is written; evaluates the first
      eval.examples with the memory off.
  """
  if not _has_policy(experiment):
    return None
  if _write_rate(on.metrics) < LEAST_WRITE_RATE:
    return NOTHING_WRITTEN
  if not thorough:
    return None
  few = experiment.config.eval.examples
  off = evaluate(experiment, params, "validation", budget=0, limit=few)
  share = lambda correct: (
    (correct[:few] * off.questions).sum() / max(off.questions.sum(), 1)
  )
  problem = _gain_problem(
    gain_interval(on, off), share(on.correct), share(off.correct)
  )
  return f"{problem}." if problem else None


def _has_policy(experiment: Experiment) -> bool:
  policy = experiment.config.memory.policy
  return experiment.has_memory and policy != "none"


def _write_rate(metrics: dict[str, float]) -> float:
  return metrics.get(
    "write_rate", 0.0
  )  # missing where nothing could be written


def _gain_problem(
  interval: tuple[float, float], on: float, off: float
) -> str | None:
  """What is wrong with what the memory adds to the accuracy."""
  low, high = interval
  both = f"{on:.3f} with the memory, {off:.3f} without"
  if high < 0:
    return f"accuracy is worse with the memory on ({both})"
  if low <= 0:
    return f"accuracy is the same with the memory off ({both})"
  return None
