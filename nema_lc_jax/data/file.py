"""Your own data from a file: `.npz` arrays or `.tsv` texts.

npz: `inputs` [n, L] of token ids; `labels` [n], or [n, L] with one per token,
negative where nothing is asked (head predict); optional `inputs2` (head match),
`mask` and `mask2`. Without a mask, token 0 is padding.
tsv: label and text, or label, text1 and text2, in UTF-8; bytes are tokens, and
labels are any strings, numbered in sorted order over all splits.

`path` is one file, split 80/10/10 by the seed; or has `{split}` in it; or is a
folder of train, validation and test files of one kind.
"""

import functools
import hashlib
from pathlib import Path

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.file_readers import READERS, Table
from nema_lc_jax.data.text import VOCAB_SIZE, fit, tokens
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_split,
)

NOT_ASKED = -1
EVAL_SHARE = 10  # one row in so many is for validation, and one for test


def load(*, seed: int = 0, path: str | None = None) -> Dataset:
  """The data set at `path`; `seed` splits a single file.

  Rows are cut or filled up to the length that is asked for. Classes are
  numbered 0..max(label), so the numbers in the file keep their meaning.

  Raises:
    DataError: when a file is missing or wrong; names it, its line or its key.
  """
  tables, paths = _read(path, seed)
  head = _common_head(tables, path)
  labels, num_classes = _class_numbers(tables)
  texts = [text for table in tables.values() for text in table.texts]
  longest = max(text.longest for text in texts)
  smallest_vocab = VOCAB_SIZE if paths[0].suffix == ".tsv" else 2
  warn_of_cut = functools.cache(functools.partial(_warn_of_cut, path, longest))

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    if longest > length:
      warn_of_cut(length)
    return _examples(tables[split], labels[split], length)

  return Dataset(
    name="file",
    head=head,
    vocab_size=max(smallest_vocab, *(1 + text.max_id for text in texts)),
    num_classes=num_classes,
    num_examples={split: len(tables[split]) for split in SPLITS},
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda split, _: _majority(labels["train"], labels[split]),
    fingerprint=fingerprint(
      files=[hashlib.sha256(file.read_bytes()).hexdigest() for file in paths],
    ),
    description=f"file: {head} on {', '.join(file.name for file in paths)}",
  )


def _warn_of_cut(path: str, longest: int, length: int) -> None:
  logging.warning(
    "%s has rows of %d tokens; they are cut to length %d", path, longest, length
  )


def _read(path: str | None, seed: int) -> tuple[dict[str, Table], list[Path]]:
  """The table of each split, and the files that they are from."""
  if not path:
    raise DataError(
      "file: path is needed: a .npz or .tsv file, a path with {split} in it, "
      "or a folder of train, validation and test files"
    )
  whole = Path(path).expanduser()
  if whole.is_dir():
    suffix = ".npz" if (whole / "train.npz").is_file() else ".tsv"
    paths = [whole / f"{split}{suffix}" for split in SPLITS]
  elif "{split}" in whole.name:
    paths = [
      whole.with_name(whole.name.replace("{split}", split)) for split in SPLITS
    ]
  else:
    paths = [whole]
  tables = [_read_file(file) for file in paths]
  if len(tables) == 1:
    return _split(tables[0], seed, whole), paths
  return dict(zip(SPLITS, tables, strict=True)), paths


def _read_file(path: Path) -> Table:
  if path.suffix not in READERS:
    raise DataError(f"{path}: expected a name that ends in .npz or .tsv")
  if not path.is_file():
    raise DataError(f"{path}: no such file")
  return READERS[path.suffix](path)


def _split(table: Table, seed: int, path: Path) -> dict[str, Table]:
  if len(table) < 3:
    raise DataError(
      f"{path}: {len(table)} rows can't be split in three, at least 3 are "
      "needed"
    )
  order = np.random.Generator(np.random.Philox(seed)).permutation(len(table))
  size = max(1, len(table) // EVAL_SHARE)
  parts = order[2 * size :], order[:size], order[size : 2 * size]
  return {
    split: table.take(rows) for split, rows in zip(SPLITS, parts, strict=True)
  }


def _common_head(tables: dict[str, Table], path: str | None) -> str:
  heads = {split: table.head for split, table in tables.items()}
  if len(set(heads.values())) > 1:
    found = ", ".join(f"{split}: {head}" for split, head in heads.items())
    raise DataError(f"{path}: the splits are of different kinds ({found})")
  return heads["train"]


def _class_numbers(
  tables: dict[str, Table],
) -> tuple[dict[str, np.ndarray], int]:
  """Labels of each split as numbers, and how many classes there are."""
  labels = {split: table.labels for split, table in tables.items()}
  every = np.concatenate([rows.ravel() for rows in labels.values()])
  if every.dtype.kind == "U":
    names = np.unique(every)
    numbers = {
      split: np.searchsorted(names, rows) for split, rows in labels.items()
    }
    return numbers, max(2, len(names))
  return labels, max(2, 1 + int(every.max()))


def _examples(table: Table, labels: np.ndarray, length: int) -> Examples:
  def make(i: int) -> Example:
    example = {}
    for text, suffix in zip(table.texts, ("", "2"), strict=False):
      example |= tokens(text.ids[i], length, suffix, text.mask[i])
    label = labels[i]
    if table.head == "predict":
      asked = fit(label, length, NOT_ASKED)
      label = np.where(example["mask"], asked, NOT_ASKED)
    return example | {"label": np.asarray(label, np.int32)}

  return Examples(len(table), make)


def _majority(train: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Accuracy of always answering what training has most often."""
  answer = np.bincount(train[train >= 0]).argmax()
  return {"majority": float((labels[labels >= 0] == answer).mean())}
