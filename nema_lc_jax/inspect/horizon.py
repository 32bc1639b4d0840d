"""Survival of items in the memory, in texts longer than in training."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy import stats

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.inspect.record import require_memory
from nema_lc_jax.memory.types import Params, StepOutput
from nema_lc_jax.plotting import style
from nema_lc_jax.runs.files import write_json
from nema_lc_jax.runs.metric_names import METRICS
from nema_lc_jax.training.experiment import Experiment
from nema_lc_jax.training.losses import dynamics_sums

# The operation rates that are drawn by step.
RATES = tuple(name for name, metric in METRICS.items() if metric.operation)
# Approximate number of tokens in a batch.
TOKENS_AT_ONCE = 2**18


class Survival(NamedTuple):
  """The Kaplan-Meier estimate of how long written items survive."""

  # Steps since the write: 0, 1, ..., up to the longest duration.
  age: np.ndarray  # [A]
  # Share of the items that survive this age.
  share: np.ndarray  # [A]
  # Number of items that were observed up to this age.
  at_risk: np.ndarray  # [A]


def lifetimes(
  written: np.ndarray, lost: np.ndarray, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """How long each written item survived, in steps without padding.

  Args:
    written: [N, M] whether the slot was written in the step.
    lost: [N, M] whether the slot lost its item in the step (it may have been
      written again in the same step).
    active: [N] False in padding.

  Returns:
    For each item, the steps from its write until it was lost or the text ended,
    and whether it was lost.
  """
  clock = np.cumsum(active) - 1
  durations, ended = [], []
  for m in range(written.shape[1]):
    began = clock[np.flatnonzero(written[:, m] & active)]
    gone = clock[np.flatnonzero(lost[:, m] & active)]
    # A slot has one item at a time, so the i-th written item is the i-th lost
    # one. Only the last may survive to the end.
    until = np.append(gone, clock[-1])[: len(began)]
    durations.append(until - began)
    ended.append(np.arange(len(began)) < len(gone))
  return np.concatenate(durations), np.concatenate(ended)


def survival(durations: np.ndarray, ended: np.ndarray) -> Survival:
  """The Kaplan-Meier curve of items; those held at the end are censored.

  Args:
    durations: [I] steps from the write to the loss, or to the end.
    ended: [I] whether the item was lost.
  """
  durations = np.asarray(durations, int)
  age = np.arange(int(durations.max(initial=0)) + 1)
  sample = stats.CensoredData(
    uncensored=durations[ended], right=durations[~ended]
  )
  at_risk = np.bincount(durations, minlength=len(age))[::-1].cumsum()[::-1]
  return Survival(age, stats.ecdf(sample).sf.evaluate(age), at_risk)


def _steps(
  experiment: Experiment, params: Params, split: str, times: int, examples: int
) -> Iterator[StepOutput]:
  """The memory's steps, in batches with leaves [B, N, ...]."""
  length = times * experiment.config.data.length
  batches = data.eval_batches(
    experiment.dataset,
    split,
    batch_size=int(np.clip(TOKENS_AT_ONCE // length, 1, examples)),
    length=length,
    limit=examples,
  )
  params = jax.device_get(params)
  run = jax.jit(lambda *args: experiment.model.apply(*args).steps)
  for batch in batches:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
      jax.random.key(0), batch["index"]
    )
    texts = {k: v for k, v in batch.items() if k not in ("label", "stale")}
    # Without rows that pad the batch, and without second texts.
    rows = slice(int(batch["weight"].sum()))
    yield jax.tree.map(
      lambda x, r=rows: np.asarray(x)[r], run(params, keys, texts)
    )


def measure_horizon(
  experiment: Experiment,
  params: Params,
  *,
  times: int,
  examples: int,
  split: str = "validation",
) -> dict[str, Any]:
  """Survival of items and operation rates in long texts, as JSON values.

  Rates are by step, over all examples and, of pairs, the first text: operations
  per candidate or per slot alive before the step, and `churn`, the share of
  these slots that lost their item.

  Args:
    experiment: provides the model and the data.
    params: of the model.
    times: length of the texts, as a multiple of data.length.
    examples: number of texts, the first of the split.
    split: "validation" or "test".

  Raises:
    ConfigError: on numbers below 1, and if the model has no memory.
  """
  config = experiment.config
  require_memory(config)
  if times < 1 or examples < 1:
    raise ConfigError(
      f"--horizon and --examples must be at least 1, got {times}, {examples}."
    )
  by_step = functools.partial(dynamics_sums, budget=config.memory.budget)
  count = jax.jit(jax.vmap(by_step, in_axes=1))
  durations, ended, sums, seen = [], [], None, 0
  for steps in _steps(experiment, params, split, times, examples):
    written = steps.allocation.source >= 0
    lost = steps.alive & ~steps.kept
    for text in zip(written, lost, steps.active, strict=True):
      duration, end = lifetimes(*text)
      durations.append(duration)
      ended.append(end)
    # In double precision: float32 counts only up to 2**24.
    counts = jax.tree.map(lambda x: np.asarray(x, float), count(steps))
    sums = counts if sums is None else jax.tree.map(np.add, sums, counts)
    seen += len(written)
  durations, ended = np.concatenate(durations), np.concatenate(ended)
  curve = survival(durations, ended)
  return {
    "task": experiment.dataset.name,
    "policy": config.memory.policy,
    "split": split,
    "times": times,
    "length": times * config.data.length,
    "examples": seen,
    "trained_steps": config.data.length // config.model.chunk_length,
    "items_written": len(durations),
    "items_held_at_the_end": int((~ended).sum()),
    "age_at_leaving": np.bincount(durations[ended], minlength=1).tolist(),
    "survival": {k: v.tolist() for k, v in curve._asdict().items()},
    "rates": {
      name: (sums[name][0] / np.maximum(sums[name][1], 1)).tolist()
      for name in RATES
    },
  }


def write_horizon(
  experiment: Experiment,
  params: Params,
  path: str | Path,
  *,
  times: int,
  examples: int = 64,
  split: str = "validation",
) -> list[Path]:
  """Writes the results of `measure_horizon` as a figure and as JSON."""
  found = measure_horizon(
    experiment, params, times=times, examples=examples, split=split
  )
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  title = (
    f"{found['task']}, {found['policy']}: {found['examples']} texts of"
    f" {found['length']:,} tokens, {times} times the training length"
  )
  with style.STYLE():
    figure = style.new_figure(9.6, 6.0, title=title)
    grid = figure.add_gridspec(2, 2)
    _draw_lost(figure.add_subplot(grid[0, 0]), found)
    _draw_survival(figure.add_subplot(grid[0, 1]), found)
    _draw_rates(figure.add_subplot(grid[1, :]), found)
    figure.savefig(path, metadata={"Software": None})
  write_json(path.with_suffix(".json"), found)
  return [path, path.with_suffix(".json")]


def _draw_lost(ax: Axes, found: dict[str, Any]) -> None:
  """Draws the histogram of the ages at which items were lost."""
  counts = np.asarray(found["age_at_leaving"])
  width = max(1, -(-len(counts) // 60))
  edges = np.arange(0, len(counts) + width, width)
  bins = np.add.reduceat(counts, edges[:-1])
  ax.bar(edges[:-1], bins, width=0.9 * width, align="edge", color=style.BLUE)
  _mark_training(ax, found)
  ax.set_title("Age at eviction or forgetting")
  ax.set_xlabel("age (chunks)")
  ax.set_ylabel("items")
  if not counts.any():
    ax.set_yticks([])
    ax.text(0.5, 0.5, "no item is lost", transform=ax.transAxes, ha="center")


def _draw_survival(ax: Axes, found: dict[str, Any]) -> None:
  """Draws the survival curve."""
  curve = found["survival"]
  ax.step(curve["age"], curve["share"], where="post", color=style.BLUE)
  _mark_training(ax, found)
  ax.set_ylim(-0.02, 1.02)
  ax.yaxis.set_major_formatter(PercentFormatter(1.0))
  ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
  ax.set_title("Survival of written items (Kaplan-Meier)")
  ax.set_xlabel("age (chunks)")
  ax.set_ylabel("surviving share")


def _draw_rates(ax: Axes, found: dict[str, Any]) -> None:
  """Draws the operation rates by step."""
  labels, seen = [], [[0.0]]
  for name in RATES:
    values = found["rates"][name]
    colour = style.OPERATION_COLOURS[METRICS[name].operation]
    end = style.draw_curve(ax, np.arange(len(values)), values, colour)
    labels.append((end, METRICS[name].label, colour))
    seen.append(values)
  _mark_training(ax, found)
  ax.set_ylim(style.limits(*seen))
  ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
  ax.set_title("Operation rates by step")
  ax.set_xlabel("step (chunk)")
  ax.set_ylabel("rate")
  style.label_right(ax, labels)


def _mark_training(ax: Axes, found: dict[str, Any]) -> None:
  """Draws a line at the training length, if it is within the axis."""
  low, high = ax.get_xlim()
  if low <= found["trained_steps"] <= high:
    ax.axvline(
      found["trained_steps"], color=style.GREY, linewidth=1, linestyle=":"
    )
    ax.text(
      found["trained_steps"], 1.0, " training length", color=style.GREY,
      fontsize=7, transform=ax.get_xaxis_transform(), va="top",
    )  # fmt: skip
