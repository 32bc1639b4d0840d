"""Training and evaluation steps over all devices, by jit or by pmap.

Both run the same functions of step.py: jit over a batch whose rows are spread
over the mesh, pmap over an axis by name. The mesh is (devices / fsdp, fsdp):
parameters and optimizer state are replicated over its first axis "data" and,
the large ones, sharded over the second.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from nema_lc_jax.training import steps as steps
from nema_lc_jax.training.steps import Trainer, TrainState

DATA, FSDP = "data", "fsdp"
KINDS = ("jit", "pmap")
# Numbers in a leaf from which on sharding it saves more than it costs.
LARGE = 2**14


class Parallel(NamedTuple):
  """How a run is spread over devices.

  init(seed, peak learning rate) -> TrainState.
  train_step(num_slots) -> compiled (state, batch) -> (state, metrics); jit
    donates the state.
  eval_step(budget) -> compiled (params, batch) -> (metrics, rows).
  put(batch) -> the batch on the devices, of this process's rows of it.
  largest(number) -> [] i32, the largest of all processes' numbers.
  fetch(tree) -> it as NumPy arrays, whole on every process.
  template: the abstract TrainState with the sharding of every leaf.
  """

  init: Callable[[int, float], TrainState]
  train_step: Callable[[int | None], Callable]
  eval_step: Callable[[int | None], Callable]
  put: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
  largest: Callable[[int], jax.Array]
  fetch: Callable[[Any], Any]
  template: TrainState


def require_divisible(name: str, rows: int) -> None:
  """Raises ValueError unless all devices get equally many rows."""
  devices = jax.device_count()
  if rows < 1 or rows % devices:
    raise ValueError(
      f"config.train.{name}={rows} must be a positive multiple of the number of"
      f" devices, {devices}."
    )


def _require(kind: str, fsdp: int) -> None:
  if kind not in KINDS:
    raise ValueError(
      f"config.train.parallel={kind!r} is unknown; known: {', '.join(KINDS)}."
    )
  if kind == "pmap" and (fsdp != 1 or jax.process_count() > 1):
    raise ValueError(
      "config.train.parallel='pmap' is for one process and"
      f" config.train.fsdp=1; got {jax.process_count()} processes and"
      f" fsdp={fsdp}: use 'jit'."
    )
  if fsdp < 1 or jax.device_count() % fsdp:
    raise ValueError(
      f"config.train.fsdp={fsdp} must divide the number of devices,"
      f" {jax.device_count()}."
    )


def layout(shape: Sequence[int], fsdp: int) -> PartitionSpec:
  """Where a leaf of parameters or optimizer state is cut, if it is.

  In a large leaf, the largest dimension that so many devices divide.
  """
  fits = [i for i, size in enumerate(shape) if size % fsdp == 0]
  if fsdp == 1 or math.prod(shape) < LARGE or not fits:
    return PartitionSpec()
  cut = max(fits, key=lambda i: shape[i])
  return PartitionSpec(*[FSDP if i == cut else None for i in range(cut + 1)])


def make_parallel(
  trainer: Trainer, *, kind: str = "jit", fsdp: int = 1
) -> Parallel:
  """The steps of a run over all devices of all processes.

  Args:
    trainer: what its steps have in common.
    kind: "jit" or "pmap".
    fsdp: number of devices that parameters and optimizer state are sharded
      over; 1: they are replicated.

  Raises:
    ValueError: on an unknown kind, a number of devices that `fsdp` does not
      divide, and on pmap with either of several processes or `fsdp`.
  """
  _require(kind, fsdp)
  # Auto axes: under the default explicit ones an embedding lookup is an error.
  mesh = jax.make_mesh(
    (jax.device_count() // fsdp, fsdp),
    (DATA, FSDP),
    axis_types=(jax.sharding.AxisType.Auto,) * 2,
  )
  replicated = NamedSharding(mesh, PartitionSpec())
  rows = NamedSharding(mesh, PartitionSpec((DATA, FSDP)))
  init = functools.partial(steps.init_train_state, trainer)
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=NamedSharding(mesh, layout(x.shape, fsdp))
    ),
    jax.eval_shape(init, np.uint32(0), np.float32(0)),
  )
  state = jax.tree.map(lambda x: x.sharding, template)

  # The model sees all of its parameters: left to the compiler, activations are
  # exchanged instead, layer by layer.
  whole = lambda params: jax.lax.with_sharding_constraint(params, replicated)

  @functools.cache
  def train_step(num_slots):
    step = functools.partial(
      steps.train_step, trainer=trainer, num_slots=num_slots
    )
    if fsdp > 1:
      step = functools.partial(step, whole=whole)
    if kind == "pmap":
      return _pmap(step)
    return jax.jit(
      step,
      in_shardings=(state, rows),
      out_shardings=(state, replicated),
      donate_argnums=0,
    )

  @functools.cache
  def eval_step(budget):
    step = functools.partial(steps.eval_step, trainer=trainer, budget=budget)
    compiled = jax.jit(
      lambda params, batch: step(whole(params), batch),
      in_shardings=(state.params, rows),
      out_shardings=replicated,
    )
    return lambda params, batch: block_on_cpu(compiled(params, batch))

  place = functools.partial(jax.make_array_from_process_local_data, rows)
  put = lambda batch: jax.tree.map(place, dict(batch))
  most = jax.jit(jnp.max, out_shardings=replicated)

  def largest(number):
    if jax.process_count() == 1:
      return np.int32(number)
    each = np.full(jax.local_device_count(), number, np.int32)
    return block_on_cpu(most(place(each)))

  gather = jax.jit(lambda tree: tree, out_shardings=replicated)
  # Under jit with out_shardings, so that no leaf is laid out anew in step 2.
  start = jax.jit(init, out_shardings=state)
  return Parallel(
    init=lambda *numbers: block_on_cpu(start(*numbers)),
    train_step=train_step,
    eval_step=eval_step,
    put=put,
    largest=largest,
    fetch=lambda tree: jax.device_get(block_on_cpu(gather(tree))),
    template=template,
  )


def block_on_cpu(values: Any) -> Any:
  """The same; where devices are virtual ones of a CPU, once they are all there.

  Such devices share threads: they can wait for each other for ever, and abort,
  where a second program is begun before the first one has ended on them all.
  """
  if jax.default_backend() == "cpu" and jax.device_count() > 1:
    return jax.block_until_ready(values)
  return values


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
    functools.partial(step, axis_name=DATA),
    axis_name=DATA,
    in_axes=(None, 0),
    out_axes=None,
  )

  def call(state, batch):
    split = lambda x: x.reshape(devices, -1, *x.shape[1:])
    return mapped(state, jax.tree.map(split, batch))

  return call
