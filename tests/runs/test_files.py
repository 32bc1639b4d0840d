"""Files that are written whole or not at all."""

import concurrent.futures
import multiprocessing
import os
import re
import threading
from pathlib import Path

import pytest

import nema_lc_jax
from nema_lc_jax.errors import RunError
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


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_number_that_is_not_finite(number, tmp_path):
  with pytest.raises(RunError, match="not finite, and cannot be written"):
    files.write_json(tmp_path / "file.json", {"a": [1.0, {"b": number}]})
  assert list(tmp_path.iterdir()) == []
  content = {"a": [1.0, {"b": number}], "c": (True, None, "x")}
  assert files.finite_or_none(content) == {
    "a": [1.0, {"b": None}],
    "c": [True, None, "x"],
  }


def test_json_is_written_in_one_place():
  """And in the room of the data, which may not import it."""
  package = Path(nema_lc_jax.__file__).parent
  writers = {
    str(path.relative_to(package)): path.read_text()
    for path in package.rglob("*.py")
    if re.search(r"json\.dumps?\(", path.read_text())
  }
  assert set(writers) == {"runs/files.py", "data/types.py"}
  assert all("allow_nan=False" in source for source in writers.values())
