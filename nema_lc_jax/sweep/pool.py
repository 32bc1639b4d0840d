"""Training runs in worker processes, each on its share of the cores."""

import concurrent.futures
import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from nema_lc_jax.errors import RunError

MANY_MAPPINGS = 10_000


class Job(NamedTuple):
  """A run to be trained."""

  workdir: str
  config: str  # JSON
  title: str
  log: str  # where what it prints goes


def work(
  jobs: Sequence[Job], *, processes: int, out: Path, title: str
) -> list[str]:
  """Trains the jobs, so many at a time; returns what failed, a line each.

  Where a process dies, others take over, as long as there is any progress.
  Compiled programs are shared through `out/compiled`, or the folder that
  JAX_COMPILATION_CACHE_DIR names: seeds differ in none.

  Raises:
    RunError: when interrupted; the runs in work are saved.
  """
  if not jobs:
    return []
  failed, left = [], list(jobs)
  with tqdm(total=len(jobs), desc=title, unit="run") as progress:
    while left:
      lost = _round(left, processes, out, progress, failed)
      if len(lost) == len(left):
        failed += [f"{job.title}: its process died." for job in lost]
        break
      left = lost
  return failed


def _round(
  jobs: Sequence[Job],
  processes: int,
  out: Path,
  progress: tqdm,
  failed: list[str],
) -> list[Job]:
  """Trains the jobs in one pool; returns those that went down with it.

  A worker that dies, as by running out of memory, takes its whole pool along.
  """
  processes = min(processes, len(jobs))
  context = multiprocessing.get_context("spawn")
  numbers = context.SimpleQueue()
  for number in range(processes):
    numbers.put(number)
  before = signal.signal(signal.SIGTERM, _interrupt)
  executor = concurrent.futures.ProcessPoolExecutor(
    processes,
    mp_context=context,
    initializer=_start,
    initargs=(numbers, processes, str(out / "compiled")),
  )
  try:
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
  except KeyboardInterrupt:
    executor.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
      # At SIGTERM a run saves and stops; more than once, since a worker may
      # have a next run at hand already.
      while child.is_alive():
        child.terminate()
        child.join(5)
    raise RunError("interrupted; the same command resumes.") from None
  finally:
    signal.signal(signal.SIGTERM, before)
    executor.shutdown()
  return [
    job
    for future, job in futures.items()
    if isinstance(future.exception(), BrokenProcessPool)
  ]


def _interrupt(number, frame):
  del number, frame
  raise KeyboardInterrupt


def _start(numbers, processes: int, cache: str) -> None:
  """Prepares a worker, before JAX starts its backend."""
  # Ctrl-C reaches the whole group, but it is the parent that decides.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  number = numbers.get()
  if hasattr(os, "sched_setaffinity") and processes > 1:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number % len(cores) :: processes])
  import jax

  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    jax.config.update("jax_compilation_cache_dir", cache)
  threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
  """Stops this worker when its parent was killed: nobody would restart it."""
  multiprocessing.parent_process().join()
  os.kill(os.getpid(), signal.SIGTERM)


def release_programs() -> None:
  """Drops compiled programs before they use up this process's mappings.

  Each takes hundreds of memory mappings, and a process that has as many as
  Linux grants it (65,530 by default) dies of the next program. Gives back the
  memory they took, too, which the C library would keep for the process.
  """
  import jax

  try:
    mappings = len(Path("/proc/self/maps").read_text().splitlines())
  except OSError:
    return  # not Linux
  if mappings > MANY_MAPPINGS:
    jax.clear_caches()
    gc.collect()
    # Of glibc alone.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
      trim(0)


def _train(job: Job) -> str:
  """Trains one run; what to say of it."""
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
