"""What the machine can do at most, and how much of it a program asks for."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from nema_lc_jax.benchmark.measure import Program, alternate

# Of the memory that is free, the share that a program may take.
SHARE = 0.8


def memory_limit() -> int:
  """Bytes that a program may take: of the device, or most of what is free."""
  stats = jax.devices()[0].memory_stats() or {}
  return stats.get("bytes_limit") or int(SHARE * _available())


def _available() -> float:
  """Bytes of main memory that are free; infinite where nothing says."""
  found = []
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    found.append(1024 * int(fields["MemAvailable"].split()[0]))
    # A container may be given less.
    group = Path("/sys/fs/cgroup")
    limit = int((group / "memory.max").read_text())
    used = int((group / "memory.current").read_text())
    found.append(limit - used)
  except (OSError, KeyError, ValueError):
    pass
  return min(found, default=2.0**62)


class Ceilings(NamedTuple):
  """The most that was measured, per second."""

  flops: float  # of a product of two large matrices
  bytes: float  # read and written by a large copy


def measure_ceilings(*, size: int, rounds: int, seconds: float) -> Ceilings:
  """The ceilings in float32, by the fastest sample of each.

  Args:
    size: rows and columns of the matrices; a copy has 8 * size**2 numbers.
    rounds: samples.
    seconds: of a sample, at least.
  """
  square = lambda: (jnp.ones((size, size)), jnp.ones((size, size)))
  flat = lambda: (jnp.ones(8 * size * size),)
  programs = {
    "product": Program(lambda a, b: a @ b, square),
    # Not the plain identity, which would compute nothing.
    "copy": Program(lambda x: -x, flat),
  }
  for program in programs.values():
    program.start()
  samples = alternate(programs, rounds=rounds, seconds=seconds)
  return Ceilings(
    flops=2 * size**3 / min(samples["product"]),
    bytes=2 * 8 * size**2 * 4 / min(samples["copy"]),
  )


class Cost(NamedTuple):
  """What a program does in one call, by XLA's analysis."""

  flops: float
  bytes: float  # read and written by its fused operations

  def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
    """The sum of this and `times` as much as the other."""
    return Cost(
      self.flops + times * other.flops, self.bytes + times * other.bytes
    )


def cost(program: Program) -> Cost:
  """What a program does in one call, with every turn of its loops.

  XLA counts the body of a loop once. So the bodies of scans are compiled
  alone, too, and what they cost is added for the turns that are missing.
  """
  return _all_turns(program.traced.jaxpr, _analysed(program.compiled))


def _analysed(compiled: jax.stages.Compiled) -> Cost:
  found = compiled.cost_analysis() or {}
  get = lambda name: float(found.get(name, math.nan))
  return Cost(get("flops"), get("bytes accessed"))


def _all_turns(jaxpr: core.ClosedJaxpr, once: Cost) -> Cost:
  total = once
  for scan in _scans(jaxpr.jaxpr):
    body = scan.params["jaxpr"]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in body.in_avals]
    alone = jax.jit(core.jaxpr_as_fun(body)).lower(*shapes).compile()
    counted = _analysed(alone)
    whole = _all_turns(body, counted)
    total = total.plus(whole, scan.params["length"]).plus(counted, -1.0)
  return total


def _scans(jaxpr: core.Jaxpr) -> Iterator[Any]:
  """The scans of a program, but not those inside of other scans."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == "scan":
      yield equation
      continue
    for value in jax.tree.leaves(
      list(equation.params.values()),
      is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
    ):
      if isinstance(value, core.ClosedJaxpr):
        yield from _scans(value.jaxpr)
      elif isinstance(value, core.Jaxpr):
        yield from _scans(value)
