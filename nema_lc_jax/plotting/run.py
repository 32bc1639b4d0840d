"""The figures of one run."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from nema_lc_jax.plotting import style
from nema_lc_jax.plotting.timeline import memory_timeline
from nema_lc_jax.runs.files import PLOTS, TRACE_FILE
from nema_lc_jax.runs.metric_names import LOSS, METRICS, of_kind
from nema_lc_jax.runs.records import RunRecord, read_run
from nema_lc_jax.runs.trace import read_trace

LOSSES = ("task_loss", *of_kind(LOSS))
OPERATIONS = ("write_rate", "update_rate", "forget_rate")


def plot_run(workdir: str | Path) -> list[Path]:
  """Draws every figure of a run into `<workdir>/plots/`, as PNG and PDF.

  Needs metrics.jsonl; summary.json adds the baselines and the test accuracy,
  and memory_trace.npz the memory timeline. Returns the written files.
  """
  run = read_run(workdir)
  # Read before drawing, so that a broken file is reported at once.
  has_trace = (run.workdir / TRACE_FILE).exists()
  trace = read_trace(run.workdir / TRACE_FILE) if has_trace else None
  folder = run.workdir / PLOTS
  single = {"learning_curve": draw_accuracy}
  if run.has_slots:
    single["memory_utilisation"] = draw_utilisation
    single["retention_age"] = draw_age
  written = []
  with style.STYLE():
    for name, draw in single.items():
      figure = style.new_figure(5.4, 3.4, title=run.title)
      draw(figure.add_subplot(), run)
      written += style.save(figure, folder, name)
    if run.has_slots:
      written += _operations_figure(run, folder)
    written += _losses_figure(run, folder)
    written += _overview_figure(run, folder)
    if trace is not None:
      figure = memory_timeline(trace, title=run.title)
      written += style.save(figure, folder, "memory_timeline")
  return written


def _operations_figure(run: RunRecord, folder: Path) -> list[Path]:
  figure = style.new_figure(5.4, 4.8, title=run.title)
  top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
  draw_operations(top, run)
  draw_budget(bottom, run)
  top.set_xlabel("")
  return style.save(figure, folder, "operation_rates")


def _losses_figure(run: RunRecord, folder: Path) -> list[Path]:
  # One panel and scale each, since lifecycle losses may be orders of magnitude
  # smaller than the task loss, or exactly zero.
  side, names = (2, LOSSES) if run.has_slots else (1, ["task_loss"])
  figure = style.new_figure(4.3 * side, 2.5 * side, title=run.title)
  axes = figure.subplots(side, side, sharex=True, squeeze=False)
  for ax, name in zip(axes.flat, names, strict=True):
    _draw_loss(ax, run, name)
  for ax in axes[:-1].flat:
    ax.set_xlabel("")
  return style.save(figure, folder, "loss_components")


def _draw_loss(ax: Axes, run: RunRecord, name: str = "task_loss") -> None:
  _splits(ax, run, name, title=METRICS[name].title, ylabel="loss")


def _overview_figure(run: RunRecord, folder: Path) -> list[Path]:
  draws = (draw_accuracy, _draw_loss)
  if run.has_slots:
    draws = (draw_accuracy, draw_operations, draw_utilisation, draw_age)
  rows = len(draws) // 2
  figure = style.new_figure(9.6, 2.9 * rows, title=run.title)
  for ax, draw in zip(figure.subplots(rows, 2).flat, draws, strict=True):
    draw(ax, run)
  return style.save(figure, folder, "overview")


def draw_utilisation(ax: Axes, run: RunRecord) -> None:
  """Draws the share of slots that are alive."""
  _splits(
    ax,
    run,
    "memory_utilisation",
    title="Memory utilisation",
    ylabel="share of slots",
  )
  ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def draw_age(ax: Axes, run: RunRecord) -> None:
  """Draws the mean time since live slots were written."""
  _splits(
    ax,
    run,
    "memory_age",
    title="Retention age",
    ylabel="mean age (chunks)",
  )


def draw_accuracy(ax: Axes, run: RunRecord) -> None:
  """Draws accuracy during training, baselines and test accuracy."""
  labels, seen = _curves(ax, run, "accuracy")
  if run.summary is not None:
    for name, value in run.summary.baselines.items():
      ax.axhline(value, color=style.GREY, linewidth=1, linestyle=(0, (4, 3)))
      labels.append((value, name.replace("_", " "), style.GREY))
      seen.append([value])
    seen.append(_draw_test(ax, run))
    accuracy = run.summary.test_accuracy
    labels.append((accuracy, f"test {accuracy:.3f}", style.BLACK))
  _finish(ax, labels, seen, title="Accuracy", ylabel="accuracy", ceiling=1.02)


def _draw_test(ax: Axes, run: RunRecord) -> tuple[float, float, float]:
  """Marks the test accuracy after the last step; returns its y values."""
  accuracy = run.summary.test_accuracy
  low, high = run.summary.test_accuracy_interval
  ax.errorbar(
    1.03 * max(row["step"] for row in run.rows),
    accuracy,
    yerr=[[accuracy - low], [high - accuracy]],
    color=style.BLACK,
    marker="D",
    markersize=4.5,
    capsize=3,
    linewidth=1.2,
    zorder=5,
  )
  return accuracy, low, high


def draw_operations(ax: Axes, run: RunRecord) -> None:
  """Draws operation rates: lines for training, circles for validation."""
  labels, seen = [], [[0.0]]
  for name in OPERATIONS:
    colour = style.OPERATION_COLOURS[METRICS[name].operation]
    steps, values = run.series("train", name)
    if len(steps):
      end = style.draw_curve(ax, steps, values, colour)
      labels.append((end, METRICS[name].label, colour))
      seen.append(values)
    steps, values = run.series("validation", name)
    size = min(4.5, 150 / max(len(steps), 1))
    ax.plot(steps, values, "o", color=colour, markersize=size, mfc="white")
    seen.append(values)
  ax.set_title(
    "circles: validation",
    loc="right",
    fontsize=8,
    fontweight="normal",
    color=style.GREY,
  )
  _finish(ax, labels, seen, title="Operations", ylabel="operation rate")


def draw_budget(ax: Axes, run: RunRecord) -> None:
  """Draws the used share of the operation budget."""
  _splits(
    ax, run, "budget_used", title="Budget used", ylabel="share of the budget"
  )


def _splits(
  ax: Axes, run: RunRecord, name: str, *, title: str, ylabel: str
) -> None:
  """Draws one metric in training and validation."""
  labels, seen = _curves(ax, run, name)
  _finish(ax, labels, seen, title=title, ylabel=ylabel)


def _curves(ax: Axes, run: RunRecord, name: str) -> tuple[list, list]:
  """Draws a metric by split; returns labels and all values."""
  labels, seen = [], []
  for split, colour in style.SPLIT_COLOURS.items():
    steps, values = run.series(split, name)
    if len(steps):
      end = style.draw_curve(ax, steps, values, colour)
      labels.append((end, split, colour))
      seen.append(values)
  return labels, seen


def _finish(
  ax: Axes,
  labels,
  seen,
  *,
  title: str,
  ylabel: str,
  ceiling: float = math.inf,
) -> None:
  """Adds title, limits and labels, or a remark if there is no data."""
  ax.set_title(title)
  ax.set_ylabel(ylabel)
  style.step_axis(ax)
  if not labels:
    ax.set_yticks([])
    _remark(ax, "not logged")
    return
  ax.set_ylim(style.limits(*seen, ceiling=ceiling))
  if not any(any(values) for values in seen):
    _remark(ax, "zero at every step")
  style.label_right(ax, labels)


def _remark(ax: Axes, text: str) -> None:
  ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=style.GREY)
