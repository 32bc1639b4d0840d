"""Pathfinder and Path-X of the Long Range Arena: are two dots connected?

An image of dashed curves has two dots. The label is 1 if they are the ends of
one curve. Tokens are pixels, row by row: token id = grey value (0..255) + 1; 0
is padding. The release's images have 32 x 32 pixels (Pathfinder) or 128 x 128
(Path-X); images of 32 x 32 can also be drawn here, see `dashes`.

Files as in google-research/long-range-arena (lra_benchmarks/data/
pathfinder.py): in curv_contour_length_14, metadata/*.npy are lines of text,
"folder file number label ...", and folder/file is a PNG. The reference splits
the images in file order; here they are split 80/10/10 by a fixed permutation.
"""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
from absl import logging

from nema_lc_jax.data.byte_text import VOCAB_SIZE
from nema_lc_jax.data.lifecycle.synthetic import generated
from nema_lc_jax.data.lra import dashes
from nema_lc_jax.data.lra.release import (
  byte_text,
  find_release,
  images,
  require_whole,
)
from nema_lc_jax.data.prepare import Record, cache_directory, contents, prepare
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  fingerprint,
  require_at_least,
  shuffled,
)

RESOLUTIONS = (32, 128)
DIFFICULTY = "curv_contour_length_14"
EVAL_SHARE = 10  # one image in so many is for validation, and one for test
GENERATED = 20_000  # images of validation and of test, as in the protocol


class Row(NamedTuple):
  """An image of the release."""

  path: str  # below the folder of the difficulty
  label: int


def load(
  *,
  seed: int = 0,
  length: int | None = None,
  dir: str | None = None,
  resolution: int = 32,
  num_eval: int | None = None,
  num_test: int | None = None,
) -> Dataset:
  """Images with two dots; label 1: the dots are the ends of one curve.

  Args:
    seed: of images that are drawn here.
    length: tokens of an example, at least resolution^2; the rest is padding.
    dir: the release's folder pathfinder32 or pathfinder128, or one above it. By
      default images of 32 x 32 are drawn here.
    resolution: pixels per side, 32 or 128.
    num_eval: number of validation images, a fixed choice; by default all of the
      release's, or 20,000 drawn here.
    num_test: number of test images, likewise.

  Raises:
    DataError: if files are missing or malformed; names the file and the line.
  """
  if resolution not in RESOLUTIONS:
    raise DataError(
      f"pathfinder: resolution must be 32 or 128, got {resolution!r}"
    )
  check = lambda length: require_whole("pathfinder", length, resolution**2)
  check(resolution**2 if length is None else length)
  if dir is not None:
    return _release(dir, resolution, num_eval, num_test)
  if resolution != dashes.SIDE:
    raise DataError(
      "pathfinder: images of resolution 128 are not drawn here; name the "
      "release's folder pathfinder128 by dir"
    )
  sizes = tuple(GENERATED if n is None else n for n in (num_eval, num_test))
  require_at_least(1, num_eval=sizes[0], num_test=sizes[1])
  return generated(
    _draw,
    name="pathfinder",
    seed=seed,
    options={"version": dashes.VERSION},
    vocab_size=VOCAB_SIZE,
    num_classes=2,
    sizes=sizes,
    check=check,
    chance=0.5,
    description="pathfinder: drawn here, not LRA's images; dots on one curve?",
  )


def _draw(rng: np.random.Generator, length: int, _: bool) -> Example:
  label = int(rng.integers(2))
  return byte_text(dashes.draw(rng, label).tobytes(), label, length)


def _release(
  directory: str, resolution: int, num_eval: int | None, num_test: int | None
) -> Dataset:
  """The data set of the release's files."""
  name = f"pathfinder{resolution}"
  folder = find_release("pathfinder", directory, name, {"": DIFFICULTY})[""]
  rows = read_metadata(folder)
  identity = fingerprint(
    rows=rows,
    images=contents([folder / row.path for row in rows], cache_directory()),
    resolution=resolution,
  )
  order = shuffled(len(rows))
  size = len(rows) // EVAL_SHARE
  parts = order[2 * size :], order[:size], order[size : 2 * size]
  if not size:
    raise DataError(
      f"{folder}: {len(rows)} images can't be split, at least "
      f"{EVAL_SHARE} are needed"
    )
  records = prepare(
    name,
    fingerprint=identity,
    features={"pixels": tfds.features.Text(), "label": np.int64},
    splits={
      split: lambda part=part: _read_images(folder, rows, part, resolution)
      for split, part in zip(SPLITS, parts, strict=True)
    },
    cache=cache_directory(),
  )

  examples = images(
    "pathfinder", records, resolution**2, num_eval=num_eval, num_test=num_test
  )
  num_examples = {s: len(examples(s, resolution**2)) for s in SPLITS}
  return Dataset(
    name="pathfinder",
    head="classify",
    vocab_size=VOCAB_SIZE,
    num_classes=2,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda *_: {"chance": 0.5},
    fingerprint=fingerprint(images=identity, sizes=num_examples),
    description=f"pathfinder: LRA's {name}, dots on one curve or not",
  )


def read_metadata(folder: Path) -> list[Row]:
  """The row of each image, in the order of the metadata files' numbers.

  The release has images that are empty files; they are left out, as in the
  reference.

  Raises:
    DataError: if files are missing or malformed; names the file and the line.
  """
  files = sorted(
    (folder / "metadata").glob("*.npy"), key=lambda p: (len(p.name), p.name)
  )
  if not files:
    raise DataError(f"pathfinder: {folder / 'metadata'} has no .npy files")
  rows = _without_copies(folder, [r for file in files for r in _lines(file)])
  found = _sizes(folder, rows)
  for row in rows:
    if row.path not in found:
      raise DataError(f"pathfinder: {folder / row.path} is missing")
  kept = [row for row in rows if found[row.path]]
  if len(kept) < len(rows):
    logging.warning(
      "%s: %d empty images left out", folder, len(rows) - len(kept)
    )
  return kept


def _without_copies(folder: Path, rows: Sequence[Row]) -> list[Row]:
  """Each image once, since a copy might be in another split."""
  kept: dict[str, Row] = {}
  for row in rows:
    if kept.setdefault(row.path, row).label != row.label:
      raise DataError(f"pathfinder: {folder / row.path} has two labels")
  if len(kept) < len(rows):
    logging.warning(
      "%s: %d images are listed again, and are taken once",
      folder,
      len(rows) - len(kept),
    )
  return list(kept.values())


def _lines(file: Path) -> Iterator[Row]:
  content = file.read_bytes()
  if content.startswith(b"\x93NUMPY"):
    raise DataError(f"{file}: expected lines of text, got a NumPy array")
  for number, line in enumerate(content.splitlines(), 1):
    columns = line.decode(errors="replace").split(" ")
    if len(columns) < 4 or columns[3] not in ("0", "1"):
      raise DataError(
        f"{file}:{number}: expected columns between spaces: folder, file, "
        f"number, label 0 or 1; got {' '.join(columns[:4])!r}"
      )
    yield Row(f"{columns[0]}/{columns[1]}", int(columns[3]))


def _sizes(folder: Path, rows: Sequence[Row]) -> dict[str, int]:
  """Sizes of the images in bytes, by path; scanning folders is fast."""
  sizes = {}
  for part in {row.path.rsplit("/", 1)[0] for row in rows}:
    if (folder / part).is_dir():
      for entry in os.scandir(folder / part):
        sizes[f"{part}/{entry.name}"] = entry.stat().st_size
  return sizes


def _read_images(
  folder: Path, rows: Sequence[Row], part: np.ndarray, side: int
) -> Iterator[Record]:
  for i in part:
    pixels = read_png(folder / rows[i].path, side)
    yield {"pixels": pixels, "label": rows[i].label}


def read_png(path: Path, side: int) -> bytes:
  """The grey values of an image, row by row; DataError unless it is a PNG."""
  try:
    content = io.BytesIO(path.read_bytes())
    PIL.Image.open(content, formats=["PNG"]).verify()  # of checksums
    with PIL.Image.open(content, formats=["PNG"]) as png:
      pixels = np.asarray(png.convert("L"))
  except (
    OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError
  ) as error:  # fmt: skip
    raise DataError(f"{path}: not a readable PNG: {error}") from None
  if pixels.shape != (side, side):
    raise DataError(
      f"{path}: expected {side} x {side} pixels, got {pixels.shape[1]} x "
      f"{pixels.shape[0]}"
    )
  return pixels.tobytes()
