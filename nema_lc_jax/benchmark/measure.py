"""Interleaved timing of programs, and statistics of the samples."""

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from nema_lc_jax.training.sharding import compiled_bytes


class Timing(NamedTuple):
  """Median and range of several samples."""

  median: float
  low: float
  high: float


def timing(samples: Sequence[float]) -> Timing:
  """Median and range; NaN without samples."""
  if not samples:
    return Timing(math.nan, math.nan, math.nan)
  return Timing(statistics.median(samples), min(samples), max(samples))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
  """One ratio per round, so that slowdowns of a whole round cancel."""
  if not above or not below:
    return []
  return [a / b for a, b in zip(above, below, strict=True)]


class Program:
  """A compiled function, with arguments that `start` makes.

  Args:
    function: to be compiled.
    make_args: makes all its arguments, on the device.
    carry: whether the first result becomes the first argument of the next
      call, in the same (donated) memory, as in training.
  """

  def __init__(
    self,
    function: Callable,
    make_args: Callable[[], tuple],
    *,
    carry: bool = False,
  ):
    """Compiles, without allocating arguments."""
    self._make_args, self._carry = make_args, carry
    jitted = jax.jit(function, donate_argnums=(0,) if carry else ())
    self.traced = jitted.trace(*jax.eval_shape(make_args))
    self.compiled = self.traced.lower().compile()
    self.bytes = compiled_bytes(self.compiled)
    self.first_seconds = math.nan  # of the first call
    self.peak_bytes: int | None = None  # of the device, if this raised it
    self._args: tuple[Any, ...] = ()

  def start(self) -> None:
    """Makes the arguments, and calls the program once."""
    before = _device_peak()
    self._args = jax.block_until_ready(self._make_args())
    self.first_seconds = self()
    after = _device_peak()
    # The device has one peak for all programs so far, so it belongs to this
    # program only if this program has raised it.
    if before is not None and after is not None and after > before:
      self.peak_bytes = after

  def __call__(self) -> float:
    """Calls the program once; returns the seconds."""
    began = time.perf_counter()
    out = jax.block_until_ready(self.compiled(*self._args))
    seconds = time.perf_counter() - began
    if self._carry:
      self._args = (out[0], *self._args[1:])
    return seconds


def _device_peak() -> int | None:
  return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def alternate(
  calls: Mapping[Hashable, Program], *, rounds: int, seconds: float
) -> dict[Hashable, list[float]]:
  """Seconds per call of each program, one sample per round.

  The samples are interleaved: every round has one of each program, in
  alternating order, so that a slowdown of the machine affects all programs. A
  sample is the mean over as many calls as fill `seconds`, by the first call.

  Args:
    calls: started programs.
    rounds: samples of each.
    seconds: least duration of a sample.
  """
  repeats = {
    name: max(1, math.ceil(seconds / max(program.first_seconds, 1e-9)))
    for name, program in calls.items()
  }
  samples: dict[Hashable, list[float]] = {name: [] for name in calls}
  for number in range(rounds):
    for name in list(calls) if number % 2 == 0 else reversed(calls):
      times = [calls[name]() for _ in range(repeats[name])]
      samples[name].append(sum(times) / len(times))
  return samples
