"""Language modelling: the next byte, in windows of documents.

The documents are the source files of the Python standard library, which every
installation has, the files of a folder, or the parts of one file.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np

from nema_lc_jax.data.byte_text import VOCAB_SIZE, encode, fit
from nema_lc_jax.data.lifecycle.synthetic import TRAIN_EXAMPLES
from nema_lc_jax.data.text.background import read_background
from nema_lc_jax.data.text.corpus import (
  TRAIN_SHARE,
  VALIDATION_SHARE,
  Document,
  corpus_fingerprint,
)
from nema_lc_jax.data.text.language_modelling import NOT_ASKED
from nema_lc_jax.data.types import (
  ENDLESS,
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_at_least,
  require_split,
  shuffled,
)

LEAST = 2  # bytes of a document: one to read, and one to predict


def load(
  *,
  path: str | None = None,
  num_eval: int = 200,
  num_test: int = 400,
) -> Dataset:
  """Windows of documents; the label of each byte is the next one.

  Each window is of one document; one that is shorter is padded. Training draws
  windows anew, a document in proportion to its size and a uniform place in it.
  Evaluation has windows that follow one another, so that no byte is predicted
  twice: all of them, in an order of their own, or the first so many.

  Args:
    path: a folder of texts, split by file, or by its folders train, validation
      and test; or a file, whose first 70% are for training, the next 10% for
      validation, and the rest for the test. None: the standard library.
    num_eval: windows of validation, at most.
    num_test: windows of the test, at most.

  Raises:
    DataError: when there is no such text, or too little of it.
  """
  require_at_least(1, num_eval=num_eval, num_test=num_test)
  documents = _documents(path)
  texts = {
    split: [d.text for d in documents if d.split == split] for split in SPLITS
  }
  for split, found in texts.items():
    if not any(len(text) >= LEAST for text in found):
      raise DataError(
        f"lm: {path or 'the standard library'} has no text of {LEAST} bytes or"
        f" more for {split}"
      )
  windows = _Windows(
    {split: _Bytes(found) for split, found in texts.items()},
    {"validation": num_eval, "test": num_test},
  )
  total = {split: sum(map(len, found)) for split, found in texts.items()}
  return Dataset(
    name="lm",
    head="causal_lm",
    vocab_size=VOCAB_SIZE,
    num_classes=VOCAB_SIZE,
    num_examples=windows.sizes | {"train": TRAIN_EXAMPLES},
    train=windows.train,
    streams=windows.streams,
    evaluation=windows.evaluation,
    baselines=windows.baselines,
    fingerprint=fingerprint(
      corpus=corpus_fingerprint(documents), sizes=windows.sizes
    ),
    description=(
      f"lm: the next byte of {len(documents)} documents,"
      f" {total['train']:,} bytes for training, {total['test']:,} for the test"
    ),
    byte_level=True,
  )


def _documents(path: str | None) -> list[Document]:
  place = Path(path or "").expanduser()
  if path is None or (path and place.is_dir()):
    return read_background(path, option="path")
  if not path or not place.is_file():
    raise DataError(f"lm: path={path!r} is neither a file nor a folder")
  text = place.read_bytes()
  cuts = [round(share * len(text)) for share in (
    TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE
  )]  # fmt: skip
  parts = text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :]
  return [
    Document(f"{place.name}, {split}", split, part, split)
    for split, part in zip(SPLITS, parts, strict=True)
  ]


class _Bytes:
  """The documents of a split, one after another."""

  def __init__(self, texts: Sequence[bytes]):
    texts = [text for text in texts if len(text) >= LEAST]
    self.ids = encode(b"".join(texts))
    self.ends = np.cumsum([len(text) for text in texts])

  def draw(self, rng: np.random.Generator, length: int) -> Example:
    """A window at a uniform place of a document."""
    place = int(rng.integers(len(self.ids)))
    first, end = self._document(place)
    # The last window is the one whose last byte still has a next one.
    places = max(end - 1 - length - first, 0) + 1
    return self.window(first + int(rng.integers(places)), length)

  def epoch(
    self, length: int, rng: np.random.Generator
  ) -> tuple[np.ndarray, np.ndarray]:
    """Windows that follow one another, of all documents in a random order.

    Of each document that has two windows or more, a random part before the
    first is left out, so that windows differ between epochs.

    Returns:
      The start of each window, and whether it continues the one before.
    """
    starts, continues = [], []
    for document in rng.permutation(len(self.ends)):
      first, end = self._span(document)
      if end - first > 2 * length:
        first += int(rng.integers(length))
      windows = np.arange(first, end - 1, length)
      starts.append(windows)
      continues.append(windows > first)
    return np.concatenate(starts), np.concatenate(continues)

  def starts(self, length: int) -> np.ndarray:
    """The starts of consecutive windows of all documents, in a random order."""
    firsts = [0, *self.ends[:-1]]
    # A document's last byte is not read, as there is nothing to predict.
    starts = [
      np.arange(first, end - 1, length)
      for first, end in zip(firsts, self.ends, strict=True)
    ]
    starts = np.concatenate(starts)
    return starts[shuffled(len(starts))]

  def window(self, start: int, length: int) -> Example:
    """The bytes from `start` on within a document, and the next ones."""
    _, end = self._document(start)
    row = self.ids[start : min(start + length, end)]
    after = self.ids[start + 1 : min(start + length + 1, end)]
    return {
      "inputs": fit(row, length),
      "mask": np.arange(length) < len(row),
      "label": fit(after, length, fill=NOT_ASKED),
    }

  def _document(self, place: int) -> tuple[int, int]:
    """The start and the end of the document around a place."""
    return self._span(int(np.searchsorted(self.ends, place, side="right")))

  def _span(self, document: int) -> tuple[int, int]:
    """The start and the end of a document."""
    first = self.ends[document - 1] if document else 0
    return int(first), int(self.ends[document])


class _Streams:
  """The training windows, epoch by epoch, so that rows read on in documents.

  An epoch is cut into as many parts of equal length as a batch has rows. Where
  a part begins, nothing is continued.
  """

  def __init__(self, text: _Bytes, length: int, seed: int, rows: int):
    self._text, self._length, self._seed, self._rows = text, length, seed, rows
    self._epoch = functools.lru_cache(maxsize=2)(self._make_epoch)
    # Where documents begin within windows differs by epoch; their number hardly
    # does, and the smallest one has to do for all.
    spans = np.diff(text.ends, prepend=0)
    cut = np.where(spans > 2 * length, spans - length, spans)
    windows = np.maximum(-(-(cut - 1) // length), 1).sum()
    self._steps = max(int(windows) // rows, 1)  # of an epoch

  def _make_epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    key = np.array([self._seed, number], np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))
    return self._text.epoch(self._length, rng)

  def example(self, number: int) -> Example:
    """Number n is of row n % rows."""
    step, row = divmod(number, self._rows)
    epoch, step = divmod(step, self._steps)
    starts, continues = self._epoch(epoch)
    place = (row * self._steps + step) % len(starts)
    example = self._text.window(int(starts[place]), self._length)
    return example | {"continues": np.bool_(step > 0 and continues[place])}


@dataclasses.dataclass(frozen=True, repr=False)
class _Windows:
  texts: dict[str, _Bytes]
  sizes: dict[str, int]

  def train(self, length: int, seed: int) -> grain.MapDataset:
    """Windows that are drawn anew in each epoch."""
    text = self.texts["train"]
    draw = lambda _, rng: text.draw(rng, length)
    return grain.MapDataset.range(TRAIN_EXAMPLES).seed(seed).random_map(draw)

  def streams(self, length: int, seed: int, rows: int) -> Examples:
    """Windows of which each row's follow one another."""
    streams = _Streams(self.texts["train"], length, seed, rows)
    return Examples(ENDLESS, streams.example)

  def evaluation(self, split: str, length: int) -> Examples:
    """The windows of a split; of training, all of them."""
    require_split(split)
    text = self.texts[split]
    starts = text.starts(length)[: self.sizes.get(split)]
    return Examples(len(starts), lambda i: text.window(int(starts[i]), length))

  @functools.cached_property
  def _most_frequent(self) -> int:
    return int(np.bincount(self.texts["train"].ids).argmax())

  def baselines(self, split: str, length: int) -> dict[str, float]:
    """How often the most frequent byte of training is right."""
    if split == "train":
      return {}
    examples = self.evaluation(split, length)
    found = [examples[i]["label"] for i in range(len(examples))]
    labels = np.concatenate(found)
    right = labels[labels != NOT_ASKED] == self._most_frequent
    return {"most_frequent_byte": float(right.mean())}
