"""Trains runs in worker processes, each on its share of the cores."""

import concurrent.futures
import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from nema_lc_jax.errors import RunError
from nema_lc_jax.runs import process

MANY_MAPPINGS = 10_000
AGAIN_AFTER = 5  # seconds between two signals to a worker


class Job(NamedTuple):
  """A run to train."""

  workdir: str
  config: str  # JSON
  title: str
  log: str  # file for its output


def work(jobs: Sequence[Job], *, processes: int, title: str) -> list[str]:
  """Trains the jobs in `processes` processes; returns a line per failure.

  If a process dies, the other jobs are continued in new processes, as long as
  there is progress. Runs that differ in the seed have the same programs, which
  they share by JAX's compilation cache.

  Raises:
    RunError: at SIGTERM; running jobs are saved, as at Ctrl-C.
  """
  if not jobs:
    return []
  failed, pending = [], list(jobs)
  with tqdm(total=len(jobs), desc=title, unit="run") as progress:
    while pending:
      lost = _round(pending, processes, progress, failed)
      if len(lost) == len(pending):
        failed += [f"{job.title}: its process died." for job in lost]
        break
      pending = lost
  return failed


def _round(
  jobs: Sequence[Job],
  processes: int,
  progress: tqdm,
  failed: list[str],
) -> list[Job]:
  """Trains the jobs in one pool; returns the jobs that were lost.

  If a worker dies, for example out of memory, its whole pool breaks.
  """
  processes = min(processes, len(jobs))
  # A worker that is stopped between training and test leaves semaphores, which
  # another process of Python's removes. It need not tell.
  os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
  context = multiprocessing.get_context("spawn")
  numbers = context.SimpleQueue()
  for number in range(processes):
    numbers.put(number)
  before = signal.signal(signal.SIGTERM, _terminate)
  executor = concurrent.futures.ProcessPoolExecutor(
    processes,
    mp_context=context,
    initializer=_start,
    initargs=(numbers, processes),
  )
  try:
    # Ctrl-C reaches the whole process group, but only the parent handles it:
    # workers inherit the mask.
    with _blocked(signal.SIGINT):
      futures = {executor.submit(_train, job): job for job in jobs}
    for future in concurrent.futures.as_completed(futures):
      job, error = futures[future], future.exception()
      if isinstance(error, BrokenProcessPool):
        continue
      line = f"{job.title}: {error or future.result()}"
      if error:
        failed.append(line)
      progress.write(line)
      progress.update()
  except KeyboardInterrupt as error:
    progress.write("interrupted: the runs in training are being saved")
    with _ignored(signal.SIGINT):
      _save_and_stop(executor)
    if isinstance(error, _Terminated):
      raise RunError("interrupted; the same command resumes.") from None
    raise
  finally:
    signal.signal(signal.SIGTERM, before)
    executor.shutdown()
  return [
    job
    for future, job in futures.items()
    if isinstance(future.exception(), BrokenProcessPool)
  ]


def _save_and_stop(executor: concurrent.futures.Executor) -> None:
  executor.shutdown(wait=False, cancel_futures=True)
  for child in multiprocessing.active_children():
    # At SIGTERM a run saves and stops. The signal is repeated, since a worker
    # may already have started its next run.
    while child.is_alive():
      child.terminate()
      child.join(AGAIN_AFTER)


class _Terminated(KeyboardInterrupt):
  """SIGTERM has come."""


def _terminate(number, frame):
  del number, frame
  raise _Terminated


@contextlib.contextmanager
def _blocked(number: int) -> Iterator[None]:
  """A signal that comes within the block is handled after it."""
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _ignored(number: int) -> Iterator[None]:
  before = signal.signal(number, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(number, before)


def _start(numbers, processes: int) -> None:
  """Prepares a worker, before JAX starts its backend."""
  process.keep_freed_memory()
  number = numbers.get()
  if hasattr(os, "sched_setaffinity") and processes > 1:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number % len(cores) :: processes])
  threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
  """Stops this worker when its parent is killed.

  The signal is repeated: the first one may only have ended its run.
  """
  multiprocessing.parent_process().join()
  while True:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(AGAIN_AFTER)


def release_programs() -> None:
  """Drops compiled programs before memory mappings run out.

  A program takes hundreds of memory mappings, and a process that exceeds the
  limit of Linux (65,530 by default) dies. Also returns freed memory to the
  system, which the C library would keep.
  """
  import jax

  try:
    mappings = len(Path("/proc/self/maps").read_text().splitlines())
  except OSError:
    return  # not Linux
  if mappings > MANY_MAPPINGS:
    jax.clear_caches()
    gc.collect()
  # What a run has freed counts as used where the next one asks what is left.
  # Only glibc has it.
  if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
    trim(0)


def _train(job: Job) -> str:
  """Trains one run; returns the progress message."""
  from nema_lc_jax.runs.config_json import config_from_json
  from nema_lc_jax.training import train

  log = Path(job.log)
  log.parent.mkdir(parents=True, exist_ok=True)
  with (
    log.open("a", encoding="utf-8") as file,
    contextlib.redirect_stdout(file),
    contextlib.redirect_stderr(file),
  ):
    summary = train.run(config_from_json(json.loads(job.config)), job.workdir)
  release_programs()
  return (
    f"test accuracy {summary.test_accuracy:.4f}, {summary.wall_seconds:.0f} s"
  )
