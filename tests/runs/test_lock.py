"""One process at a time writes to a folder: real processes, and real kills."""

import contextlib
import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import LOCK_FILE, contents
from nema_lc_jax.runs.lock import locked
from nema_lc_jax.sweep import __main__ as sweep
from nema_lc_jax.training import train
from tests.helpers import run, small_config

ROOT = Path(__file__).parents[2]
# Locks a folder, says who it is, and ends when its input does.
OWNER = """
import os, sys
from pathlib import Path
from nema_lc_jax.runs.lock import locked
with locked(Path(sys.argv[1])):
  print(os.getpid(), flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def own():
  """Starts a process that locks a folder; returns it and the owner's number.

  With a wrapper, the process is a shell, and the owner is its child.
  """
  started = []

  def start(folder, *, wrapped=False):
    command = [sys.executable, "-c", OWNER, str(folder)]
    if wrapped:
      command = ["sh", "-c", '"$@"; true', "sh", *command]
    process = subprocess.Popen(
      command,
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    started.append(process)
    return process, int(process.stdout.readline())

  yield start
  for process in started:
    process.communicate(timeout=60)


def refusal(folder):
  with pytest.raises(ConfigError) as error, locked(folder):
    pass
  assert "\n" not in str(error.value)
  return str(error.value)


def test_who_comes_second_is_told_who_came_first(own, tmp_path):
  folder = tmp_path / "run"
  process, number = own(folder)
  assert process.pid == number
  assert re.fullmatch(
    rf"{folder} is in use by process {number} on {socket.gethostname()}"
    r" \(since \d{4}-\d\d-\d\d \d\d:\d\d\): wait for it, or stop it there by"
    rf" kill {number}\.",
    refusal(folder),
  )
  assert process.poll() is None
  process.communicate(timeout=60)
  with locked(folder):
    assert refusal(folder).startswith(f"{folder} is in use by process ")
  assert list(folder.iterdir()) == []


def test_a_run_that_is_being_trained_is_refused_also_to_force(own, tmp_path):
  config = small_config()
  run(config, tmp_path)
  times = lambda: {
    path: path.stat().st_mtime_ns
    for path in tmp_path.rglob("*")
    if path.name != LOCK_FILE
  }
  before = times()
  _, number = own(tmp_path)
  for force in (False, True):
    with pytest.raises(ConfigError, match=f"in use by process {number} on"):
      train.run(config, str(tmp_path), force=force)
  assert times() == before


def test_what_a_killed_process_leaves_is_taken_over_silently(
  own, tmp_path, caplog
):
  process, _ = own(tmp_path)
  process.kill()
  assert process.wait(timeout=60) == -signal.SIGKILL
  assert (tmp_path / LOCK_FILE).exists()
  assert contents(tmp_path) == set()
  run(small_config(), tmp_path)
  assert caplog.text == ""
  assert not (tmp_path / LOCK_FILE).exists()


def test_an_orphan_still_owns_its_folder(own, tmp_path):
  wrapper, number = own(tmp_path, wrapped=True)
  assert wrapper.pid != number
  wrapper.kill()
  wrapper.wait(timeout=60)
  assert f"in use by process {number} on" in refusal(tmp_path)
  os.kill(number, signal.SIGKILL)
  wrapper.stdout.read()  # Its end, and that of whoever shares it.
  with locked(tmp_path):
    pass


def test_a_lock_that_does_not_say_whose_it_is_is_one(tmp_path):
  """Its owner was about to write that."""
  with (tmp_path / LOCK_FILE).open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    assert refusal(tmp_path) == (
      f"{tmp_path} is in use by another process: wait for it."
    )


def test_who_lost_the_file_does_not_remove_the_next_one_s(tmp_path):
  """As when a folder in use is deleted, and made anew."""
  first = contextlib.ExitStack()
  first.enter_context(locked(tmp_path))
  (tmp_path / LOCK_FILE).unlink()
  with locked(tmp_path):
    first.close()
    assert "in use by process" in refusal(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_that_is_said_once(
  tmp_path, caplog, monkeypatch
):
  def flock(*unused):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)
  with locked(tmp_path):
    pass
  (record,) = caplog.records
  assert record.getMessage() == (
    f"{tmp_path} cannot be locked (No locks available): start no second"
    " process that writes to it"
  )


def test_two_equal_sweeps_at_once_are_refused(
  own, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(ROOT)
  _, number = own(tmp_path)
  arguments = "--config=configs/lifecycle_lc.py:rebind", f"--out={tmp_path}"
  assert sweep.main(arguments) == 2
  error = capsys.readouterr().err
  assert f"in use by process {number} on" in error
  assert error.count("\n") == 1
  assert contents(tmp_path) == set()
