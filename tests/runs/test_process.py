"""A process that runs a command: its cache of programs, and Ctrl-C."""

import os
import platform
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nema_lc_jax.data import prepare
from nema_lc_jax.runs import process
from nema_lc_jax.runs.process import INTERRUPTED, JAX_VARIABLE
from nema_lc_jax.runs.summary import read_summary

ROOT = Path(__file__).parents[2]


# A shell that runs the tests in the background has Ctrl-C ignored.
HANDLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def start(*arguments, before=(), **environment):
  """Python in a process of its own; `before` is first in its path."""
  path = os.pathsep.join(map(str, (*before, ROOT)))
  return subprocess.Popen(
    [sys.executable, "-c", HANDLED, *map(str, arguments)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {"PYTHONPATH": path} | environment,
  )


# Ctrl-C.

# Of the moments of an import: each says that it is there, and waits.
MOMENTS = {
  "as it is": "wait()",
  "as another error": """
try:
  wait()
except KeyboardInterrupt:
  raise RuntimeError("the import has failed")
""",
  "in a callback": """
class Callback:
  def __del__(self):
    wait()
Callback()
wait()
""",
  "twice": """
try:
  wait()
finally:
  wait()
""",
}
WAIT = """
import time
def wait():
  print("here", flush=True)
  time.sleep(600)
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_import_ends_with_one_line(moment, tmp_path):
  """Of evaluate, which imports jax before it reads its flags."""
  (tmp_path / "jax.py").write_text(WAIT + MOMENTS[moment])
  started = start(
    "-m", "nema_lc_jax.evaluate", "--workdir=x", before=[tmp_path]
  )
  for _ in range(2 if moment == "twice" else 1):
    assert started.stdout.readline() == "here\n"
    started.send_signal(signal.SIGINT)
  _, errors = started.communicate(timeout=60)
  assert errors == f"{INTERRUPTED}\n"
  assert started.returncode == 130


# A config whose run says what it has done, and waits after its first step for
# as many signals as WAIT_FOR says.
CONFIG = """
import os, signal, time
from nema_lc_jax.training import signals, train
from nema_lc_jax.training.loop import TrainLoop
from tests.helpers import small_config

log, note, noted = TrainLoop._log, signals.Stopper._note, []

def say(what):
  print(what, flush=True)

def counted(self, *args):
  noted.append(args)
  say("noted")
  note(self, *args)

def wait(self, *args):
  log(self, *args)
  say("stepped")
  while len(noted) < int(os.environ["WAIT_FOR"]):
    time.sleep(0.01)

def tested(loop):
  say("tested")
  time.sleep(600)

def get_config():
  signals.Stopper._note = counted
  TrainLoop._log = wait
  if os.environ["WAIT_FOR"] == "0":
    train._finish = tested
  c = small_config()
  c.train.log_every = 1
  return c
"""


def until(started, word):
  for line in started.stdout:
    if line == f"{word}\n":
      return
  pytest.fail(started.stderr.read())


@pytest.mark.parametrize(
  ("signals", "code", "last"),
  [
    (1, 0, r"SIGINT: stopped after step \d, saved; the same command resumes\."),
    (2, 130, re.escape(INTERRUPTED)),
    (0, 130, re.escape(INTERRUPTED)),  # but one after the training
  ],
)
def test_an_interrupted_run_says_how_to_go_on(signals, code, last, tmp_path):
  (tmp_path / "config.py").write_text(CONFIG)
  workdir = tmp_path / "run"
  started = start(
    "-m",
    "nema_lc_jax.main",
    f"--config={tmp_path / 'config.py'}",
    f"--workdir={workdir}",
    WAIT_FOR=str(signals),
  )
  for word in ("stepped", "noted")[:signals] or ("tested",):
    until(started, word)
    started.send_signal(signal.SIGINT)
  _, errors = started.communicate(timeout=120)
  assert re.fullmatch(last, errors.splitlines()[-1])
  assert "Traceback" not in errors
  assert started.returncode == code
  saved = (workdir / "checkpoints" / "latest").glob("*.sha256.json")
  assert bool([*saved]) == (signals != 2)


# Programs.


@pytest.fixture
def unset(monkeypatch, tmp_path):
  """Nothing says where programs are kept, but where prepared data are."""
  monkeypatch.setenv(JAX_VARIABLE, "")
  monkeypatch.delenv(JAX_VARIABLE)
  # The tests' own are several virtual devices.
  monkeypatch.delenv("XLA_FLAGS")
  monkeypatch.setenv(prepare.CACHE_VARIABLE, str(tmp_path / "cache"))
  return tmp_path / "cache"


def kept():
  process.keep_programs()
  return Path(os.environ[JAX_VARIABLE])


def test_programs_are_kept_beside_the_data_for_this_user_and_machine(
  unset, monkeypatch
):
  folder = kept()
  assert folder.parents[1] == unset == prepare.cache_directory()
  assert folder.name.startswith(process.machine())
  assert stat.S_IMODE(folder.stat().st_mode) == 0o700
  monkeypatch.delenv(JAX_VARIABLE)
  monkeypatch.delenv(prepare.CACHE_VARIABLE)
  monkeypatch.setenv("HOME", str(unset))
  assert kept().parents[1] == prepare.cache_directory()


def test_what_the_environment_says_of_programs_holds(unset, monkeypatch):
  for chosen in ("/somewhere", ""):
    monkeypatch.setenv(JAX_VARIABLE, chosen)
    process.keep_programs()
    assert os.environ[JAX_VARIABLE] == chosen
  assert not unset.exists()


@pytest.mark.parametrize(
  ("name", "value", "keeps"),
  [
    ("XLA_FLAGS", "--xla_force_host_platform_device_count=2", False),
    ("XLA_FLAGS", "--xla_force_host_platform_device_count=1", True),
    ("XLA_FLAGS", "--xla_dump_to=x", True),
    ("JAX_NUM_CPU_DEVICES", "2", False),
    ("JAX_NUM_CPU_DEVICES", "1", True),
  ],
)
def test_several_virtual_devices_keep_no_programs(
  name, value, keeps, unset, monkeypatch
):
  monkeypatch.setenv(name, value)
  process.keep_programs()
  assert (JAX_VARIABLE in os.environ) == keeps


def test_where_no_programs_can_be_kept_that_is_one_line(unset, capsys):
  unset.write_text("in the way")
  process.keep_programs()
  assert JAX_VARIABLE not in os.environ
  error = capsys.readouterr().err
  assert error.startswith("warning: programs are compiled anew at every start:")
  assert error.count("\n") == 1


def test_a_folder_of_another_user_is_not_used(unset, monkeypatch, capsys):
  kept()
  monkeypatch.delenv(JAX_VARIABLE)
  user = os.getuid()
  monkeypatch.setattr(os, "getuid", lambda: user + 1)
  (unset / "compiled" / f"{process.machine()}-{user + 1}").mkdir()
  process.keep_programs()
  assert JAX_VARIABLE not in os.environ
  assert "is read-only or of another user" in capsys.readouterr().err


def test_what_was_used_least_recently_is_deleted(unset, monkeypatch):
  folder, now = kept(), time.time()
  monkeypatch.delenv(JAX_VARIABLE)
  # Names, and the hours since they were written and read.
  ages = {"old": (9, 9), "read": (8, 1), "new": (2, 2), "newest": (0, 0)}
  for name, (written, read) in ages.items():
    (folder / name).write_bytes(bytes(100))
    os.utime(folder / name, (now - 3600 * read, now - 3600 * written))
  monkeypatch.setattr(process, "CACHE_BYTES", 400)
  kept()
  assert {path.name for path in folder.iterdir()} == set(ages)
  monkeypatch.delenv(JAX_VARIABLE)
  monkeypatch.setattr(process, "CACHE_BYTES", 299)
  kept()
  assert {path.name for path in folder.iterdir()} == {"read", "newest"}


def test_an_import_keeps_no_programs_and_leaves_ctrl_c_alone(unset):
  code = (
    "import os, signal, sys, nema_lc_jax.main;"
    f"assert {JAX_VARIABLE!r} not in os.environ;"
    "assert sys.excepthook is sys.__excepthook__;"
    "assert signal.getsignal(2) is signal.default_int_handler"
  )
  started = start("-c", code)
  assert started.communicate(timeout=60) == ("", "")
  assert started.returncode == 0


@pytest.mark.slow
def test_a_program_of_another_process_gives_the_same_bits(unset, tmp_path):
  """And is the same for whoever asks what it needs."""
  config = tmp_path / "config.py"
  config.write_text("from tests.helpers import tiny_config as get_config")
  found = []
  for name in ("fresh", "kept"):
    started = start(
      "-m", "nema_lc_jax.main", f"--config={config}",
      f"--workdir={tmp_path / name}",
    )  # fmt: skip
    _, errors = started.communicate(timeout=600)
    assert started.returncode == 0, errors
    programs = {path.name for path in (unset / "compiled").rglob("*-cache")}
    found.append((read_summary(tmp_path / name), programs))
  (fresh, first), (again, second) = found
  assert any("train_step" in name for name in first)
  assert first == second
  assert fresh.params_sha256 == again.params_sha256
  assert fresh.test_metrics == again.test_metrics
  assert fresh.peak_memory_bytes == again.peak_memory_bytes


# Memory that was freed.

# Prints how often a page was mapped while an array is made and freed again.
FREED = """
import ctypes, resource
from nema_lc_jax.runs import process
process.keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.memset.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
c.free.argtypes = (ctypes.c_void_p,)
def step():
  array = c.malloc(2**26)
  c.memset(array, 1, 2**26)
  c.free(array)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
  step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_kept_for_the_next_step():
  def faults(**environment):
    code = start("-c", FREED, **environment)
    out, err = code.communicate(timeout=60)
    assert code.returncode == 0, err
    return int(out)

  pages = 2**26 // os.sysconf("SC_PAGE_SIZE")
  assert faults() < pages / 10
  # What the user has tuned is left alone.
  assert faults(MALLOC_MMAP_THRESHOLD_="1000000") > 5 * pages
