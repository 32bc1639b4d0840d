"""The figures of a sweep: accuracy by length and setting, and comparisons."""

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nema_lc_jax.plotting import style
from nema_lc_jax.plotting.compare import compare
from nema_lc_jax.runs.intervals import estimate
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.sweep.aggregate import Done, cells_of
from nema_lc_jax.sweep.plan import Cell

FOLDER = "figures"


def draw(done: Done, out: Path) -> list[Path]:
  """Draws all figures into out/figures; returns the files."""
  cells, written = cells_of(done), []
  folder = out / FOLDER
  folder.mkdir(parents=True, exist_ok=True)
  task = done[0][1].task
  for setting in dict.fromkeys(cell.setting for cell in cells):
    here = {c.policy: runs for c, runs in cells.items() if c.setting == setting}
    name = _file_name(setting)
    title = " · ".join(filter(None, (task, Cell("", setting).setting_name)))
    with style.STYLE():
      if any(len(s.test_accuracy_by_length) > 1 for _, s in done):
        summaries = {p: [s for _, s in runs] for p, runs in here.items()}
        figure = by_length(summaries, title)
        written += style.save(figure, folder, f"accuracy_by_length{name}")
    if not setting:
      written += compare(
        [out / run.folder for runs in here.values() for run, _ in runs], folder
      )
  with style.STYLE():
    for field in _numeric_fields(cells):
      figure = by_field(cells, field, task)
      written += style.save(figure, folder, f"accuracy_by_{field}")
  return written


def _file_name(setting) -> str:
  text = "".join(f"-{field}={value}" for field, value in setting)
  return "".join(c for c in text if c.isalnum() or c in "._=-")


def _numeric_fields(cells) -> list[str]:
  """Fields with several numeric values, in the order of the sweep."""
  values: dict[str, set] = {}
  for cell in cells:
    for field, value in cell.setting:
      values.setdefault(field, set()).add(value)
  return [
    field
    for field, found in values.items()
    if len(found) > 1 and all(_is_number(value) for value in found)
  ]


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def by_length(groups: Mapping[str, Sequence[Summary]], title: str) -> Figure:
  """Accuracy by text length in tokens: policies, the oracle, and a guess."""
  everyone = [s for summaries in groups.values() for s in summaries]
  trained = everyone[0].config["data"]["length"]
  curves = {}
  for policy, summaries in groups.items():
    found = [summary.test_accuracy_by_length for summary in summaries]
    curves[policy] = {int(t) * trained: [f[t] for f in found] for t in found[0]}
  oracles = [summary.oracle_accuracy_by_length or {} for summary in everyone]
  extra = {int(t) * trained: [o[t] for o in oracles] for t in oracles[0]}
  # At other lengths it may differ.
  known = everyone[0].baselines
  guess = {
    (trained, known[name]): name
    for name in ("chance", "majority")
    if name in known
  }
  title = f"Test accuracy by length · {title}"
  figure = _curves(curves, title, extra, guess)
  figure.axes[0].set_xlabel(f"text length (tokens; trained on {trained:,})")
  return figure


def by_field(
  cells: Mapping[Cell, Done],
  field: str,
  task: str,
) -> Figure:
  """Accuracy by a numeric field; other fields have their first values.

  With the number of slots or the budget on the x axis, this is the trade-off
  between accuracy and memory.
  """
  first: dict[str, Any] = {}
  for cell in cells:
    for name, value in cell.setting:
      first.setdefault(name, value)
  curves: dict[str, dict] = {}
  oracle: dict[float, list[float]] = {}
  for cell, runs in cells.items():
    setting = dict(cell.setting)
    others = {k: v for k, v in setting.items() if k != field}
    if field in setting and all(first[k] == v for k, v in others.items()):
      values = [summary.test_accuracy for _, summary in runs]
      curves.setdefault(cell.policy, {})[setting[field]] = values
      oracle.setdefault(setting[field], []).extend(
        summary.oracle_accuracy_by_length["1"]
        for _, summary in runs
        if summary.oracle_accuracy_by_length
      )
  fixed = {k: v for k, v in first.items() if k != field}
  note = "".join(f" · {k}={v}" for k, v in fixed.items())
  title = f"Test accuracy by {field} · {task}{note}"
  figure = _curves(curves, title, oracle if all(oracle.values()) else {})
  figure.axes[0].set_xlabel(field)
  return figure


def _curves(
  curves: Mapping[str, Mapping[float, Sequence[float]]],
  title: str,
  oracle: Mapping[float, Sequence[float]],
  guess: Mapping[tuple[float, float], str] = types.MappingProxyType({}),
) -> Figure:
  """Draws lines with 95% bands over seeds.

  Args:
    curves: by policy and x, one value per seed.
    title: of the figure.
    oracle: by x, one value per run.
    guess: names of single points (x, accuracy).
  """
  figure = style.new_figure(7.2, 4.0, title=title)
  ax = figure.add_subplot()
  colours, labels, seen = style.policy_colours(list(curves)), [], []
  for policy in colours:
    xs = sorted(curves[policy])
    points = [estimate(curves[policy][x]) for x in xs]
    means = [p.mean for p in points]
    ax.plot(xs, means, color=colours[policy], marker="o", markersize=4)
    low = np.clip([p.low for p in points], 0, 1)
    high = np.clip([p.high for p in points], 0, 1)
    ax.fill_between(
      xs, low, high, color=colours[policy], alpha=0.15, linewidth=0
    )
    name = f"{style.display_name(policy)} (n={points[-1].n})"
    labels.append((means[-1], name, colours[policy]))
    seen += [low, high, means]
  if oracle:
    xs = sorted(oracle)
    means = [float(np.mean(oracle[x])) for x in xs]
    ax.plot(xs, means, color=style.BLACK, linewidth=1, linestyle=(0, (4, 3)))
    labels.append((means[-1], "oracle (upper bound)", style.BLACK))
    seen.append(means)
  for (x, value), name in guess.items():
    ax.plot([x], [value], color=style.GREY, marker="x", linestyle="")
    ax.annotate(
      name,
      (x, value),
      (6, 0),
      textcoords="offset points",
      va="center",
      fontsize=8,
      color=style.GREY,
    )
    seen.append([value])
  xs = sorted({x for curve in curves.values() for x in curve})
  if xs[0] > 0 and xs[-1] / xs[0] >= 4:
    ax.set_xscale("log", base=2)
  ax.set_xticks(xs, [f"{x:,g}" if x < 1e6 else f"{x:,}" for x in xs])
  ax.xaxis.set_minor_locator(NullLocator())
  ax.set_ylabel("test accuracy (mean, 95% t interval over seeds)")
  ax.set_ylim(style.limits(*seen, floor=0.0, ceiling=1.02))
  style.label_right(ax, labels)
  return figure
