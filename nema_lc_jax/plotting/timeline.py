"""The memory timeline: the operation on every slot at every step of a text."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nema_lc_jax.plotting import style
from nema_lc_jax.runs.trace import (
  ASKED,
  FACT,
  FORGOTTEN,
  FREE,
  OPERATIONS,
  RENEWED,
  REPLACED,
  RETAINED,
  UPDATED,
  WRITTEN,
  Trace,
)

COLOURS = (
  "#ECECEC",
  style.OPERATION_COLOURS["retain"],
  style.OPERATION_COLOURS["update"],
  style.OPERATION_COLOURS["forget"],
  style.OPERATION_COLOURS["write"],
  style.OPERATION_COLOURS["replace"],
  style.OPERATION_COLOURS["renew"],
)


# Facts of more words, or of a larger memory, would not fit into its cells.
MOST_CHUNKS, MOST_SLOTS, MOST_WORDS = 18, 12, 4
# Longer ones are cut beside the slots.
MOST_LETTERS = 48
STORED = (WRITTEN, REPLACED, RENEWED, UPDATED)


def memory_timeline(
  trace: Trace, *, title: str = "", facts: Sequence[str] = ()
) -> Figure:
  """Draws slots by steps, coloured by operation and shaded by strength.

  A strip above marks the chunks that contain facts, a panel below shows the
  read mass of each slot. If there are few chunks, and `facts` has a few words
  for each of them, they stand in the slots that they are written into or
  update; else the newest fact of each slot stands beside it.
  """
  N, M = trace.operation.shape
  width = float(np.clip(2.4 + 0.16 * N, 7.8, 13.0))
  tracks = float(np.clip(0.30 * M, 1.5, 5.2))
  words = max((len(fact.split()) for fact in facts), default=0)
  fits = N <= MOST_CHUNKS and M <= MOST_SLOTS and words <= MOST_WORDS
  beside = bool(words) and not fits and M <= MOST_SLOTS
  if words and fits:
    tracks = max(1.5, 0.11 * words * M)
  if beside:
    width += 2.4
  # From the top: legend, facts, operations, attention.
  heights = [0.2, 0.22, tracks, 0.6 * tracks]
  if trace.ground_truth is None:
    heights.pop(1)
  figure = style.new_figure(width, sum(heights) + 1.2, title=title)
  figure.get_layout_engine().set(h_pad=0.05)
  axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
  _draw_legend(axes[0], trace)
  if trace.ground_truth is not None:
    _draw_facts(axes[1], trace.ground_truth, dot=min(4.5, 45 * width / N))
  _tracks(axes[-2], shade(trace).transpose(1, 0, 2))
  if fits:
    _write_facts(axes[-2], trace, facts)
  if beside:
    _name_slots(axes[-2], trace, facts)
  axes[-2].set_ylabel("slot (paler: weaker)")
  _draw_attention(axes[-1], trace)
  axes[-1].set_xlabel("step (chunk)")
  axes[-1].xaxis.set_major_locator(
    MaxNLocator(12, integer=True, steps=[1, 2, 5, 10])
  )
  return figure


def _draw_facts(ax: Axes, truth: np.ndarray, *, dot: float) -> None:
  _bare(ax)
  ax.set_ylim(-1, 1)
  ax.set_yticks([0], ["facts"])
  ax.plot(*_at(truth == FACT), "o", color=style.GREY, markersize=dot)
  ax.plot(*_at(truth == ASKED), "*", color=style.BLACK, markersize=9)


def _write_facts(ax: Axes, trace: Trace, facts: Sequence[str]) -> None:
  cells = np.argwhere(np.isin(trace.operation, STORED))
  for n, m in cells[cells[:, 0] < len(facts)]:
    words = "\n".join(facts[n].split())
    ax.text(n, m, words, ha="center", va="center", fontsize=6, linespacing=1.0)


def _name_slots(ax: Axes, trace: Trace, facts: Sequence[str]) -> None:
  """Writes the newest fact that each slot holds in the end beside it."""
  names = [""] * trace.operation.shape[1]
  for m, operations in enumerate(trace.operation.T):
    (stored,) = np.nonzero(np.isin(operations, STORED))
    if not len(stored) or operations[-1] in (FREE, FORGOTTEN):
      continue
    name = facts[stored[-1]] or "no fact"
    cut = len(name) > MOST_LETTERS
    names[m] = name[: MOST_LETTERS - 1] + "…" if cut else name
  axis = ax.secondary_yaxis("right")
  axis.set_yticks(range(len(names)), names, fontsize=7)
  axis.spines[:].set_visible(False)
  axis.tick_params(right=False, pad=2)


def _draw_attention(ax: Axes, trace: Trace) -> None:
  ramp = LinearSegmentedColormap.from_list("read", ["#F4F4F4", style.BLACK])
  image = _tracks(ax, trace.attention.T, cmap=ramp, vmin=0.0)
  height = ax.figure.get_figheight() * ax.get_position().height
  bar = ax.figure.colorbar(image, ax=ax, pad=0.01, aspect=height / 0.09)
  bar.outline.set_visible(False)
  bar.set_label("read mass")
  ax.set_ylabel("slot")


def shade(trace: Trace) -> np.ndarray:
  """Colours [N, M, 3]: hue by operation, paler at lower strength."""
  colours = np.array([to_rgb(colour) for colour in COLOURS])
  strength = np.clip(trace.strength, 0.0, 1.0)
  # Operations remain distinguishable from the white background at any strength;
  # a forgotten slot has strength 0, and is shown in full colour.
  weight = np.where(
    trace.operation == RETAINED, 0.15 + 0.6 * strength, 0.5 + 0.5 * strength
  )
  full = (trace.operation == FREE) | (trace.operation == FORGOTTEN)
  weight = np.where(full, 1.0, weight)[..., None]
  return 1.0 - weight * (1.0 - colours[trace.operation])


def _tracks(ax: Axes, image: np.ndarray, **kwargs):
  """Draws an image of slots (down) by steps (across), with separators."""
  _bare(ax)
  M, N = image.shape[:2]
  drawn = ax.imshow(image, aspect="auto", interpolation="nearest", **kwargs)
  thick = 2.0 if M <= 16 else 0.6
  ax.hlines(np.arange(M - 1) + 0.5, -0.5, N - 0.5, "white", linewidth=thick)
  if N <= 64:
    ax.vlines(np.arange(N - 1) + 0.5, -0.5, M - 0.5, "white", linewidth=0.8)
  ax.yaxis.set_major_locator(MaxNLocator(min(M, 8), integer=True))
  return drawn


def _bare(ax: Axes) -> None:
  ax.grid(False)
  ax.spines[:].set_visible(False)
  ax.tick_params(left=False, bottom=False)


def _at(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  (steps,) = np.nonzero(mask)
  return steps, np.zeros_like(steps)


def _draw_legend(ax: Axes, trace: Trace) -> None:
  ax.axis("off")
  every = np.arange(len(OPERATIONS))[None]
  colours = shade(Trace(every, np.ones_like(every), every))[0]
  handles: list[Patch | Line2D] = [
    Patch(color=colours[code], label=OPERATIONS[code])
    for code in (
      WRITTEN,
      REPLACED,
      RENEWED,
      UPDATED,
      RETAINED,
      FORGOTTEN,
      FREE,
    )
  ]
  if trace.ground_truth is not None:
    dot = {"linestyle": "", "marker": "o", "markersize": 4}
    star = {"linestyle": "", "marker": "*", "markersize": 9}
    handles.append(Line2D([], [], color=style.GREY, label="fact", **dot))
    handles.append(Line2D([], [], color=style.BLACK, label="queried", **star))
  ax.legend(
    handles=handles,
    loc="center left",
    ncols=len(handles),
    handlelength=1.1,
    columnspacing=1.4,
    handletextpad=0.6,
    borderaxespad=0,
    borderpad=0,
  ).set_in_layout(False)  # or a long legend narrows the panels
