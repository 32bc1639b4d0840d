"""The corpus of `pytext`: the Python standard library, split by module."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from nema_lc_jax.data.types import SPLITS, DataError, fingerprint

SUFFIXES = {".py", ".txt", ".rst"}
# Tests and encodings are data rather than text, and installed packages are no
# part of the library.
SKIPPED_FOLDERS = {
  "__pycache__",
  "dist-packages",
  "encodings",
  "idle_test",
  "site-packages",
  "test",
  "tests",
}
# Generated when Python was built, with that machine's paths.
SKIPPED_PREFIXES = ("config-", "_sysconfigdata")
TRAIN_SHARE, VALIDATION_SHARE = 0.7, 0.1


@dataclasses.dataclass(frozen=True)
class Document:
  """One file of the corpus."""

  name: str  # its path in the library
  group: str  # files of one group share a split
  text: bytes
  split: str


def read_corpus(root: Path) -> list[Document]:
  """The documents below `root` in order of name, without exact copies.

  Raises:
    DataError: if there are too few to split.
  """
  texts = {}
  for name in sorted(_files(root)):
    texts.setdefault((root / name).read_bytes(), name)
  names = {name: text for text, name in texts.items()}
  splits = assign_splits((group_of(name), len(names[name])) for name in names)
  if set(splits.values()) != set(SPLITS):
    raise DataError(
      f"the standard library at {root} has too few text files to split"
    )
  return [
    Document(name, group_of(name), text, splits[group_of(name)])
    for name, text in names.items()
  ]


def _files(root: Path) -> Iterator[str]:
  """Paths of the corpus' files, relative to `root`."""
  for folder, folders, files in os.walk(root):
    folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
    for file in files:
      path = Path(folder, file).relative_to(root)
      if path.suffix in SUFFIXES and not path.parts[0].startswith(
        SKIPPED_PREFIXES
      ):
        yield path.as_posix()


def group_of(name: str) -> str:
  """The group of a file: its top-level name up to an inner underscore.

  A leading underscore or `_py` is left out, since it marks a private or a
  pure-Python variant: decimal and _pydecimal are one group, and so are
  collections and _collections_abc.
  """
  top = PurePosixPath(name).parts[0].split(".")[0].lower()
  group = top.removeprefix("_py").strip("_").split("_")[0]
  return group or top


def assign_splits(sizes: Iterable[tuple[str, int]]) -> dict[str, str]:
  """The split of each group, from (group, bytes) of each file.

  Groups are ordered by the sha256 of their names. The splits have about 70, 10
  and 20 percent of all bytes, and a group belongs to the split of its middle
  byte.
  """
  totals: dict[str, int] = {}
  for group, size in sizes:
    totals[group] = totals.get(group, 0) + size
  order = sorted(totals, key=lambda g: hashlib.sha256(g.encode()).digest())
  whole, before, splits = sum(totals.values()), 0, {}
  for group in order:
    middle = (before + totals[group] / 2) / whole
    before += totals[group]
    train, validation, test = SPLITS
    if middle < TRAIN_SHARE:
      splits[group] = train
    elif middle < TRAIN_SHARE + VALIDATION_SHARE:
      splits[group] = validation
    else:
      splits[group] = test
  return splits


def corpus_fingerprint(documents: Sequence[Document]) -> str:
  """A sha256 of the names, splits and texts of all documents."""
  return fingerprint(
    documents=[
      (d.name, d.split, hashlib.sha256(d.text).hexdigest()) for d in documents
    ]
  )
