"""Files that are written whole or not at all."""

import concurrent.futures
import multiprocessing
import os
import threading

import pytest

from nema_lc_jax.runs import files

SIZE = 200_000


def write_often(path, letter):
  for _ in range(50):
    files.write_atomically(path, letter * SIZE)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_writers_of_one_file_never_collide_or_tear_it(tmp_path, kind):
  path, done = tmp_path / "file", threading.Event()
  files.write_atomically(path, "a" * SIZE)
  executor = concurrent.futures.ThreadPoolExecutor(4)
  if kind == "processes":
    # Not forked: this process has threads of JAX.
    executor = concurrent.futures.ProcessPoolExecutor(
      3, mp_context=multiprocessing.get_context("spawn")
    )
  torn = []

  def read_often():
    while not done.is_set():
      text = path.read_text()
      if text != text[:1] * SIZE:
        torn.append(text)

  reader = threading.Thread(target=read_often)
  reader.start()
  with executor:
    jobs = [executor.submit(write_often, path, letter) for letter in "abc"]
    errors = [job.exception() for job in jobs]
  done.set()
  reader.join()
  assert errors == [None] * 3
  assert torn == []
  assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
  path = tmp_path / "file"
  files.write_atomically(path, b"old")

  def full(number):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="No space left"):
    files.write_atomically(path, b"new")
  assert path.read_bytes() == b"old"
  assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_has_the_rights_of_any_other(tmp_path):
  (tmp_path / "other").write_text("")
  files.write_json(tmp_path / "file.json", {"a": "ä"})
  modes = [(tmp_path / n).stat().st_mode for n in ("other", "file.json")]
  assert modes[0] == modes[1]
  assert (tmp_path / "file.json").read_text() == '{\n  "a": "\\u00e4"\n}\n'
