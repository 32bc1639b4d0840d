"""Peak throughput of the machine, and the work of a program."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from nema_lc_jax.benchmark.measure import Program, alternate
from nema_lc_jax.training.capacity import accelerator_bytes, main_memory

# The share of the free memory that a program may take.
SHARE = 0.8


def memory_limit() -> int:
  """Bytes that a program may take: the device's, or most of the free memory."""
  return accelerator_bytes() or int(SHARE * main_memory())


class Ceilings(NamedTuple):
  """Measured peak throughput, per second."""

  flops: float  # of a product of two large matrices
  bytes: float  # read and written by a large copy


def measure_ceilings(*, size: int, rounds: int, seconds: float) -> Ceilings:
  """Measures the peak in float32, from the fastest sample of each.

  Args:
    size: rows and columns of the matrices; a copy has 8 * size**2 numbers.
    rounds: number of samples.
    seconds: least duration of a sample.
  """
  square = lambda: (jnp.ones((size, size)), jnp.ones((size, size)))
  flat = lambda: (jnp.ones(8 * size * size),)
  programs = {
    "product": Program(lambda a, b: a @ b, square),
    # The identity would compute nothing.
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
  """The work of one call of a program, from XLA's cost analysis."""

  flops: float
  bytes: float  # read and written by its fused operations

  def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
    """The sum of this cost and `times` the other."""
    return Cost(
      self.flops + times * other.flops, self.bytes + times * other.bytes
    )


def cost(program: Program) -> Cost:
  """The work of one call of a program, with every iteration of its scans.

  XLA counts the body of a loop once. The bodies of scans are therefore also
  compiled alone, and their cost is added for the remaining iterations.
  """
  return _all_iterations(program.traced.jaxpr, _analysed(program.compiled))


def _analysed(compiled: jax.stages.Compiled) -> Cost:
  found = compiled.cost_analysis() or {}
  get = lambda name: float(found.get(name, math.nan))
  return Cost(get("flops"), get("bytes accessed"))


def _all_iterations(jaxpr: core.ClosedJaxpr, once: Cost) -> Cost:
  total = once
  for scan in _scans(jaxpr.jaxpr):
    body = scan.params["jaxpr"]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in body.in_avals]
    alone = jax.jit(core.jaxpr_as_fun(body)).lower(*shapes).compile()
    counted = _analysed(alone)
    whole = _all_iterations(body, counted)
    total = total.plus(whole, scan.params["length"]).plus(counted, -1.0)
  return total


def _scans(jaxpr: core.Jaxpr) -> Iterator[Any]:
  """The outermost scans of a program."""
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
