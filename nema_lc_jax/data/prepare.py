"""Prepares records once, by tensorflow-datasets, in array_record files.

A folder gets its final name by one rename, after everything in it is written.
So a folder that is read is always complete, even if a preparation was killed.
Of two processes that prepare the same data, the later one discards its copy.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from tqdm.auto import tqdm

from nema_lc_jax.data.types import DataError, checksum, fingerprint

CACHE_VARIABLE = "NEMA_LC_JAX_CACHE"
ABANDONED_AFTER = 24 * 3600  # seconds
SETTLED_AFTER = 3  # seconds; file systems may round times to 2 s
# The message of tensorflow-datasets when files, not records, are the problem.
UNFINISHED = "Failed to finalize writing"

Record = dict[str, Any]
Generate = Callable[[], Iterator[Record]]


def cache_directory(directory: str | os.PathLike | None = None) -> Path:
  """Where prepared data lives: `directory`, the environment's, or ~/.cache."""
  directory = directory or os.environ.get(CACHE_VARIABLE)
  return Path(directory or "~/.cache/nema_lc_jax").expanduser().absolute()


def contents(paths: Sequence[Path], cache: Path) -> str:
  """A sha256 of the contents of all files, in this order.

  It is stored in `cache`, so that gigabytes are not read at every start, and is
  valid until the size or a time of a file changes. It is not stored if a file
  changed in the last SETTLED_AFTER seconds: a further change might leave all
  times equal.
  """
  stats = _stats(paths)
  note = cache / f"contents-{fingerprint(files=stats)[:32]}"
  with contextlib.suppress(OSError):
    if len(text := note.read_text()) == 64:  # A shorter note was cut off.
      return text
  read = [checksum(path) for path in _progress(paths, "reading files")]
  found = fingerprint(contents=read)
  settled = time.time_ns() - 1e9 * SETTLED_AFTER
  if all(max(times) < settled for _, _, *times in stats):
    if stats != _stats(paths):
      raise DataError("files changed while they were read; run it again")
    _remember(note, found)
  return found


def _stats(paths: Sequence[Path]) -> list[tuple[str, int, int, int]]:
  """Path, size, and times of modification and change of each file."""
  return [
    (str(path.absolute()), s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    for path, s in ((path, path.stat()) for path in paths)
  ]


def _remember(note: Path, text: str) -> None:
  try:
    note.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
      "w", dir=note.parent, prefix=f".{note.name}-", delete=False
    ) as file:
      file.write(text)
    os.replace(file.name, note)
  except OSError as error:
    logging.warning("files are read again at every start: %s", error)


def prepare(
  name: str,
  *,
  fingerprint: str,
  features: Mapping[str, Any],
  splits: Mapping[str, Generate],
  cache: Path,
) -> dict[str, Sequence[Record]]:
  """The records of each split, as random-access sources in generated order.

  Args:
    name: of the data set; the first part of the folder's name.
    fingerprint: sha256 of the data; the last part of the folder's name, so that
      other data are prepared anew.
    features: tensorflow-datasets features of a record.
    splits: for each split, the function that generates its records.
    cache: the folder that holds prepared folders.

  Raises:
    DataError: if the cache can't be written or is damaged, or raised by a
      generator.
  """
  target = cache / f"{name}-{fingerprint[:16]}"
  if not target.is_dir():
    try:
      cache.mkdir(parents=True, exist_ok=True)
      _prepare_into(target, name, features, splits)
    except (OSError, RuntimeError) as error:
      # array_record reports a full disk as a RuntimeError.
      if isinstance(error, RuntimeError) and UNFINISHED not in str(error):
        raise
      reason = " ".join(str(error).split())
      raise DataError(
        f"{name}: cannot prepare {target}: {reason}; another folder can be "
        f"named by {CACHE_VARIABLE}"
      ) from error
  try:
    builder = tfds.builder_from_directory(target)
    sources = {split: builder.as_data_source(split) for split in splits}
    for source in sources.values():
      _ = [source[i] for i in (0, len(source) - 1) if len(source)]
    return sources
  except Exception as error:  # A damaged file may raise almost anything.
    if isinstance(error, MemoryError) or getattr(error, "errno", None):
      raise  # An error of the machine, not of the folder's contents.
    reason = " ".join(str(error).split())
    raise DataError(
      f"{name}: {target} is damaged ({reason}); remove that folder, and it is"
      " prepared anew"
    ) from error


def _prepare_into(
  target: Path,
  name: str,
  features: Mapping[str, Any],
  splits: Mapping[str, Generate],
) -> None:
  _remove_abandoned(target)
  logging.info("Preparing %s in %s", name, target)
  others = {path.name for path in target.parent.glob(f"{name}-*")}
  if others := sorted(others - {target.name}):
    logging.warning(
      "%s is prepared anew: %s in %s is of other files or options",
      name,
      ", ".join(others),
      target.parent,
    )
  scratch = tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)
  # `_progress` also works where the output is not a terminal.
  tfds.disable_progress_bar()
  try:
    builder = _Builder(name, features, splits, scratch)
    # It prints that sizes are unknown.
    with contextlib.redirect_stdout(io.StringIO()):
      builder.download_and_prepare(file_format="array_record")
    try:
      os.rename(builder.data_dir, target)
    except OSError:
      if not target.is_dir():  # Else another process was faster.
        raise
  finally:
    tfds.enable_progress_bar()
    shutil.rmtree(scratch, ignore_errors=True)


def _progress(items: Iterable, title: str) -> Iterator:
  """The items, with a progress bar after one second.

  The bar is updated every 0.1 s on a terminal, else every 30 s.
  """
  interval = 0.1 if sys.stderr.isatty() else 30.0
  return tqdm(
    items,
    title,
    unit="",
    delay=1,
    mininterval=interval,
    maxinterval=max(10.0, interval),
  )


def _remove_abandoned(target: Path) -> None:
  """Removes folders that killed preparations of `target` left."""
  for scratch in target.parent.glob(f".{target.name}-*"):
    with contextlib.suppress(FileNotFoundError):  # Another process was faster.
      if time.time() - scratch.stat().st_mtime > ABANDONED_AFTER:
        shutil.rmtree(scratch, ignore_errors=True)


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A tensorflow-datasets builder of the given records."""

  VERSION = tfds.core.Version("1.0.0")
  # It is needed only to find checksums of downloads. There are none here, and
  # the search fails without importlib_resources (tensorflow-datasets 4.9.10).
  code_path = None

  def __init__(
    self,
    name: str,
    features: Mapping[str, Any],
    splits: Mapping[str, Generate],
    directory: str,
  ):
    self.name = name
    self._features = features
    self._splits = splits
    super().__init__(data_dir=directory)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(self._features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    del dl_manager
    return {split: self._generate_examples(split) for split in self._splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, Record]]:
    records = self._splits[split]()
    yield from enumerate(_progress(records, f"{self.name} {split}"))
