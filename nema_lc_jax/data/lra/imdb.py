"""Text classification of the Long Range Arena: is an IMDb review positive?

The Large Movie Review Dataset (Maas et al. 2011) as bytes: 25,000 reviews for
training and 25,000 for the test. LRA has no validation split and selects models
on the test split; here, validation reviews are held out from training.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds

from nema_lc_jax.data.baselines import byte_classifier
from nema_lc_jax.data.byte_text import VOCAB_SIZE
from nema_lc_jax.data.lra.release import (
  byte_text,
  find_all,
  majority,
  subset,
  warn_of_fewer,
)
from nema_lc_jax.data.lra.tfds_source import find_prepared
from nema_lc_jax.data.prepare import Record, cache_directory, prepare
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_at_least,
  require_split,
)

FOLDER = "aclImdb"
CLASSES = ("neg", "pos")  # labels 0 and 1
# Seed of the order in which reviews are held out; it is not the seed of a run.
HOLD_OUT_SEED = b"0"
NEEDS = "importlib_resources"
ADVICE = (
  "unpack aclImdb_v1.tar.gz from http://ai.stanford.edu/~amaas/data/sentiment "
  "and name its folder aclImdb by dir"
)


def load(
  *,
  dir: str | None = None,
  length: int = 4000,
  num_eval: int = 2500,
  num_test: int | None = None,
) -> Dataset:
  """Reviews, each cut to its first `length` bytes; label 1: positive.

  Reviews are ordered by a keyed hash of their text. So the held-out reviews are
  a fixed random choice, which is the same for every source, and copies of a
  review are in the same split.

  Args:
    dir: the folder aclImdb, or the one above it; by default the data set
      `imdb_reviews` that tensorflow-datasets has prepared.
    length: the default length; 1000 to 4000 in the protocol.
    num_eval: training reviews that are held out for validation; if there are
      no more than these, a tenth is held out, and a warning says so.
    num_test: number of test reviews, a fixed choice; by default all.

  Raises:
    DataError: if files are missing or empty; names them.
  """
  del length  # reviews are cut when examples are made
  require_at_least(1, num_eval=num_eval)
  identity, reviews = _find_reviews(dir)
  records = prepare(
    "imdb",
    fingerprint=identity,
    features={"text": tfds.features.Text(), "label": np.int64},
    splits=reviews,
    cache=cache_directory(),
  )
  whole = len(records["train"])
  if whole < 2:
    raise DataError("imdb: at least 2 training reviews are needed, got 1")
  if num_eval >= whole:
    held_out = max(1, whole // 10)
    warn_of_fewer("num_eval", num_eval, held_out)
    num_eval = held_out
  examples = functools.partial(_examples, records, num_eval, num_test)

  def baselines(split: str, length: int) -> dict[str, float]:
    both = examples("train", length), examples(split, length)
    return {"majority": majority(*both), **byte_classifier(*both)}

  num_examples = {split: len(examples(split, 1)) for split in SPLITS}
  return Dataset(
    name="imdb",
    head="classify",
    vocab_size=VOCAB_SIZE,
    num_classes=2,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=baselines,
    fingerprint=fingerprint(reviews=identity, sizes=num_examples),
    description=(
      "imdb: LRA's text classification, positive or not, as bytes; validation "
      "is held out from training"
    ),
    label_names=("negative", "positive"),
    byte_level=True,
  )


def _find_reviews(
  directory: str | None,
) -> tuple[str, dict[str, Callable[[], Iterator[Record]]]]:
  """A sha256 of the reviews, and what generates those of train and test."""
  if directory is None:
    files, sources = find_prepared(
      "imdb_reviews", "imdb_reviews/plain_text", NEEDS, ADVICE
    )
    return fingerprint(tfds=files), {
      split: functools.partial(_of_source, sources[split])
      for split in ("train", "test")
    }
  rows = read_reviews(find_folder(directory))
  return fingerprint(reviews=hash_of(rows)), {
    split: functools.partial(in_order, rows[split]) for split in rows
  }


def _examples(
  records: Mapping[str, Sequence[Record]],
  num_eval: int,
  num_test: int | None,
  split: str,
  length: int,
) -> Examples:
  """The examples of a split; validation is the first training records."""
  require_split(split)
  source = records["test" if split == "test" else "train"]
  first = num_eval if split == "train" else 0
  last = num_eval if split == "validation" else len(source)

  def make(i: int) -> Example:
    record = source[first + i]
    return byte_text(record["text"], record["label"], length)

  whole = Examples(last - first, make)
  return subset(whole, split, num_eval=None, num_test=num_test)


def find_folder(directory: str) -> Path:
  """The folder that contains train and test, each with neg and pos."""
  root = Path(directory).expanduser()
  parts = [f"{split}/{c}" for split in ("train", "test") for c in CLASSES]
  paths = find_all(
    "imdb",
    root,
    (FOLDER,),
    dict(zip(parts, parts, strict=True)),
    otherwise=f"in {root / FOLDER}; {ADVICE}",
    exists=Path.is_dir,
  )
  return paths[parts[0]].parents[1]


def read_reviews(folder: Path) -> dict[str, list[Record]]:
  """All reviews of train and test; DataError names a file that is empty."""
  reviews: dict[str, list[Record]] = {}
  for split in ("train", "test"):
    reviews[split] = []
    for label, name in enumerate(CLASSES):
      paths = sorted((folder / split / name).glob("*.txt"))
      if not paths:
        raise DataError(f"imdb: {folder / split / name} has no .txt files")
      for path in paths:
        text = path.read_bytes().strip()  # as tensorflow-datasets does
        if not text:
          raise DataError(f"{path}: the review is empty")
        reviews[split].append({"text": text, "label": label})
  return reviews


def hash_of(reviews: dict[str, list[Record]]) -> str:
  """A sha256 of all reviews, with splits and labels."""
  digest = hashlib.sha256()
  for split, rows in reviews.items():
    for row in rows:
      text = hashlib.sha256(row["text"]).hexdigest()
      digest.update(f"{split} {row['label']} {text}\n".encode())
  return digest.hexdigest()


def in_order(reviews: Iterable[Record]) -> Iterator[Record]:
  """The reviews in the order of the keyed hashes of their texts."""
  key = lambda row: hashlib.sha256(HOLD_OUT_SEED + row["text"]).digest()
  yield from sorted(reviews, key=lambda row: (key(row), row["label"]))


def _of_source(source: Iterable[Record]) -> Iterator[Record]:
  yield from in_order(
    {"text": row["text"].strip(), "label": int(row["label"])} for row in source
  )
