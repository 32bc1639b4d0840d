"""Document matching on the Python standard library: same file, or not?

Every installation of Python has these texts, so nothing is downloaded. An
example is two windows of bytes, which come from two files or are disjoint parts
of one file. Files of one package or group of modules are in the same split.
"""

import dataclasses
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np
import tensorflow_datasets as tfds

from nema_lc_jax.data.baselines import FIT_PAIRS, byte_histogram
from nema_lc_jax.data.byte_text import VOCAB_SIZE, text_pair
from nema_lc_jax.data.prepare import cache_directory, prepare
from nema_lc_jax.data.text.corpus import (
  Document,
  corpus_fingerprint,
  read_corpus,
)
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  example_rng,
  fingerprint,
  require_at_least,
  require_split,
)

LABELLED_TRAIN_PAIRS = 2**30  # nominal, since pairs are drawn
PAIRS = ("in_batch", "labelled")


def load(
  *,
  seed: int = 0,
  length: int = 1024,
  dir: str | None = None,
  gap: int = 256,
  pairs: str = "in_batch",
  num_eval: int = 1000,
  num_test: int = 2000,
) -> Dataset:
  """Matching windows of `length` bytes each; label 1 means the same file.

  The windows of a pair are at least `gap` bytes apart when they share a file;
  files shorter than 2*length + gap are left out. Evaluation has `num_eval` and
  `num_test` labelled pairs, half of them positive, each a pure function of
  (seed, split, i, length).

  Args:
    seed: of the pairs.
    length: the length for which `num_examples` counts; examples of any other
      length can be made, too.
    dir: where to prepare; by default see `prepare.cache_directory`.
    gap: the least number of bytes between two windows of a file.
    pairs: "in_batch" trains with in-batch negatives: in each epoch, two windows
      of each document are drawn anew, `group` is in place of `label`, and the
      other rows of the batch are the negatives. "labelled" trains on pairs as
      in evaluation.
    num_eval: labelled pairs of validation.
    num_test: labelled pairs of the test split.
  """
  require_at_least(0, gap=gap)
  require_at_least(1, num_eval=num_eval, num_test=num_test)
  if pairs not in PAIRS:
    raise DataError(
      f"pytext: pairs must be one of {', '.join(PAIRS)}; got {pairs!r}"
    )
  documents = read_corpus(Path(sysconfig.get_paths()["stdlib"]))
  identity = corpus_fingerprint(documents)
  texts = _prepared_texts(documents, identity, cache_directory(dir))
  sizes = {
    "train": LABELLED_TRAIN_PAIRS,
    "validation": num_eval,
    "test": num_test,
  }
  windows = _Windows(texts, seed, gap, sizes)
  train_size = len(windows.fitting("train", length))
  in_batch = pairs == "in_batch"
  return Dataset(
    name="pytext",
    head="match",
    vocab_size=VOCAB_SIZE,
    num_classes=2,
    num_examples=sizes | ({"train": train_size} if in_batch else {}),
    train=windows.in_batch if in_batch else windows.labelled_train,
    evaluation=windows.labelled,
    baselines=windows.baselines,
    fingerprint=fingerprint(corpus=identity, gap=gap, pairs=pairs, sizes=sizes),
    description=(
      f"pytext: same file or not, on {len(documents)} files of the Python "
      f"standard library, {train_size} of them in training at length {length}"
    ),
    label_names=("different files", "same file"),
    byte_level=True,
  )


@dataclasses.dataclass(frozen=True, repr=False)
class _Windows:
  """Pairs of windows from the documents of each split."""

  texts: dict[str, Sequence[bytes]]
  seed: int
  gap: int
  sizes: dict[str, int]  # labelled pairs of each split; nominal in training

  def fitting(self, split: str, length: int) -> list[bytes]:
    """The texts of a split that are long enough for two windows."""
    require_split(split)
    shortest = 2 * length + self.gap
    fitting = [text for text in self.texts[split] if len(text) >= shortest]
    if len(fitting) < 2:
      raise DataError(
        f"pytext: {len(fitting)} documents of {split} have the {shortest} "
        f"bytes that two windows of length {length} need; 2 are needed"
      )
    return fitting

  def pair(
    self, rng: np.random.Generator, text1: bytes, text2: bytes, length: int
  ) -> Example:
    """A window of each text, at uniform places, one before the other.

    The joint distribution of the relative places is the same whether or not the
    texts are the same, so the places do not tell the label.
    """
    early, late = np.sort(rng.random(2))
    if rng.random() < 0.5:
      text1, text2 = text2, text1
    start1 = int(early * self._places(text1, length))
    start2 = int(late * self._places(text2, length)) + length + self.gap
    window1 = text1[start1 : start1 + length]
    window2 = text2[start2 : start2 + length]
    if rng.random() < 0.5:
      window1, window2 = window2, window1
    return text_pair(window1, window2, length)

  def _places(self, text: bytes, length: int) -> int:
    return len(text) - 2 * length - self.gap + 1

  def labelled(
    self, split: str, length: int, size: int | None = None
  ) -> Examples:
    """Labelled pairs; the windows of every second pair share a document."""
    texts = self.fitting(split, length)
    size = self.sizes[split] if size is None else size

    def make(i: int) -> Example:
      rng = example_rng(self.seed, split, i, length)
      label = i % 2
      first, second = rng.choice(len(texts), 2, replace=False)
      other = first if label else second
      pair = self.pair(rng, texts[first], texts[other], length)
      return pair | {"label": np.int32(label)}

    return Examples(size, make)

  def baselines(self, split: str, length: int) -> dict[str, float]:
    """Accuracies of chance, and of byte counts fitted on training pairs."""
    fit = self.labelled("train", length, FIT_PAIRS)
    evaluated = fit if split == "train" else self.labelled(split, length)
    return {"chance": 0.5, **byte_histogram(fit, evaluated)}

  def labelled_train(self, length: int, _: int) -> grain.MapDataset:
    """Labelled pairs as a training set."""
    return grain.MapDataset.source(self.labelled("train", length))

  def in_batch(self, length: int, seed: int) -> grain.MapDataset:
    """Two windows of each document of training, drawn anew in each epoch."""
    texts = self.fitting("train", length)

    def draw(group: int, rng: np.random.Generator) -> Example:
      pair = self.pair(rng, texts[group], texts[group], length)
      return pair | {"group": np.int32(group)}

    return grain.MapDataset.range(len(texts)).seed(seed).random_map(draw)


def _prepared_texts(
  documents: Sequence[Document], identity: str, cache: Path
) -> dict[str, list[bytes]]:
  """The texts of each split, from the cache; prepares them if needed."""

  def records(split: str) -> Iterator[dict]:
    for document in documents:
      if document.split == split:
        yield {
          "name": document.name,
          "group": document.group,
          "text": document.text,
        }

  sources = prepare(
    "pytext",
    fingerprint=identity,
    features={key: tfds.features.Text() for key in ("name", "group", "text")},
    splits={split: lambda split=split: records(split) for split in SPLITS},
    cache=cache,
  )
  # The corpus is small enough to be held in memory.
  return {
    split: [record["text"] for record in source]
    for split, source in sources.items()
  }
