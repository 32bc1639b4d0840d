"""Speed and memory against the length of the text."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from nema_lc_jax.benchmark.contestants import KINDS, Case
from nema_lc_jax.benchmark.tables import TITLES, speed
from nema_lc_jax.plotting import style

# The memory has the colour of its policy, its bare encoder that of no policy.
ALIASES = {"memory": "learned", "encoder": "none"}


def draw(cases: Sequence[Case], out: Path) -> list[Path]:
  """Draws the texts of one part into `out`; the files, none without cases."""
  cases = [c for c in cases if c.head == "classify" and c.samples]
  if not cases:
    return []
  with style.STYLE():
    figure = style.new_figure(9.0, 6.0, title="Speed and memory by length")
    axes = figure.subplots(2, 2, sharex=True)
    for kind, (left, right) in zip(KINDS, axes, strict=True):
      chosen = [case for case in cases if case.kind == kind]
      _panel(left, chosen, f"{TITLES[kind]}: tokens/s", _speeds)
      _panel(right, chosen, f"{TITLES[kind]}: memory of a text (bytes)", _sizes)
    for ax in axes[-1]:
      ax.set_xlabel("tokens of a text")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return style.save(figure, out, "benchmark")


def _speeds(case: Case) -> tuple[float, float, float] | None:
  return speed(case)


def _sizes(case: Case) -> tuple[float, float, float] | None:
  # Of one example: batches differ where not all examples fit.
  if case.bytes is None:
    return None
  return (case.bytes / case.batch,) * 3


def _panel(ax: Axes, cases: Sequence[Case], title: str, value) -> None:
  names = list(dict.fromkeys(case.contestant for case in cases))
  known = style.policy_colours([ALIASES.get(name, name) for name in names])
  for name in names:
    points = [
      (case.length, *found)
      for case in cases
      if case.contestant == name and (found := value(case)) is not None
    ]
    if not points:
      continue
    lengths, middle, low, high = zip(*sorted(points), strict=True)
    colour = known[ALIASES.get(name, name)]
    ax.plot(lengths, middle, color=colour, marker="o", markersize=4, label=name)
    ax.fill_between(lengths, low, high, color=colour, alpha=0.15, linewidth=0)
  ax.set_title(title)
  ax.set_xscale("log", base=2)
  ax.set_yscale("log")
  lengths = sorted({case.length for case in cases})
  ax.set_xticks(lengths, [f"{n:,}" for n in lengths])
  for axis in (ax.xaxis, ax.yaxis):
    axis.set_minor_locator(NullLocator())
  ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  ax.yaxis.set_major_formatter(EngFormatter(sep=""))
