"""The background of a needle task: real prose, split by document."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from nema_lc_jax.data.text.corpus import Document, assign_splits, read_corpus
from nema_lc_jax.data.types import SPLITS, DataError

PYTHON = "the Python standard library's documentation"


def check_background(directory: str | None, option: str = "background") -> None:
  """Raises DataError unless it is a folder, or None."""
  if directory is None:
    return
  if (
    not isinstance(directory, str) or not Path(directory).expanduser().is_dir()
  ):
    raise DataError(f"{option}={directory!r} is not a folder of texts")


def read_background(
  directory: str | None, option: str = "background"
) -> list[Document]:
  """The documents of a folder, or those of the Python standard library.

  Each file is a document. Where the folder has a subfolder for each of train,
  validation and test, as PG-19 has, these are the splits; else files are
  assigned to splits by the hash of their path.

  Args:
    directory: a folder of texts in UTF-8, at any depth; None: the library.
    option: what errors call it.

  Raises:
    DataError: when there is no such folder, or too little text in it.
  """
  if directory is None:
    return read_corpus(Path(sysconfig.get_paths()["stdlib"]))
  check_background(directory, option)
  root = Path(directory).expanduser()
  texts = _without_copies(dict(_texts(root)), root)
  if all((root / split).is_dir() for split in SPLITS):
    splits = {n: n.split("/")[0] for n in texts if n.split("/")[0] in SPLITS}
  else:
    splits = assign_splits((name, len(text)) for name, text in texts.items())
  if lacking := [split for split in SPLITS if split not in splits.values()]:
    raise DataError(
      f"{option}={directory!r} has {len(texts)} text files, none of them for"
      f" {lacking[0]}: several files of similar size are needed, or folders"
      f" {', '.join(SPLITS)} with texts in them"
    )
  return [Document(n, n, texts[n], split) for n, split in splits.items()]


def _without_copies(texts: dict[str, bytes], root: Path) -> dict[str, bytes]:
  """The texts without exact copies, which might be in two splits."""
  first = {text: name for name, text in reversed(texts.items())}
  kept = {name: text for name, text in texts.items() if first[text] == name}
  if copies := [name for name in texts if name not in kept]:
    logging.warning(
      "%d files of %s are copies of others and left out, %s among them",
      len(copies), root, copies[0],
    )  # fmt: skip
  return kept


def _texts(root: Path) -> Iterator[tuple[str, bytes]]:
  """The files that are texts, by path in order; the others are counted."""
  skipped, other = [], []
  for path in sorted(root.rglob("*")):
    name = path.relative_to(root).as_posix()
    hidden = any(part.startswith(".") for part in name.split("/"))
    if hidden or not path.is_file():
      continue
    text = path.read_bytes()
    if b"\0" in text:
      skipped.append(name)
      continue
    try:
      text.decode()
    except UnicodeDecodeError:
      other.append(name)
    yield name, text
  if skipped:
    logging.warning(
      "%d files of %s are binary and left out, %s among them",
      len(skipped), root, skipped[0],
    )  # fmt: skip
  if other:
    logging.warning(
      "%d files of %s are not UTF-8, %s among them: where words are read, their"
      " other characters separate words",
      len(other), root, other[0],
    )  # fmt: skip
