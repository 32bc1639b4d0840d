"""Training and evaluation steps over all devices, by jit or by pmap.

Both run the same functions of step.py: jit over a batch that is sharded along
the mesh axis "data", pmap over that axis by name. Parameters are replicated.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from nema_lc_jax import step as steps
from nema_lc_jax.step import Trainer, TrainState

AXIS = "data"
KINDS = ("jit", "pmap")


class Parallel(NamedTuple):
  """How a run is spread over devices.

  init(seed, peak learning rate) -> TrainState, replicated.
  train_step(num_slots) -> compiled (state, batch) -> (state, metrics); jit
    donates the state.
  eval_step(budget) -> compiled (params, batch) -> (metrics, right).
  put(batch) -> the batch on the devices.
  state_sharding: of every leaf, for restoring.
  """

  init: Callable[[int, float], TrainState]
  train_step: Callable[[int | None], Callable]
  eval_step: Callable[[int | None], Callable]
  put: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
  state_sharding: NamedSharding


def require_divisible(name: str, rows: int) -> None:
  """Raises ValueError unless all devices get equally many rows."""
  devices = jax.device_count()
  if rows < 1 or rows % devices:
    raise ValueError(
      f"config.train.{name}={rows} must be a positive multiple of the number of"
      f" devices, {devices}."
    )


def make_parallel(trainer: Trainer, *, kind: str = "jit") -> Parallel:
  """The steps of a run over all devices.

  Args:
    trainer: what its steps have in common.
    kind: "jit" or "pmap".

  Raises:
    ValueError: on an unknown kind, and in a run of several processes.
  """
  if jax.process_count() > 1:
    raise ValueError(
      f"this version trains in one process, on all of its devices; there are"
      f" {jax.process_count()} processes."
    )
  if kind not in KINDS:
    raise ValueError(
      f"config.train.parallel={kind!r} is unknown; known: {', '.join(KINDS)}."
    )
  # Auto axes: under the default explicit ones an embedding lookup is an error.
  mesh = jax.make_mesh(
    (jax.device_count(),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,)
  )
  replicated = NamedSharding(mesh, PartitionSpec())
  rows = NamedSharding(mesh, PartitionSpec(AXIS))

  @functools.cache
  def train_step(num_slots):
    step = functools.partial(
      steps.train_step, trainer=trainer, num_slots=num_slots
    )
    if kind == "pmap":
      return _pmap(step)
    return jax.jit(
      step,
      in_shardings=(replicated, rows),
      out_shardings=replicated,
      donate_argnums=0,
    )

  @functools.cache
  def eval_step(budget):
    return jax.jit(
      functools.partial(steps.eval_step, trainer=trainer, budget=budget),
      in_shardings=(replicated, rows),
      out_shardings=(replicated, replicated),
    )

  def put(batch):
    return jax.tree.map(lambda x: jax.device_put(x, rows), dict(batch))

  # Under jit with out_shardings, so that no leaf is laid out anew in step 2.
  init = jax.jit(
    functools.partial(steps.init_train_state, trainer),
    out_shardings=replicated,
  )
  return Parallel(init, train_step, eval_step, put, replicated)


def program_bytes(step: Callable, *args: Any) -> int | None:
  """The memory that a jitted step needs on each device, in bytes.

  See `compiled_bytes`. A step that has been run on such arguments is not
  compiled again. None under pmap, and where the backend does not say.
  """
  if not hasattr(step, "lower"):
    return None
  return compiled_bytes(step.lower(*args).compile())


def compiled_bytes(compiled: jax.stages.Compiled) -> int | None:
  """The memory that a program needs on each device, in bytes.

  What it is given and returns, but for what it reuses, and the most that is
  alive between; the allocator's own is not in it. None where the backend does
  not say.
  """
  found = compiled.memory_analysis()
  if found is None:
    return None
  return (
    found.argument_size_in_bytes
    + found.output_size_in_bytes
    + found.temp_size_in_bytes
    - found.alias_size_in_bytes
  )


def _pmap(step: Callable) -> Callable:
  devices = jax.local_device_count()
  mapped = jax.pmap(
    functools.partial(step, axis_name=AXIS),
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=None,
  )

  def call(state, batch):
    split = lambda x: x.reshape(devices, -1, *x.shape[1:])
    return mapped(state, jax.tree.map(split, batch))

  return call
