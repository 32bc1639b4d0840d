"""Training and evaluation steps over all devices, by jit or by pmap.

Both compile the same functions of steps.py: jit with the batch's rows sharded
over the mesh, pmap with a named axis, which only this module uses. The mesh is
(devices / fsdp, fsdp). Parameters and optimizer state are replicated over its
first axis "data"; large leaves are sharded over its second axis "fsdp".
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from nema_lc_jax.training import steps
from nema_lc_jax.training.collectives import Collectives
from nema_lc_jax.training.steps import TrainSpec, TrainState

DATA, FSDP = "data", "fsdp"
KINDS = ("jit", "pmap")
# Smallest leaf, in numbers, for which sharding saves more than it costs.
LARGE = 2**14


def layout(shape: Sequence[int], fsdp: int) -> PartitionSpec:
  """The sharding of a leaf of parameters or optimizer state.

  A large leaf is sharded along its largest dimension that `fsdp` divides.
  """
  fits = [i for i, size in enumerate(shape) if size % fsdp == 0]
  if fsdp == 1 or math.prod(shape) < LARGE or not fits:
    return PartitionSpec()
  cut = max(fits, key=lambda i: shape[i])
  return PartitionSpec(*[FSDP if i == cut else None for i in range(cut + 1)])


class CompiledSteps:
  """The steps of a run, compiled for all devices of all processes.

  `spec` holds what they share; `template` is the abstract TrainState with the
  sharding of every leaf.
  """

  def __init__(self, spec: TrainSpec, *, kind: str = "jit", fsdp: int = 1):
    """Decides the sharding of the state; programs are compiled on first use.

    Args:
      spec: what the steps share.
      kind: "jit" or "pmap", for training; evaluation always uses jit.
      fsdp: number of devices that parameters and optimizer state are sharded
        over; 1: they are replicated.

    Raises:
      ValueError: if the kind is unknown, if `fsdp` does not divide the number
        of devices, or if pmap is combined with several processes, `fsdp` or
        carried memories.
    """
    _require(kind, fsdp)
    if kind == "pmap" and spec.carried:
      raise ValueError(
        "config.train.parallel='pmap' replicates what steps pass on, so"
        f" config.train.carry must be 0, got {spec.carried.rate}: use 'jit'."
      )
    self.spec, self._kind, self._fsdp = spec, kind, fsdp
    # With the default, explicit axes an embedding lookup is an error.
    mesh = jax.make_mesh(
      (jax.device_count() // fsdp, fsdp),
      (DATA, FSDP),
      axis_types=(jax.sharding.AxisType.Auto,) * 2,
    )
    self._replicated = NamedSharding(mesh, PartitionSpec())
    self._rows = NamedSharding(mesh, PartitionSpec((DATA, FSDP)))
    init = functools.partial(steps.init_train_state, spec)
    shapes: TrainState = jax.eval_shape(init, np.uint32(0), np.float32(0))
    place = lambda x: NamedSharding(mesh, layout(x.shape, fsdp))
    self._layout = jax.tree.map(place, shapes).replace(
      memory=jax.tree.map(lambda _: self._rows, shapes.memory)
    )
    self.template: TrainState = jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      shapes,
      self._layout,
    )
    # With out_shardings every leaf has its final sharding from the beginning.
    self._init = jax.jit(init, out_shardings=self._layout)
    self._gather = jax.jit(lambda tree: tree, out_shardings=self._replicated)
    self._largest = jax.jit(jnp.max, out_shardings=self._replicated)
    self.train_step = functools.cache(self._train_step)
    self.eval_step = functools.cache(self._eval_step)

  def init(self, seed: int, peak: float) -> TrainState:
    """The state before the first step, for a peak learning rate."""
    return block_on_cpu(self._init(np.uint32(seed), np.float32(peak)))

  def _train_step(self, num_slots: int | None) -> Callable:
    """(state, batch) -> (state, metrics); jit donates the state."""
    step = functools.partial(
      steps.train_step, spec=self.spec, num_slots=num_slots
    )
    if self._kind == "pmap":
      return _pmap(step)
    if self._fsdp > 1:
      step = functools.partial(step, whole=self._whole)
    return jax.jit(
      step,
      in_shardings=(self._layout, self._rows),
      out_shardings=(self._layout, self._replicated),
      donate_argnums=0,
    )

  def _eval_step(
    self, budget: int | None, relaxed: bool, per_token: bool = False
  ) -> Callable:
    """(params, batch) -> (metrics, rows)."""
    step = functools.partial(
      steps.eval_step,
      spec=self.spec,
      budget=budget,
      relaxed=relaxed,
      per_token=per_token,
    )
    compiled = jax.jit(
      lambda params, batch: step(self._whole(params), batch),
      in_shardings=(self._layout.params, self._rows),
      out_shardings=self._replicated,
    )
    return lambda params, batch: block_on_cpu(compiled(params, batch))

  def _whole(self, params):
    """The parameters, gathered where they are sharded.

    Otherwise the compiler exchanges activations in every layer.
    """
    return jax.lax.with_sharding_constraint(params, self._replicated)

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices."""
    return {name: self._place(rows) for name, rows in batch.items()}

  def _place(self, rows: np.ndarray) -> jax.Array:
    return jax.make_array_from_process_local_data(self._rows, rows)

  def largest(self, number: int) -> jax.Array | np.int32:
    """The maximum of all processes' numbers [] i32."""
    if jax.process_count() == 1:
      return np.int32(number)
    each = np.full(jax.local_device_count(), number, np.int32)
    return block_on_cpu(self._largest(self._place(each)))

  def fetch(self, tree: Any) -> Any:
    """A tree of arrays as NumPy arrays, whole on every process."""
    return jax.device_get(block_on_cpu(self._gather(tree)))


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


def block_on_cpu(values: Any) -> Any:
  """Returns `values`; on several virtual CPU devices, waits for them first.

  Such devices share threads. They can deadlock, and abort, if a second program
  starts before the first has ended on all of them.
  """
  if jax.default_backend() == "cpu" and jax.device_count() > 1:
    return jax.block_until_ready(values)
  return values


def program_bytes(step: Callable, *args: Any) -> int | None:
  """The memory that a jitted step needs on each device, in bytes.

  See `compiled_bytes`. A step that has run on such arguments is not compiled
  again. Returns None under pmap, and if the backend reports nothing.
  """
  if not hasattr(step, "lower"):
    return None
  return compiled_bytes(step.lower(*args).compile())


def compiled_bytes(compiled: jax.stages.Compiled) -> int | None:
  """The memory that a program needs on each device, in bytes.

  This counts arguments, outputs (less those that reuse arguments) and the peak
  of temporaries, without the allocator's overhead. Returns None if the backend
  reports nothing.
  """
  analysis = compiled.memory_analysis()
  if analysis is None:
    return None
  return (
    analysis.argument_size_in_bytes
    + analysis.output_size_in_bytes
    + analysis.temp_size_in_bytes
    - analysis.alias_size_in_bytes
  )


def _pmap(step: Callable) -> Callable:
  devices = jax.local_device_count()
  across = Collectives(
    gather=lambda x: jax.lax.all_gather(x, DATA, tiled=True),
    total=lambda tree: jax.lax.psum(tree, DATA),
    first_row=lambda rows: rows * jax.lax.axis_index(DATA),
  )
  mapped = jax.pmap(
    functools.partial(step, across=across),
    axis_name=DATA,
    in_axes=(None, 0),
    out_axes=None,
  )

  def update(state, batch):
    split = lambda x: x.reshape(devices, -1, *x.shape[1:])
    return mapped(state, jax.tree.map(split, batch))

  return update
