"""Draws images of dashed curves with two dots, after Pathfinder.

As in the release (google-research/long-range-arena: lra_benchmarks/data/
pathfinder.py; Linsley et al. 2018): 32 x 32 pixels, two long curves of 14
dashes, five short ones of 4, none touching another; the dots are the two ends
of a long curve (label 1), or one end of each (label 0). The distributions of
the curves and of the distance of the dots are the same for both labels: a
threshold on the distance, and a linear classifier of pixels, were at chance on
1,200 and 600 images.

Differences from the original: dashes are whole pixels with a gap of one, all of
one grey value, and not smoothed (the original is drawn twice as large and
scaled down); a direction turns by a normal angle of 0.3 radians a dash, and
more where there is no room (the original bounds it by "continuity"); dots are
squares of 3 pixels, at least 6 apart, and their distance does not depend on
the label. Results on these images cannot be compared with those on the
release's.
"""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

SIDE = 32
VERSION = 1  # to be raised when a seed gives other images
LONG, SHORT = 14, 4  # dashes of a curve
NUM_SHORT = 5
STEP = 3  # pixels from dash to dash: two are drawn, one is a gap
TURN = 0.3  # radians, standard deviation per dash
MARGIN = 1
DASH_GREY, DOT_GREY = 190, 255
DOT_DISTANCE = 6
DISTANCE_ERROR = 2  # pixels, between the dots' distances of the labels
TRIES = 100  # per curve, before the image is started again
TAKEN_BACK = 3  # dashes that are removed if none can be added
DASH_TRIES = 8  # per dash, with larger and larger turns, before its curve fails

Pixel = tuple[int, int]
Dash = tuple[Pixel, Pixel]
Ends = tuple[Pixel, Pixel]
Place = tuple[float, float, float]  # y, x and direction of the next dash


def draw(rng: np.random.Generator, label: int) -> np.ndarray:
  """An image uint8 [32, 32]; label 1: both dots are on one curve."""
  noise = _noise(rng)
  while True:
    curves = _curves(noise)
    ends = _choose_ends(*curves[:2]) if curves else None
    if ends:
      return _paint(curves, ends[label])


def _choose_ends(first: list[Dash], second: list[Dash]) -> tuple[Ends, ...]:
  """Places of the dots for label 0 and for label 1, at equal distances.

  Otherwise, dots that are near each other would mostly not be connected.
  Empty if no distances are equal enough.
  """
  ends = [(curve[0][0], curve[-1][-1]) for curve in (first, second)]
  gap = lambda pair: math.dist(*pair)
  pairs = itertools.product(itertools.product(*ends), ends)
  difference, _, both = min(
    (abs(gap(apart) - gap(together)), i, (apart, together))
    for i, (apart, together) in enumerate(pairs)
  )
  near = min(gap(pair) for pair in both) < DOT_DISTANCE
  return () if near or difference > DISTANCE_ERROR else both


def _noise(rng: np.random.Generator) -> Iterator[float]:
  """Standard normal numbers one by one, drawn in blocks for speed."""
  while True:
    yield from rng.standard_normal(256).tolist()


def _curves(noise: Iterator[float]) -> list[list[Dash]] | None:
  """The two long curves, then the short ones; None if there is no room."""
  taken, curves = 0, []
  for size in (LONG, LONG, *[SHORT] * NUM_SHORT):
    for _ in range(TRIES):
      curve = _curve(noise, size, taken)
      if curve:
        break
    else:
      return None
    curves.append(curve)
    for dash in curve:
      taken |= _around(dash)
  return curves


def _curve(noise: Iterator[float], size: int, taken: int) -> list[Dash] | None:
  """A curve of `size` dashes that touches neither `taken` nor itself, or None.

  Sets of pixels are the bits of a number, for speed. If no dash can be added,
  the last few are removed.
  """
  inside = SIDE - 2 * MARGIN
  y, x = (MARGIN + inside * _uniform(next(noise)) for _ in range(2))
  trail = [(y, x, 2 * math.pi * _uniform(next(noise)))]
  curve: list[Dash] = []
  for _ in range(2 * size):
    own = taken
    for dash in curve[:-1]:
      own |= _around(dash)
    found = _dash(noise, trail[-1], own)
    if found:
      curve.append(found[0])
      trail.append(found[1])
    elif len(curve) <= TAKEN_BACK:
      return None
    else:
      del curve[-TAKEN_BACK:]
      del trail[1 + len(curve) :]
    if len(curve) == size:
      return curve
  return None


def _dash(
  noise: Iterator[float], place: Place, taken: int
) -> tuple[Dash, Place] | None:
  """A free dash that starts at `place`, and the place of the next one."""
  y, x, angle = place
  for attempt in range(DASH_TRIES):
    turned = angle + (1 + attempt / 2) * TURN * next(noise)
    dy, dx = math.sin(turned), math.cos(turned)
    dash = (int(y), int(x)), (int(y + dy), int(x + dx))
    if all(_free(pixel, taken) for pixel in dash):
      return dash, (y + STEP * dy, x + STEP * dx, turned)
  return None


def _uniform(normal: float) -> float:
  return 0.5 * (1 + math.erf(normal / math.sqrt(2)))


def _free(pixel: Pixel, taken: int) -> bool:
  y, x = pixel
  inside = MARGIN <= y < SIDE - MARGIN and MARGIN <= x < SIDE - MARGIN
  return inside and not taken >> (y * SIDE + x) & 1


@functools.cache
def _around(dash: Dash) -> int:
  """The pixels of a dash and all their neighbours, as bits."""
  pixels = {q for pixel in dash for q in _square(pixel)}
  return sum(1 << (y * SIDE + x) for y, x in pixels)


def _square(pixel: Pixel) -> list[Pixel]:
  """A pixel and its eight neighbours."""
  y, x = pixel
  return [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _paint(curves: list[list[Dash]], ends: Ends) -> np.ndarray:
  image = np.zeros((SIDE, SIDE), np.uint8)
  pixels = [p for curve in curves for dash in curve for p in dash]
  image[tuple(np.transpose(pixels))] = DASH_GREY
  dots = [p for end in ends for p in _square(end)]
  image[tuple(np.transpose(dots))] = DOT_GREY
  return image
