"""Coverage-guided fuzzing of every loader, for as long as one likes.

pip install atheris  # Linux, CPython 3.11 to 3.13
python -m tests.fuzz SOURCE [-max_total_time=60] [-max_len=4096] [CORPUS]
  CORPUS is a folder to grow; what fails is left here as crash-*.
  SOURCE is one of tests/data/test_fuzz.py, or `stream`. One of its files has
  the bytes that the fuzzer makes up; they are read, or refused in one line.
"""

import contextlib
import sys
import tempfile
from pathlib import Path
from unittest import mock

import atheris
from absl import logging

with atheris.instrument_imports(include=["nema_lc_jax"]):
  from nema_lc_jax.data.lra import cifar10
  from nema_lc_jax.errors import ConfigError
  from nema_lc_jax.stream import files
  from tests.data import test_fuzz
  from tests.data.lra import test_cifar10
  from tests.stream import test_files

STREAM = "stream"


class Place:
  """A folder of good files, and one of them at a time with other bytes."""

  def __init__(self, source: str, folder: Path):
    """Writes the good files of `source` into `folder`."""
    self.source, self.folder = source, folder
    if source == STREAM:
      files.save(folder / "state", test_files.a_state())
    else:
      test_fuzz.SOURCES[source][0](folder)
    self.good = {
      path: path.read_bytes()
      for path in sorted(folder.rglob("*"))
      if path.is_file()
    }

  def read(self, content: bytes) -> None:
    """Reads all files, of which one holds `content` after its first byte."""
    path = list(self.good)[(content[0] if content else 0) % len(self.good)]
    path.write_bytes(content[1:])
    if self.source == STREAM:
      message = _load_stream(path)
    else:
      message = test_fuzz.outcome(self.source, self.folder)
    path.write_bytes(self.good[path])
    assert message
    assert "\n" not in message


def _load_stream(path: Path) -> str:
  """As `test_fuzz.outcome`."""
  try:
    files.load(path, test_files.STREAM.init())
  except ConfigError as error:
    return str(error)
  return "fine"


def main():
  """Fuzzes one source until the fuzzer's own flags end it."""
  known = (*test_fuzz.SOURCES, STREAM)
  if len(sys.argv) < 2 or sys.argv[1] not in known:
    sys.exit(f"{__doc__}\nsources: {', '.join(known)}")
  with contextlib.ExitStack() as stack:
    enter = stack.enter_context
    folder, seeds = (Path(enter(tempfile.TemporaryDirectory())) for _ in "ab")
    enter(mock.patch.object(cifar10, "IMAGES_PER_FILE", test_cifar10.PER_FILE))
    place = Place(sys.argv.pop(1), folder)
    for number, content in enumerate(place.good.values()):
      (seeds / str(number)).write_bytes(bytes([number % 256]) + content)
    logging.set_verbosity(logging.ERROR)
    atheris.Setup([*sys.argv, str(seeds)], place.read)
    atheris.Fuzz()


if __name__ == "__main__":
  main()
