"""A lock on a folder, so that one process at a time writes to it."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from absl import logging

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import LOCK_FILE


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
  """Holds the lock on a folder, which is created, within the block.

  The kernel releases the lock when its process dies. The file that a killed
  process leaves behind is therefore no obstacle.

  Raises:
    ConfigError: in one line that names the owner, if another process holds it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / LOCK_FILE
  with _acquire(path) as file:
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M")
    print(os.getpid(), socket.gethostname(), since, file=file, flush=True)
    try:
      yield
    finally:
      if _is_at(path, file):
        path.unlink()


def _acquire(path: Path) -> TextIO:
  """Opens the file and locks it."""
  while True:
    file = path.open("a+", encoding="utf-8")
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      with file:
        file.seek(0)
        raise ConfigError(_in_use(path.parent, file.read())) from None
    except OSError as error:  # Some network file systems have no locks.
      logging.warning(
        "%s cannot be locked (%s): start no second process that writes to it",
        path.parent,
        error.strerror,
      )
      return file
    if _is_at(path, file):
      return file
    file.close()  # Its last owner has just removed it.


def _is_at(path: Path, file: TextIO) -> bool:
  """Whether the path still leads to this open file."""
  try:
    return os.path.samestat(path.stat(), os.fstat(file.fileno()))
  except FileNotFoundError:
    return False


def _in_use(folder: Path, owner: str) -> str:
  pid, _, place = owner.strip().partition(" ")
  host, _, since = place.partition(" ")
  if not since:  # The owner has not written who it is yet.
    return f"{folder} is in use by another process: wait for it."
  return (
    f"{folder} is in use by process {pid} on {host} (since {since}): wait for"
    f" it, or stop it there by kill {pid}."
  )
