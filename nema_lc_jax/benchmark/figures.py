"""Speed and memory use against the text length."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from nema_lc_jax.benchmark.models import KINDS, Case
from nema_lc_jax.benchmark.tables import TITLES, speed
from nema_lc_jax.plotting import style

# The memory has the colour of its policy, its bare encoder that of no policy.
ALIASES = {"memory": "learned", "encoder": "none"}
LABELS = {"memory": "NeMA-LC", "encoder": "encoder without memory"}


def draw(cases: Sequence[Case], out: Path) -> list[Path]:
  """Draws the cases of one text into `out`; returns the files, if any."""
  cases = [c for c in cases if c.head == "classify" and c.samples]
  if not cases:
    return []
  with style.STYLE():
    figure = style.new_figure(9.0, 6.0, title="Speed and memory use by length")
    axes = figure.subplots(2, 2, sharex=True)
    for kind, (left, right) in zip(KINDS, axes, strict=True):
      chosen = [case for case in cases if case.kind == kind]
      _panel(left, chosen, f"{TITLES[kind]}: tokens/s", _speeds)
      _panel(right, chosen, f"{TITLES[kind]}: memory per text (bytes)", _sizes)
    for ax in axes[-1]:
      ax.set_xlabel("text length (tokens)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return style.save(figure, out, "benchmark")


def _speeds(case: Case) -> tuple[float, float, float] | None:
  return speed(case)


def _sizes(case: Case) -> tuple[float, float, float] | None:
  # Per example, since batch sizes differ where not all examples fit.
  if case.bytes is None:
    return None
  return (case.bytes / case.batch,) * 3


def _panel(ax: Axes, cases: Sequence[Case], title: str, value) -> None:
  names = list(dict.fromkeys(case.model for case in cases))
  known = style.policy_colours([ALIASES.get(name, name) for name in names])
  for name in names:
    points = [
      (case.length, *found)
      for case in cases
      if case.model == name and (found := value(case)) is not None
    ]
    if not points:
      continue
    lengths, middle, low, high = zip(*sorted(points), strict=True)
    colour = known[ALIASES.get(name, name)]
    label = LABELS.get(name, style.display_name(name))
    ax.plot(
      lengths, middle, color=colour, marker="o", markersize=4, label=label
    )
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
