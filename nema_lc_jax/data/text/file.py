"""Your own data from a file: `.npz` arrays, `.tsv` texts, `.jsonl` questions.

npz: `inputs` [n, L] of token ids; `labels` [n], or [n, L] with one per token,
negative where there is no question (head causal_lm); optional `inputs2` (head
match), `mask` and `mask2`. Without a mask, token 0 is padding.

tsv: label and text, or label, text1 and text2, in UTF-8. Tokens are bytes.
Labels are any strings, and are numbered in sorted order over all splits.

jsonl: each line is a JSON object with the strings `document`, `question` and
`answer`. A tsv with these three names as its first line, in any order, is read
the same way. Tokens are bytes, and answers are labels. The document is at the
beginning of the example, and its end is cut if there is no room for all of it.
Then come padding, a line feed and the question, which is never cut and ends
with the example's last token, so that it is in the last chunk.

`path` is one of three things: a single file, which the seed splits 80/10/10
(questions about one document stay together); a path with `{split}` in it; or a
folder of train, validation and test files of one kind.
"""

import functools
from pathlib import Path

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.byte_text import VOCAB_SIZE, fit, tokens
from nema_lc_jax.data.text.file_readers import READERS, Table
from nema_lc_jax.data.types import (
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
  checksum,
  fingerprint,
  require_split,
  shuffled,
)

NOT_ASKED = -1
EVAL_SHARE = 10  # one row in so many is for validation, and one for test


def load(*, seed: int = 0, path: str | None = None) -> Dataset:
  """The data set at `path`; `seed` splits a single file.

  Rows are cut or padded to the requested length. Numbers as labels are kept, so
  that the classes are 0..max(label).

  Raises:
    DataError: if a file is missing or malformed; names the file, and the line
      or the key.
  """
  tables, paths = _read(path, seed)
  head = _common_head(tables, path)
  labels, num_classes, names = _class_numbers(tables)
  texts = [text for table in tables.values() for text in table.texts]
  longest = max(table.longest for table in tables.values())
  byte_level = paths[0].suffix != ".npz"
  smallest_vocab = VOCAB_SIZE if byte_level else 2
  _warn_of_unseen(path, tables)
  warn_of_cut = functools.cache(functools.partial(_warn_of_cut, path, longest))

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    _require_room(path, tables, length)
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
      files=[checksum(file) for file in paths],
    ),
    description=f"file: {head} on {', '.join(file.name for file in paths)}",
    label_names=names,
    byte_level=byte_level,
  )


def _warn_of_cut(path: str, longest: int, length: int) -> None:
  logging.warning(
    "%s has rows of %d tokens; they are cut to length %d", path, longest, length
  )


def _warn_of_unseen(path: str, tables: dict[str, Table]) -> None:
  """Logs how many labels do not occur in training, and so cannot be learned."""
  known = tables["train"].labels
  if known.dtype.kind != "U":
    return
  for split in ("validation", "test"):
    unseen = ~np.isin(tables[split].labels, known)
    if unseen.any():
      logging.warning(
        "%s: %d of %d labels of %s are none of training's, such as %r; an"
        " answer to them can only be wrong",
        path, unseen.sum(), len(unseen), split,
        str(tables[split].labels[unseen][0]),
      )  # fmt: skip


def _require_room(path: str, tables: dict[str, Table], length: int) -> None:
  """Raises DataError unless each question fits with a byte of its document."""
  asked = [table.questions for table in tables.values() if table.questions]
  longest = max((questions.longest for questions in asked), default=0)
  if longest >= length:
    raise DataError(
      f"{path}: a question has {longest} bytes with its line feed, and is not"
      f" cut; length must be at least {longest + 1}, got {length}"
    )


def _read(path: str | None, seed: int) -> tuple[dict[str, Table], list[Path]]:
  """The table of each split, and the files that were read."""
  if not path:
    raise DataError(
      "file: path is needed: a .npz, .tsv or .jsonl file, a path with {split}"
      " in it, "
      "or a folder of train, validation and test files"
    )
  whole = Path(path).expanduser()
  if whole.is_dir():
    found = [s for s in READERS if (whole / f"train{s}").is_file()]
    if len(found) > 1:
      raise DataError(
        f"{whole} has train files of several kinds: {', '.join(found)}; choose"
        f" one by {whole / '{split}'}{found[0]} or the like"
      )
    suffix = found[0] if found else ".tsv"
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
    raise DataError(
      f"{path}: expected a name that ends in .npz, .tsv or .jsonl"
    )
  if not path.is_file():
    raise DataError(f"{path}: no such file")
  return READERS[path.suffix](path)


def _split(table: Table, seed: int, path: Path) -> dict[str, Table]:
  groups = table.groups
  count = int(groups.max()) + 1
  if count < 3:
    kind = "documents" if table.questions else "rows"
    raise DataError(
      f"{path}: {count} {kind} can't be split in three, at least 3 are needed"
    )
  order = shuffled(count, seed)
  size = max(1, count // EVAL_SHARE)
  place = np.argsort(order)[groups]
  rows = np.argsort(place, kind="stable")
  ends = np.searchsorted(place[rows], (size, 2 * size))
  validation, test, train = map(table.take, np.split(rows, ends))
  return {"train": train, "validation": validation, "test": test}


def _common_head(tables: dict[str, Table], path: str | None) -> str:
  heads = {
    split: table.head + " questions" * bool(table.questions)
    for split, table in tables.items()
  }
  if len(set(heads.values())) > 1:
    found = ", ".join(f"{split}: {head}" for split, head in heads.items())
    raise DataError(f"{path}: the splits are of different kinds ({found})")
  return tables["train"].head


def _class_numbers(
  tables: dict[str, Table],
) -> tuple[dict[str, np.ndarray], int, tuple[str, ...]]:
  """Labels of each split as numbers; the count and the names of classes."""
  labels = {split: table.labels for split, table in tables.items()}
  every = np.concatenate([rows.ravel() for rows in labels.values()])
  if every.dtype.kind == "U":
    names = np.unique(every)
    numbers = {
      split: np.searchsorted(names, rows) for split, rows in labels.items()
    }
    return numbers, max(2, len(names)), tuple(map(str, names))
  return labels, max(2, 1 + int(every.max())), ()


def _examples(table: Table, labels: np.ndarray, length: int) -> Examples:
  def make(i: int) -> Example:
    example = {}
    for text, suffix in zip(table.texts, ("", "2"), strict=False):
      example |= tokens(text.ids[i], length, suffix, text.mask[i])
    if table.questions:
      question = table.questions.ids[i]
      # The end of the document is cut where the question needs the room.
      start = length - len(question)
      last = min(len(table.texts[0].ids[i]), start)
      example["inputs"][last:start], example["inputs"][start:] = 0, question
      example["mask"] = example["inputs"] > 0
    label = labels[i]
    if table.head == "causal_lm":
      asked = fit(label, length, NOT_ASKED)
      label = np.where(example["mask"], asked, NOT_ASKED)
    return example | {"label": np.asarray(label, np.int32)}

  return Examples(len(table), make)


def _majority(train: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Accuracy of always giving the most frequent answer of training."""
  answer = np.bincount(train[train >= 0]).argmax()
  return {"majority": float((labels[labels >= 0] == answer).mean())}
