"""Several processes as one run: joining them, and communication between them.

Every process runs the same program on its own devices. All processes compute
and save checkpoints; only the first one writes the other files. In a run of one
process these functions do nothing.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nema_lc_jax.errors import ConfigError, RunError, one_line

T = TypeVar("T")


def initialize(
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  dead_after: int,
) -> None:
  """Joins the other processes; must be called before any other use of JAX.

  On TPU pods, SLURM and Open MPI the first three arguments may be left out
  together: the cluster sets them.

  Args:
    coordinator: HOST:PORT of process 0.
    num_processes: number of processes.
    process_id: index of this process, from 0.
    dead_after: seconds without a heartbeat after which all processes stop.

  Raises:
    ConfigError: in one line, on invalid arguments, or if none are given and no
      cluster is found.
    RunError: if the processes cannot connect.
  """
  given = {
    "coordinator": coordinator,
    "num_processes": num_processes,
    "process_id": process_id,
  }
  missing = [f"--{name}" for name, value in given.items() if value is None]
  if 0 < len(missing) < len(given):
    raise ConfigError(
      "--coordinator, --num_processes and --process_id go together; missing:"
      f" {', '.join(missing)}."
    )
  if not missing:
    _require(coordinator, num_processes, process_id)
  if dead_after < 1:
    raise ConfigError(f"--dead_after must be at least 1, got {dead_after}.")
  # Its handler of SIGTERM would replace the run's own, see `signals`.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      heartbeat_timeout_seconds=dead_after,
      shutdown_timeout_seconds=dead_after,
    )
  except ValueError:
    raise ConfigError(
      "--distributed found no cluster (TPU pod, SLURM, Open MPI) that sets the"
      " processes: add --coordinator=HOST:PORT, --num_processes and"
      " --process_id."
    ) from None
  except RuntimeError as error:
    raise RunError(f"the processes could not connect: {error}") from None


def _require(coordinator: str, num_processes: int, process_id: int) -> None:
  _, colon, port = coordinator.rpartition(":")
  if not colon or not port.isdigit():
    raise ConfigError(f"--coordinator must be HOST:PORT, got {coordinator!r}.")
  if num_processes < 1:
    raise ConfigError(
      f"--num_processes must be at least 1, got {num_processes}."
    )
  if not 0 <= process_id < num_processes:
    raise ConfigError(
      f"--process_id must be from 0 to {num_processes - 1}, got {process_id}."
    )


@contextlib.contextmanager
def guarded() -> Iterator[None]:
  """Exits with one line when a computation over all processes fails.

  That happens when another process dies. JAX's own exit would wait for the dead
  process, and then abort with a page of addresses.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    hint = "if another process has died, start all again to resume."
    line = label() + one_line(f"{error}; {hint}")
    print(line, file=sys.stderr, flush=True)
    os._exit(1)


def label() -> str:
  """The prefix of a line that every process may print; "" outside a cluster."""
  if not jax.distributed.is_initialized():
    return ""
  return f"process {jax.process_index()}: "


def shard() -> tuple[int, int]:
  """(index, count) of this process."""
  return jax.process_index(), jax.process_count()


def is_first() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def print_once(text: str) -> None:
  """Prints on the first process only."""
  if is_first():
    print(text, flush=True)


class NoOp:
  """Replaces a writer on all processes but the first: methods do nothing."""

  def __getattr__(self, name: str) -> Callable:
    return lambda *args, **kwargs: None

  def __enter__(self) -> "NoOp":
    return self

  def __exit__(self, *unused) -> None:
    pass


def broadcast_from_first(value: int) -> int:
  """Returns the first process's value on all processes."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def total(values: Sequence[float]) -> np.ndarray:
  """Sums of a few numbers over processes."""
  if jax.process_count() == 1:
    return np.asarray(values)
  # They are added on the host, in float64, which the devices may lack.
  each = multihost_utils.process_allgather(np.asarray(values, np.float32))
  return np.asarray(each, np.float64).sum(0)


def assert_same_everywhere(what: str, text: str) -> None:
  """Raises ConfigError on all processes if their texts differ."""
  if jax.process_count() == 1:
    return
  digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.int32)
  each = multihost_utils.process_allgather(digest)
  others = np.flatnonzero((each != each[0]).any(-1))
  if others.size:
    raise ConfigError(
      f"process {others[0]} was given another {what} than process 0: start all"
      " processes with the same flags and data."
    )


def raise_on_all(do: Callable[[], T]) -> T:
  """Calls `do` on every process; an error on one is raised on all.

  Raises:
    RunError: on the processes where `do` did not fail itself.
  """
  if jax.process_count() == 1:
    return do()
  error: Any = None
  try:
    result = do()
  except (ValueError, OSError, RunError) as caught:
    error = caught
  failed = multihost_utils.process_allgather(np.int32(error is not None))
  if error is not None:
    raise error
  if failed.any():
    raise RunError(
      f"process {int(failed.argmax())} has failed, so this process stops, too."
    )
  return result
