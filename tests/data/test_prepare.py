import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from nema_lc_jax.data import prepare as module
from nema_lc_jax.data.prepare import (
  CACHE_VARIABLE,
  cache_directory,
  contents,
  prepare,
)
from nema_lc_jax.data.types import DataError

FEATURES = {"number": np.int64, "text": tfds.features.Text()}
# Bytes that text handling likes to lose.
TEXTS = [b"a\0", b"\0", b"", b"\xff\xfe", b"caf\xc3\xa9\r\n"] * 3


def records():
  for number, text in enumerate(TEXTS):
    yield {"number": number, "text": text}


def prepared(cache, generate=records, fingerprint="0" * 64):
  sources = prepare(
    "numbers",
    fingerprint=fingerprint,
    features=FEATURES,
    splits={"train": generate, "test": generate},
    cache=cache,
  )
  return [(int(r["number"]), r["text"]) for r in sources["train"]]


def visible(folder):
  return [p.name for p in folder.iterdir() if not p.name.startswith(".")]


def fail():
  raise RuntimeError("must not be generated again")
  yield


def test_records_come_back_in_order_and_in_every_byte(tmp_path):
  assert prepared(tmp_path) == list(enumerate(TEXTS))


def test_preparing_is_not_repeated(tmp_path):
  first = prepared(tmp_path)
  assert prepared(tmp_path, fail) == first
  with pytest.raises(RuntimeError):  # other data, another folder
    prepared(tmp_path, fail, fingerprint="1" * 64)
  assert os.listdir(tmp_path) == ["numbers-0000000000000000"]


def test_a_damaged_folder_is_named(tmp_path):
  prepared(tmp_path)
  folder = tmp_path / "numbers-0000000000000000"
  (records,) = folder.glob("*-train.array_record-*")
  records.write_bytes(records.read_bytes()[:-20])
  with pytest.raises(DataError, match=r"numbers-0+ is damaged .*; remove that"):
    prepared(tmp_path)
  (folder / "dataset_info.json").unlink()
  with pytest.raises(DataError, match=r"numbers-0+ is damaged .*; remove that"):
    prepared(tmp_path)


def test_contents_are_read_again_only_when_files_change(tmp_path, monkeypatch):
  paths = [tmp_path / name for name in ("a", "b")]
  for path in paths:
    path.write_bytes(path.name.encode())
  read, cache = [], tmp_path / "cache"
  real = module.checksum
  monkeypatch.setattr(
    module, "checksum", lambda path: read.append(path) or real(path)
  )

  def reads(paths, cache=cache):
    read.clear()
    return contents(paths, cache), len(read)

  # So young that a change might not show in their times.
  first, count = reads(paths)
  assert (count, reads(paths)) == (2, (first, 2))
  monkeypatch.setattr(module, "SETTLED_AFTER", -3600)
  assert (reads(paths), reads(paths)) == ((first, 2), (first, 0))
  assert reads(paths[::-1])[0] != first  # the order counts
  paths[0].write_bytes(b"c")  # the same size
  os.utime(paths[0], (1, 1))
  assert reads(paths)[0] != first
  # What files are called, and where they lie, does not count.
  paths[0].write_bytes(b"a")
  moved = [paths[0].rename(tmp_path / "moved"), paths[1]]
  assert reads(moved) == (first, 2)
  # What was remembered and is damaged is found anew.
  for note in cache.glob("contents-*"):
    note.write_text("")
  assert (reads(moved), reads(moved)) == ((first, 2), (first, 0))
  assert not list(cache.glob(".*"))
  # Without a place to remember it is read every time.
  (tmp_path / "file").touch()
  for _ in range(2):
    assert reads(moved, tmp_path / "file") == (first, 2)


def test_a_failing_generator_leaves_nothing(tmp_path):
  def broken():
    yield from list(records())[:2]
    raise DataError("line 3 is wrong")

  with pytest.raises(DataError, match=r"^line 3 is wrong$"):
    prepared(tmp_path, broken)
  assert not os.listdir(tmp_path)


@pytest.mark.parametrize("after", [0, 3, 20])
def test_a_full_disk_is_one_line_and_leaves_nothing(
  tmp_path, error_of, monkeypatch, after
):
  # What array_record raises on a full disk, and what files of Python do; some
  # records and one split are written by then.
  for error in (
    RuntimeError("write() failed: No space left on device;\nat byte 4096"),
    OSError(errno.ENOSPC, "No space left on device"),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(
        array_record_module, "ArrayRecordWriter", full(error, after)
      )
      message = error_of(prepared, tmp_path)
    assert "cannot prepare" in message
    assert "No space left on device" in message
    assert CACHE_VARIABLE in message
    assert not os.listdir(tmp_path)
  assert prepared(tmp_path) == list(enumerate(TEXTS))


def full(error, after):
  """A class of writers that together write `after` records, then raise."""
  real, left = array_record_module.ArrayRecordWriter, [after]

  class Writer:
    def __init__(self, *arguments):
      self.real = real(*arguments)

    def write(self, record):
      left[0] -= 1
      if left[0] < 0:
        raise error
      self.real.write(record)

    def close(self):
      self.real.close()

  return Writer


def test_a_killed_preparation_is_never_used(tmp_path):
  code = (
    "import os, sys; sys.path.insert(0, sys.argv[1])\n"
    "import test_prepare as t; from pathlib import Path\n"
    "def killed():\n"
    "  yield from list(t.records())[:2]\n"
    "  os._exit(9)\n"
    "t.prepared(Path(sys.argv[2]), killed)\n"
  )
  run = subprocess.run(
    [sys.executable, "-c", code, os.path.dirname(__file__), tmp_path],
    check=False,
  )
  assert run.returncode == 9
  assert not visible(tmp_path)
  (left,) = tmp_path.iterdir()
  assert prepared(tmp_path) == list(enumerate(TEXTS))
  assert left.exists()  # for all we know, another process is at work there
  os.utime(left, (0, 0))
  (tmp_path / "numbers-0000000000000000").rename(tmp_path / "away")
  prepared(tmp_path)
  assert not left.exists()  # abandoned long ago


def test_two_preparations_at_once_agree(tmp_path):
  def overtaken():
    yield from records()
    prepared(tmp_path)  # another process finishes first

  assert prepared(tmp_path, overtaken) == list(enumerate(TEXTS))
  assert os.listdir(tmp_path) == ["numbers-0000000000000000"]


def test_an_unusable_cache_is_named(tmp_path, error_of):
  (tmp_path / "file").write_text("")
  message = error_of(prepared, tmp_path / "file" / "cache")
  assert "cannot prepare" in message
  assert CACHE_VARIABLE in message


def test_the_cache_is_option_then_environment_then_home(monkeypatch, tmp_path):
  monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "environment"))
  assert cache_directory(tmp_path / "option") == tmp_path / "option"
  assert cache_directory() == tmp_path / "environment"
  monkeypatch.delenv(CACHE_VARIABLE)
  monkeypatch.setenv("HOME", str(tmp_path))
  assert cache_directory() == tmp_path / ".cache" / "nema_lc_jax"
