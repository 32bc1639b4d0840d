"""Comparison of policies and encoders, over several seeds each."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from nema_lc_jax.plotting import style
from nema_lc_jax.plotting.published import FILE as PUBLISHED_FILE
from nema_lc_jax.plotting.published import task_of, write_published
from nema_lc_jax.runs.files import SUMMARY_FILE
from nema_lc_jax.runs.intervals import estimate
from nema_lc_jax.runs.metric_names import COST, METRICS, of_kind
from nema_lc_jax.runs.records import RunRecord, read_run

# Metrics of the memory, one panel each.
LIFECYCLE = (
  "memory_utilisation", "memory_age", "churn",
  "write_rate", "update_rate", "forget_rate",
)  # fmt: skip
# Costs of a run (RunRecord.costs), one panel each.
COSTS = of_kind(COST)


def compare(
  workdirs: Sequence[str | Path],
  out: str | Path = "plots_compare",
  *,
  published: str | None = None,
) -> list[Path]:
  """Draws a comparison of finished runs, grouped by policy, into `out`.

  Runs without slots are grouped by their encoder. Writes compare_accuracy,
  compare_curves, compare_lifecycle and compare_cost as PNG and PDF, and
  compare.csv with a row per policy; returns the files.

  Args:
    workdirs: the folders of the runs.
    out: the output folder.
    published: also write published.tex, with published results of this task of
      Long Range Arena; "auto" takes the task of the runs.

  Raises:
    ValueError: in one line, if a run is unfinished, if the runs differ in task
      or data, if one policy has a seed twice, or if the task has no published
      results.
  """
  groups = group_runs([read_run(workdir) for workdir in workdirs])
  runs = [run for group in groups.values() for run in group]
  title = runs[0].summary.task
  out, written = Path(out), []
  if published == "auto":
    published = task_of(runs[0].summary)
  with style.STYLE():
    for name, draw in (
      ("compare_accuracy", _accuracy_figure),
      ("compare_curves", _curves_figure),
      ("compare_lifecycle", _lifecycle_figure),
      ("compare_cost", _cost_figure),
    ):
      written += style.save(draw(groups, title), out, name)
  written.append(_write_table(groups, out / "compare.csv"))
  if published is not None:
    written.append(write_published(groups, published, out / PUBLISHED_FILE))
  return written


def group_runs(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
  """Groups runs by policy, and checks that they are comparable."""
  if not runs:
    raise ValueError("no runs to compare")
  for run in runs:
    if not run.summary:
      raise ValueError(f"{run.workdir} has no {SUMMARY_FILE}: not finished?")
  for name in ("task", "data_fingerprint"):
    _require_same(runs, name)
  seen: dict[tuple, RunRecord] = {}
  for run in runs:
    key = run.summary.policy, run.summary.seed
    if key in seen:
      raise ValueError(
        f"policy {key[0]!r}, seed {key[1]} occurs twice: "
        f"{seen[key].workdir} and {run.workdir}"
      )
    seen[key] = run
  order = style.policy_colours([policy for policy, _ in seen])
  return {
    policy: [run for (other, _), run in seen.items() if other == policy]
    for policy in order
  }


def _require_same(runs: Sequence[RunRecord], name: str) -> None:
  found: dict = {}
  for run in runs:
    found.setdefault(getattr(run.summary, name), []).append(str(run.workdir))
  if len(found) > 1:
    listed = "; ".join(f"{v!r}: {', '.join(d)}" for v, d in found.items())
    raise ValueError(f"runs differ in {name} ({listed})")


def _accuracy_figure(groups: Mapping[str, Sequence[RunRecord]], title: str):
  figure = style.new_figure(
    6.2, 1.5 + 0.36 * len(groups), title=f"Test accuracy · {title}"
  )
  ax = figure.add_subplot()
  values = {
    policy: [run.summary.test_accuracy for run in runs]
    for policy, runs in groups.items()
  }
  seen = _points(ax, values)
  baselines = _baselines(groups)
  for value in baselines.values():
    ax.axvline(
      value, color=style.GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1
    )
  seen.append(list(baselines.values()))
  ax.set_xlim(style.limits(*seen, floor=0.0, ceiling=1.02))
  _name_baselines(ax, baselines)
  ax.set_xlabel(_note("test accuracy", groups))
  return figure


def _curves_figure(groups: Mapping[str, Sequence[RunRecord]], title: str):
  figure = style.new_figure(9.6, 4.0, title=f"Learning curves · {title}")
  panels = {
    "train": "Training",
    "validation": "Validation",
  }
  axes = figure.subplots(1, 2, sharex=True, sharey=True)
  baselines = _baselines(groups)
  seen: list = [[value] for value in baselines.values()]
  for ax, (split, name) in zip(axes, panels.items(), strict=True):
    labels = _curves(ax, groups, split, seen)
    for baseline, value in baselines.items():
      ax.axhline(value, color=style.GREY, linewidth=1, linestyle=(0, (4, 3)))
      labels.append((value, baseline.replace("_", " "), style.GREY))
    style.step_axis(ax)
    ax.set_title(name)
  axes[0].set_ylabel("accuracy")
  axes[0].set_ylim(style.limits(*seen, floor=0.0, ceiling=1.02))
  style.label_right(ax, labels)
  figure.supxlabel(_note("", groups), fontsize=8, color=style.GREY)
  return figure


def _curves(
  ax: Axes, groups: Mapping[str, Sequence[RunRecord]], split: str, seen: list
) -> list[tuple[float, str, str]]:
  """Draws a curve per policy, and adds its values to `seen`.

  Returns the height, text and colour of each label.
  """
  colours = style.policy_colours(list(groups))
  labels = []
  for policy, runs in groups.items():
    curves = [run.series(split, "accuracy") for run in runs]
    curves = [(steps, values) for steps, values in curves if len(steps)]
    seen += [values for _, values in curves]
    last = _draw_band(ax, curves, colours[policy])
    if last is not None:
      name = style.display_name(policy)
      labels.append((last, f"{name} (n={len(curves)})", colours[policy]))
  return labels


def _draw_band(ax: Axes, curves, colour: str) -> float | None:
  """Draws seeds as thin lines, and their mean and interval at common steps.

  Returns the height at which the curve ends, None without curves.
  """
  if not curves:
    return None
  for steps, values in curves if len(curves) > 1 else ():
    ax.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
  common = sorted(set.intersection(*(set(steps) for steps, _ in curves)))
  if not common:
    return curves[0][1][-1]
  at = [dict(zip(steps, values, strict=True)) for steps, values in curves]
  points = [estimate([values[step] for values in at]) for step in common]
  ax.plot(common, [p.mean for p in points], color=colour)
  ax.fill_between(
    common,
    [p.low for p in points],
    [p.high for p in points],
    color=colour,
    alpha=0.15,
    linewidth=0,
  )
  return points[-1].mean


def _lifecycle_figure(groups: Mapping[str, Sequence[RunRecord]], title: str):
  split = _common_split(groups)
  figure = style.new_figure(
    9.2,
    2.2 + 0.5 * len(groups),
    title=f"Memory metrics ({split}) · {title}",
  )
  axes = figure.subplots(2, 3, sharey=True)
  for ax, name in zip(axes.flat, LIFECYCLE, strict=True):
    values = {
      policy: _last_values(runs, split, name) for policy, runs in groups.items()
    }
    seen = _points(ax, values, count=False)
    ax.set_title(METRICS[name].title)
    ax.set_xlim(style.limits([0.0], *seen))
    ax.xaxis.set_major_locator(MaxNLocator(5))
  figure.supxlabel(_note("", groups), fontsize=8, color=style.GREY)
  return figure


def _cost_figure(groups: Mapping[str, Sequence[RunRecord]], title: str):
  figure = style.new_figure(
    9.2, 1.5 + 0.36 * len(groups), title=f"Cost · {title}"
  )
  axes = figure.subplots(1, len(COSTS), sharey=True)
  for ax, name in zip(axes, COSTS, strict=True):
    values = {policy: _costs(runs, name) for policy, runs in groups.items()}
    seen = _points(ax, values, count=False)
    ax.set_title(METRICS[name].title)
    if not seen:
      ax.text(0.5, 0.5, "unknown", transform=ax.transAxes, ha="center")
    ax.set_xlim(style.limits([0.0], *seen, floor=0.0))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
  figure.supxlabel(_note("", groups), fontsize=8, color=style.GREY)
  return figure


def _costs(runs: Sequence[RunRecord], name: str) -> list[float]:
  """The cost of each run for which it is known."""
  return [run.costs[name] for run in runs if name in run.costs]


def _points(
  ax: Axes, values: Mapping[str, Sequence[float]], *, count: bool = True
) -> list[list[float]]:
  """Draws a row per policy: seeds, mean and interval; returns all x values."""
  colours = style.policy_colours(list(values))
  seen = []
  for row, (policy, seeds) in enumerate(values.items()):
    if not seeds:
      continue
    mean, low, high, n = estimate(seeds)
    if n > 1:
      ax.plot(
        seeds, [row] * n, "o", color=colours[policy], markersize=4, alpha=0.35
      )
      ax.plot([low, high], [row, row], color=colours[policy], linewidth=2)
    ax.plot(mean, row, "o", color=colours[policy], markersize=7, mec="white")
    if count:
      ax.annotate(
        f"n={n}",
        (1.02, row),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=style.GREY,
      )
    seen.append([*seeds, low, high])
  ax.set_yticks(range(len(values)), map(style.display_name, values))
  ax.set_ylim(len(values) - 0.5, -0.5)
  ax.grid(axis="y", visible=False)
  ax.tick_params(axis="y", length=0)
  return seen


def _name_baselines(ax: Axes, baselines: Mapping[str, float]) -> None:
  """Labels each baseline above its line; labels are moved apart."""
  low, high = ax.get_xlim()
  wanted = sorted(
    ((value - low) / (high - low), name.replace("_", " "))
    for name, value in baselines.items()
  )
  places = style.spread([value for value, _ in wanted], gap=0.2)
  for (value, name), place in zip(wanted, places, strict=True):
    ax.annotate(
      name,
      xy=(value, 1.0),
      xytext=(place, 1.07),
      xycoords="axes fraction",
      ha="center",
      va="bottom",
      fontsize=8,
      color=style.GREY,
      arrowprops=style.leader(style.GREY, (0.5, 0.0)),
    )


def _baselines(groups: Mapping[str, Sequence[RunRecord]]) -> dict[str, float]:
  """All baselines; runs on the same data have the same values."""
  merged: dict[str, float] = {}
  for runs in groups.values():
    for run in runs:
      merged |= run.summary.baselines
  return merged


def _common_split(groups: Mapping[str, Sequence[RunRecord]]) -> str:
  """The split that all runs have: test, else validation, else train."""
  splits = set.intersection(
    *({row["split"] for row in run.rows} for g in groups.values() for run in g)
  )
  for split in ("test", "validation"):
    if split in splits:
      return split
  return "train"


def _last_values(
  runs: Sequence[RunRecord], split: str, name: str
) -> list[float]:
  """The last value of a metric, in each run with slots."""
  series = [run.series(split, name)[1] for run in runs if run.has_slots]
  return [float(values[-1]) for values in series if len(values)]


def _note(label: str, groups: Mapping[str, Sequence[RunRecord]]) -> str:
  """The axis label, with a note on the intervals."""
  counts = [len(runs) for runs in groups.values()]
  notes = []
  if max(counts) > 1:
    notes.append("mean and 95% t interval over seeds")
  if min(counts) == 1:
    notes.append("n=1: one seed, no interval")
  return f"{label}  ({'; '.join(notes)})".strip()


def _write_table(groups: Mapping[str, Sequence[RunRecord]], path: Path) -> Path:
  split = _common_split(groups)
  names = ("policy", "n", "seeds", "test_accuracy", "low", "high")
  resources = (*COSTS, "wall_seconds")
  with path.open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow([*names, *(f"{split}_{n}" for n in LIFECYCLE), *resources])
    for policy, runs in groups.items():
      accuracy = estimate([run.summary.test_accuracy for run in runs])
      seeds = " ".join(str(run.summary.seed) for run in runs)
      means = [_last_values(runs, split, name) for name in LIFECYCLE]
      means += [_costs(runs, name) for name in resources]
      numbers = [*accuracy[:3], *(np.mean(m) if m else math.nan for m in means)]
      cells = ["" if math.isnan(v) else f"{v:.8g}" for v in numbers]
      table.writerow([policy, accuracy.n, seeds, *cells])
  return path
