"""What a process does first if it runs a command: python -m nema_lc_jax.NAME.

It keeps compiled programs for the next process and freed memory for itself, and
ends with one line at Ctrl-C. Nothing of this is done where the package is
imported as a library.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import signal
import sys
from pathlib import Path

# Where prepared data are kept, too, see data/prepare.py.
CACHE_VARIABLE = "NEMA_LC_JAX_CACHE"
# JAX reads it when it is imported.
JAX_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
CACHE_BYTES = 2**30
# Of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
INTERRUPTED = (
  "interrupted: the same command starts again; a run resumes from its newest"
  " checkpoint."
)


def begin() -> None:
  """Prepares the process; JAX must not be imported yet."""
  keep_programs()
  keep_freed_memory()
  # Ctrl-C is ignored where a shell has started it in the background.
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupt)
    sys.excepthook, sys.unraisablehook = _raised, _not_raised


def keep_programs() -> None:
  """Names a folder where JAX keeps programs, unless the environment does.

  What was used least recently is deleted when the folder gets large. JAX could
  do that, but a process that is killed while JAX writes a program would break
  all later writes. Several virtual CPU devices keep nothing: they may wait for
  each other for ever in a program that was kept.
  """
  if JAX_VARIABLE in os.environ or _has_virtual_devices():
    return
  try:
    cache = os.environ.get(CACHE_VARIABLE) or "~/.cache/nema_lc_jax"
    folder = Path(cache).expanduser().absolute() / "compiled"
    # Who can write to the folder can have code run here: to each their own.
    folder /= f"{machine()}-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or not os.access(folder, os.W_OK):
      raise PermissionError(f"{folder} is read-only or of another user")
    with contextlib.suppress(
      FileNotFoundError
    ):  # Another process deletes, too.
      _delete_old(folder)
  except (OSError, RuntimeError) as error:  # RuntimeError: there is no home.
    print(
      f"warning: programs are compiled anew at every start: {error}",
      file=sys.stderr,
    )
    return
  os.environ[JAX_VARIABLE] = str(folder)


def keep_freed_memory() -> None:
  """Has glibc keep what is freed, unless the environment tunes it.

  On a CPU, XLA allocates the arrays of each step and frees them after it. By
  default glibc returns large ones to the system, which has to clear every page
  again in the next step.
  """
  if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
    return
  # Only glibc has it, where C libraries are open to Python.
  with contextlib.suppress(OSError, TypeError, AttributeError):
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _has_virtual_devices() -> bool:
  asked = re.search(
    r"--xla_force_host_platform_device_count=(\d+)",
    os.environ.get("XLA_FLAGS", ""),
  )
  count = asked[1] if asked else os.environ.get("JAX_NUM_CPU_DEVICES", "1")
  return count != "1"


def machine() -> str:
  """Names this kind of machine: what is compiled for it runs on no other."""
  names = ("model", "flags", "CPU", "Features")  # on x86, and on ARM
  try:
    text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    lines = [line for line in text.split("\n") if line.startswith(names)]
  except OSError:
    lines = [platform.platform(), platform.processor()]
  return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _delete_old(folder: Path) -> None:
  files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
  files.sort(key=lambda file: max(file[1].st_atime, file[1].st_mtime))
  excess = sum(stat.st_size for _, stat in files) - CACHE_BYTES
  for path, stat in files:
    if excess <= 0:
      break
    path.unlink()
    excess -= stat.st_size


def _interrupt(number, frame):
  """The first Ctrl-C unwinds the command; another one ends the process."""
  del number, frame
  signal.signal(signal.SIGINT, _leave)
  raise KeyboardInterrupt


def _leave(*unused):
  # Not by print: this may have interrupted one.
  os.write(2, f"{INTERRUPTED}\n".encode())
  os._exit(130)


def interrupted() -> int:
  """Says how to go on after KeyboardInterrupt; returns the exit code."""
  if signal.getsignal(signal.SIGINT) is _leave:
    # The process has ended, but for what Python does at its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
  print(INTERRUPTED, file=sys.stderr)
  return 130


def _raised(kind, error, trace):
  # An import that is interrupted may raise anything.
  if signal.getsignal(signal.SIGINT) is _leave:
    with contextlib.suppress(OSError):
      sys.stdout.flush()
    _leave()
  sys.__excepthook__(kind, error, trace)


def _not_raised(unraisable):
  """Where an exception is lost, such as in a callback, so would be Ctrl-C."""
  if issubclass(unraisable.exc_type, KeyboardInterrupt):
    _leave()
  sys.__unraisablehook__(unraisable)
