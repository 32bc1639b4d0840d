"""Image classification of the Long Range Arena: CIFAR-10 as a text of pixels.

An image is 1,024 tokens, row by row: token id = grey value (0..255) + 1; 0 is
padding. Grey is 0.2989 R + 0.5870 G + 0.1140 B, as in tf.image.rgb_to_grayscale
of the reference. The last tenth of the training images, in the order of their
files, is for validation.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds

from nema_lc_jax.data.baselines import byte_classifier
from nema_lc_jax.data.byte_text import VOCAB_SIZE
from nema_lc_jax.data.lra.release import find_all, images, require_whole
from nema_lc_jax.data.lra.tfds_source import find_prepared
from nema_lc_jax.data.prepare import Record, cache_directory, prepare
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  checksum,
  fingerprint,
)

TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
FOLDER = "cifar-10-batches-bin"
IMAGES_PER_FILE = 10_000
PIXELS = 32 * 32
RECORD_BYTES = 1 + 3 * PIXELS  # the label; then all of red, green, blue
NUM_CLASSES = 10
GREY = np.array([0.2989, 0.5870, 0.1140])
VALIDATION_SHARE = 10
NEEDS = "tensorflow importlib_resources"  # TensorFlow encodes images
ADVICE = (
  "unpack cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/ and "
  "name its folder cifar-10-batches-bin by dir"
)


def load(
  *,
  dir: str | None = None,
  length: int = PIXELS,
  num_eval: int | None = None,
  num_test: int | None = None,
) -> Dataset:
  """Grey images of 32 x 32 pixels in 10 classes.

  Args:
    dir: the folder of the binary version's data_batch_{1..5}.bin and
      test_batch.bin; by default the data set `cifar10` that
      tensorflow-datasets has prepared.
    length: tokens of an example, at least 1024; the rest is padding.
    num_eval: number of validation images, a fixed choice; by default all 5,000.
    num_test: number of test images, likewise; by default all 10,000.

  Raises:
    DataError: if files are missing or of a wrong size; names them.
  """
  require_whole("cifar10", length, PIXELS)
  if dir is None:
    files, sources = find_prepared("cifar10", "cifar10", NEEDS, ADVICE)
    identity = fingerprint(tfds=files)
    splits = _of_sources(sources)
  else:
    paths = find_files(dir)
    identity = fingerprint(files=[checksum(path) for path in paths])
    splits = _of_files(paths)
  records = prepare(
    "cifar10",
    fingerprint=identity,
    features={"pixels": tfds.features.Text(), "label": np.int64},
    splits=splits,
    cache=cache_directory(),
  )

  examples = images(
    "cifar10", records, PIXELS, num_eval=num_eval, num_test=num_test
  )

  def baselines(split: str, length: int) -> dict[str, float]:
    both = examples("train", length), examples(split, length)
    return {"chance": 1 / NUM_CLASSES, **byte_classifier(*both)}

  num_examples = {split: len(examples(split, PIXELS)) for split in SPLITS}
  return Dataset(
    name="cifar10",
    head="classify",
    vocab_size=VOCAB_SIZE,
    num_classes=NUM_CLASSES,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=baselines,
    fingerprint=fingerprint(images=identity, sizes=num_examples),
    description="cifar10: LRA's image classification, grey pixels in a row",
  )


def find_files(directory: str) -> list[Path]:
  """The five training files, then the test file."""
  root = Path(directory).expanduser()
  names = (*TRAIN_FILES, TEST_FILE)
  paths = find_all(
    "cifar10",
    root,
    (FOLDER,),
    dict(zip(names, names, strict=True)),
    otherwise=f"in {root / FOLDER}; {ADVICE}",
    exists=Path.is_file,
  )
  return list(paths.values())


def _of_files(paths: Sequence[Path]) -> dict[str, Iterator]:
  """Generators of the records of each split, from the binary files."""
  last = len(TRAIN_FILES) * IMAGES_PER_FILE
  first = last - last // VALIDATION_SHARE
  train, test = paths[:-1], paths[-1:]
  return {
    "train": lambda: _cut(train, 0, first),
    "validation": lambda: _cut(train, first, last),
    "test": lambda: _cut(test, 0, IMAGES_PER_FILE),
  }


def _cut(paths: Sequence[Path], start: int, stop: int) -> Iterator[Record]:
  """Images `start` to `stop`, counted over all files."""
  for number, path in enumerate(paths):
    before = number * IMAGES_PER_FILE
    rows = range(before, before + IMAGES_PER_FILE)
    if rows[-1] >= start and rows[0] < stop:
      labels, images = read_batch(path)
      for i in range(max(start - before, 0), min(stop - before, len(labels))):
        yield {"pixels": to_grey(images[i]), "label": int(labels[i])}


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
  """Labels [n] and images uint8 [n, 32 * 32, 3] of a binary file.

  Raises:
    DataError: for a file of another size, or a label out of range.
  """
  content = np.fromfile(path, np.uint8)
  if content.size != IMAGES_PER_FILE * RECORD_BYTES:
    raise DataError(
      f"{path}: expected {IMAGES_PER_FILE * RECORD_BYTES} bytes, got "
      f"{content.size}"
    )
  rows = content.reshape(-1, RECORD_BYTES)
  labels = rows[:, 0]
  if labels.max() >= NUM_CLASSES:
    row = int(labels.argmax())
    raise DataError(
      f"{path}: expected labels of 0 to {NUM_CLASSES - 1}, image {row} has "
      f"{labels[row]}"
    )
  return labels, rows[:, 1:].reshape(-1, 3, PIXELS).transpose(0, 2, 1)


def to_grey(image: np.ndarray) -> bytes:
  """Grey values of an image uint8 [..., 3], rounded as the reference does."""
  grey = np.floor(image @ GREY * (255.5 / 255))
  return grey.astype(np.uint8).tobytes()


def _of_sources(sources: dict) -> dict[str, Iterator]:
  """Generators of the records of each split, from tensorflow-datasets."""
  whole, test = sources["train"], sources["test"]
  first = len(whole) - len(whole) // VALIDATION_SHARE

  def records(source: Sequence, rows: range) -> Iterator[Record]:
    for i in rows:
      row = source[i]
      yield {"pixels": to_grey(row["image"]), "label": int(row["label"])}

  return {
    "train": lambda: records(whole, range(first)),
    "validation": lambda: records(whole, range(first, len(whole))),
    "test": lambda: records(test, range(len(test))),
  }
