"""Several processes as one run: joining them, and communication between them.

Every process runs the same program on its own devices. All compute and all
save checkpoints; the first one alone writes the other files. In a run of one
process these functions change nothing.
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
  """Joins the other processes; before anything else of JAX is used.

  Args:
    coordinator: HOST:PORT of process 0. With the two after it, or, where the
      cluster says (TPU pods, SLURM, Open MPI), none of the three.
    num_processes: how many there are.
    process_id: the number of this one, from 0.
    dead_after: seconds without a sign of life after which all stop.

  Raises:
    ConfigError: in one line, on what cannot be, and where no cluster says.
    RunError: if the others do not come.
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
  # Its handler of SIGTERM would fight with the run's own, see `signals`.
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
      "--distributed found no cluster (TPU pod, SLURM, Open MPI) that says who"
      " the processes are: add --coordinator=HOST:PORT, --num_processes and"
      " --process_id."
    ) from None
  except RuntimeError as error:
    raise RunError(f"the processes did not meet: {error}") from None


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
  """Ends this process with one line when a computation on all of them fails.

  That happens when another process dies. JAX's own exit would wait for the dead
  process, and then abort with a page of addresses.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    line = one_line(f"{error}; if another process has died, start all again")
    print(f"{label()}{line}: they resume.", file=sys.stderr, flush=True)
    os._exit(1)


def label() -> str:
  """What begins a line that each process may print."""
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
  """Prints, once for all processes."""
  if is_first():
    print(text, flush=True)


class NoOp:
  """Stands for a writer on all processes but the first: it does nothing."""

  def __getattr__(self, name: str) -> Callable:
    """Any method, for any arguments."""
    return lambda *args, **kwargs: None

  def __enter__(self) -> "NoOp":
    """Returns itself."""
    return self

  def __exit__(self, *unused) -> None:
    """Nothing was opened."""


def broadcast_from_first(value: int) -> int:
  """The value that the first process has, on all processes."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def total(values: Sequence[float]) -> np.ndarray:
  """The sums over processes of a few numbers."""
  if jax.process_count() == 1:
    return np.asarray(values)
  # In float64 where they are added, which is not on the devices.
  each = multihost_utils.process_allgather(np.asarray(values, np.float32))
  return np.asarray(each, np.float64).sum(0)


def assert_same_everywhere(what: str, text: str) -> None:
  """Raises ConfigError, on all processes, unless they have the same text."""
  if jax.process_count() == 1:
    return
  digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.int32)
  each = multihost_utils.process_allgather(digest)
  others = np.flatnonzero((each != each[0]).any(-1))
  if others.size:
    raise ConfigError(
      f"process {others[0]} was given another {what} than process 0: all must"
      " be started alike."
    )


def raise_on_all(do: Callable[[], T]) -> T:
  """Calls `do` on every process; an error on one ends all of them.

  Raises:
    RunError: if `do` failed on another process; its own error where it failed.
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
      f"process {int(failed.argmax())} could not go on, so this one did not."
    )
  return result
