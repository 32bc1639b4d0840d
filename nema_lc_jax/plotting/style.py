"""Style of all figures: sizes, colours, curves and labels.

Neither pyplot nor the global rc is used: figures are
`matplotlib.figure.Figure` objects, built and saved inside `STYLE()`.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

# Okabe and Ito (2008), distinguishable with any colour vision.
BLACK, GREY = "#000000", "#777777"
ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
BROWN = "#7A3B0C"

# In the order in which figures list them. Grey is reserved for baselines; olive
# (random) replaces the yellow of the scheme, which is too pale for a line.
POLICY_COLOURS = {
  "none": BLACK,
  "fifo": SKY,
  "lru": BLUE,
  "lfu": PURPLE,
  "random": "#999933",
  "write_gate": ORANGE,
  "write_gate_lru": GREEN,
  "learned": VERMILLION,
  # Encoders without slots (Paul Tol's muted scheme).
  "local": BROWN,
  "full": "#CC6677",
  "recurrent": "#117733",
  "ssm": "#AA4499",
  "delta": "#882255",
  "routed": "#44AA99",
}
# Encoders by their names in the literature.
ENCODER_NAMES = {
  "local": "local (block-local attention)",
  "full": "full (Transformer)",
  "recurrent": "recurrent (RMT)",
  "ssm": "ssm (linear state space)",
  "delta": "delta (gated delta rule)",
  "routed": "routed (Raven's slots)",
}
# For policies not listed above (no hue from above).
OTHER_COLOURS = ("#DDCC77", "#666633", "#DDAADD")
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

OPERATION_COLOURS = {
  "write": GREEN,
  "update": ORANGE,
  "forget": VERMILLION,
  "retain": BLUE,
  "replace": PURPLE,
  "renew": BROWN,
}
SPLIT_COLOURS = {"train": SKY, "validation": BLUE}

RC = {
  "font.family": "DejaVu Sans",
  "font.size": 9.0,
  "axes.titlesize": 10.0,
  "axes.titleweight": "bold",
  "axes.titlelocation": "left",
  "axes.titlepad": 8.0,
  "axes.labelsize": 9.0,
  "axes.labelcolor": "#333333",
  "axes.edgecolor": "#888888",
  "axes.linewidth": 0.8,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "axes.formatter.limits": (-3, 4),
  "axes.formatter.use_mathtext": True,
  "grid.color": "#E6E6E6",
  "grid.linewidth": 0.6,
  "xtick.color": "#555555",
  "ytick.color": "#555555",
  "xtick.labelsize": 8.0,
  "ytick.labelsize": 8.0,
  "lines.linewidth": 1.8,
  "lines.solid_capstyle": "round",
  "legend.frameon": False,
  "legend.fontsize": 8.0,
  "figure.titlesize": 11.0,
  "figure.titleweight": "bold",
  "figure.constrained_layout.h_pad": 0.08,
  "figure.constrained_layout.w_pad": 0.08,
  "savefig.dpi": 200,
  "pdf.fonttype": 42,
}
STYLE = functools.partial(mpl.rc_context, RC)

# Curves of fewer points are not smoothed.
FEW_POINTS = 24


def new_figure(width: float, height: float, *, title: str = "") -> Figure:
  """An empty figure with constrained layout; the size is in inches."""
  figure = Figure(figsize=(width, height), layout="constrained")
  if title:
    figure.suptitle(title, x=0.01, ha="left")
  return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
  """Writes `name`.png and .pdf, reproducible byte for byte."""
  folder.mkdir(parents=True, exist_ok=True)
  undated = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
  }
  paths = []
  for suffix, metadata in undated.items():
    paths.append(folder / f"{name}.{suffix}")
    figure.savefig(paths[-1], metadata=metadata)
  return paths


def policy_colours(names: Sequence[str]) -> dict[str, str]:
  """A colour for each policy or encoder, in the order of POLICY_COLOURS."""
  known = [name for name in POLICY_COLOURS if name in names]
  others = sorted(set(names) - set(known))
  colours = {name: POLICY_COLOURS[name] for name in known}
  for i, name in enumerate(others):
    colours[name] = (
      OTHER_COLOURS[i] if i < len(OTHER_COLOURS) else _further_colour(i)
    )
  return colours


def display_name(policy: str) -> str:
  """The name of a policy or encoder in figures."""
  return ENCODER_NAMES.get(policy, policy)


def _further_colour(i: int) -> str:
  """Colour i of a sequence without repetition.

  Hues that differ by the golden ratio never repeat. The offset, saturation and
  brightness maximise, among those tried, the distance of the first nine colours
  from all colours above.
  """
  hue = (0.3 + (i - len(OTHER_COLOURS)) * GOLDEN_RATIO) % 1
  return to_hex(hsv_to_rgb((hue, 0.95, (0.4, 0.7, 0.9)[i % 3])))


def smooth(values: Sequence[float]) -> np.ndarray:
  """A centred moving average over a fifteenth of the points [P] -> [P]."""
  values = np.asarray(values, float)
  kernel = np.ones(2 * (len(values) // 30) + 1)
  ones = np.ones_like(values)
  # Near the ends the mean is over the points inside the window.
  return np.convolve(values, kernel, "same") / np.convolve(ones, kernel, "same")


def draw_curve(ax: Axes, steps, values, colour: str) -> float:
  """Draws a curve; one of many points is smoothed, with raw data behind it.

  Returns the height at which it ends.
  """
  if len(steps) < FEW_POINTS:
    ax.plot(steps, values, color=colour, marker="o", markersize=4)
    return float(values[-1])
  ax.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
  smoothed = smooth(values)
  ax.plot(steps, smoothed, color=colour)
  return float(smoothed[-1])


def leader(colour: str, start: tuple[float, float]) -> dict[str, Any]:
  """Style of the line from a label (at `start` of its box) to its curve."""
  return {
    "arrowstyle": "-",
    "color": colour,
    "linewidth": 0.7,
    "relpos": start,
    "shrinkA": 1,
    "shrinkB": 1,
  }


def label_right(
  ax: Axes, labels: Sequence[tuple[float, str, str]], *, size: float = 8.0
) -> None:
  """Labels curves at the right edge, by (y, text, colour), without overlap.

  Call it when the limits of the y axis are final. Labels that would overlap are
  moved apart, and a thin line connects each with its height.
  """
  low, high = ax.get_ylim()
  # Constrained layout is applied later, and mostly makes the axes taller.
  points = 72 * ax.figure.get_figheight() * ax.get_position().height
  wanted = sorted(
    ((y - low) / (high - low), text, colour) for y, text, colour in labels
  )
  placed = spread([y for y, _, _ in wanted], gap=1.35 * size / points)
  for (y, text, colour), y_text in zip(wanted, placed, strict=True):
    ax.annotate(
      text,
      xy=(1.0, y),
      xytext=(1.045, y_text),
      xycoords="axes fraction",
      fontsize=size,
      color=colour,
      va="center",
      arrowprops=leader(colour, (0.0, 0.5)),
    )


def spread(positions: Sequence[float], *, gap: float) -> list[float]:
  """Moves sorted positions apart to distances of at least `gap`.

  Groups of close positions are spaced evenly around their mean.
  """
  groups: list[list[float]] = []
  for position in positions:
    groups.append([position])
    while len(groups) > 1 and _centre(groups[-1]) - _centre(groups[-2]) < (
      gap * (len(groups[-1]) + len(groups[-2])) / 2
    ):
      groups[-2:] = [groups[-2] + groups[-1]]
  return [
    _centre(group) + gap * (i - (len(group) - 1) / 2)
    for group in groups
    for i in range(len(group))
  ]


def limits(
  *values: Sequence[float],
  floor: float = -math.inf,
  ceiling: float = math.inf,
) -> tuple[float, float]:
  """Axis limits with a margin around the finite values, inside hard bounds."""
  flat = np.concatenate([np.asarray(v, float).ravel() for v in values])
  flat = flat[np.isfinite(flat)]
  # A quantity that is zero throughout lies on the axis.
  if not flat.any():
    return -0.05, 1.0
  low, high = flat.min(), flat.max()
  margin = 0.06 * (high - low)
  # A nearly constant quantity does not fill the axis.
  if high - low < 0.01 * abs(high):
    margin = 0.05 * abs(high)
  return max(low - margin, floor), min(high + margin, ceiling)


def step_axis(ax: Axes) -> None:
  """Formats the x axis for training steps."""
  ax.set_xlabel("training step")
  ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
  ax.xaxis.set_major_formatter(EngFormatter(sep=""))


def _centre(group: Sequence[float]) -> float:
  return sum(group) / len(group)
