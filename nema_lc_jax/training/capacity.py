"""Whether a model fits in the memory of a device, before it is compiled."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from nema_lc_jax.data import Dataset
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.training.checks import Stage
from nema_lc_jax.training.steps import TrainState
from nema_lc_jax.training.trees import named_leaves

GIB = 2**30
# Where Linux mounts the limits of containers, versions 2 and 1: the folder, the
# files of the limit and of what is used, and, in memory.stat, the part of the
# latter that is given back on demand.
CGROUPS = (
  ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
  (
    "/sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
  ),
)


class Needed(NamedTuple):
  """An array, and the bytes of it that one device holds."""

  shape: tuple[int, ...]
  bytes: int


def held(tree: Any) -> dict[str, Needed]:
  """The arrays of a tree of abstract arrays, by name."""

  def of(x: jax.ShapeDtypeStruct) -> Needed:
    local = x.sharding.shard_shape(x.shape) if x.sharding else x.shape
    return Needed(x.shape, x.dtype.itemsize * math.prod(local))

  return {name: of(x) for name, x in named_leaves(tree).items()}


def of_params(template: TrainState) -> dict[str, Needed]:
  """The parameters of a trained model, from its abstract state."""
  return held({"params": template.params})


def of_training(
  config: ConfigDict,
  dataset: Dataset,
  stages: Sequence[Stage],
  template: TrainState,
) -> dict[str, Needed]:
  """The least that a device holds at once to train, evaluate and test.

  The state, the gradients, the updates made of them, and, of the largest batch,
  the token vectors, the logits and the memory.
  """
  params = template.params
  state = held({"state": template, "gradients": params, "updates": params})
  slots = config.memory.num_slots
  batches = [(config.train.batch_size, s.length, s.num_slots) for s in stages]
  batches += [
    (rows_at(config, times), times * config.data.length, slots)
    for times in (1, *config.eval.length_multipliers)
  ]
  return max(
    (state | _of_batch(config, dataset, *batch) for batch in batches),
    key=lambda arrays: sum(a.bytes for a in arrays.values()),
  )


def of_evaluation(config: ConfigDict, dataset: Dataset) -> dict[str, Needed]:
  """What a device holds of a batch of evaluation, at data.length."""
  rows, slots = rows_at(config, 1), config.memory.num_slots
  return _of_batch(config, dataset, rows, config.data.length, slots)


def _of_batch(
  config: ConfigDict, dataset: Dataset, rows: int, length: int, num_slots: int
) -> dict[str, Needed]:
  rows = -(-rows // jax.device_count())
  texts = 2 * rows if dataset.head == "match" else rows
  per_token = dataset.head in ("causal_lm", "masked_lm")
  logits = (rows, length) if per_token else (rows,)
  width = config.model.width
  shapes = {
    "token vectors": (texts, length, width),
    "logits": (*logits, dataset.num_classes),
  }
  if config.model.encoder == "memory":
    shapes["memory"] = (texts, num_slots, width)
    shapes["candidates"] = (texts, config.memory.num_candidates, width)
  return {n: Needed(shape, 4 * math.prod(shape)) for n, shape in shapes.items()}


def rows_at(config: ConfigDict, times: int) -> int:
  """Rows of a batch of evaluation, at a multiple of data.length."""
  rows, devices = config.train.eval_batch_size, jax.device_count()
  # Few long texts at a time would leave a device idle in the memory scan, but
  # the memory use of full attention grows with the square of the length.
  full = config.model.encoder == "full"
  most = rows // times**2 if full else 8 * rows // times
  return max(min(rows, most) // devices, 1) * devices


def require_fits(arrays: Mapping[str, Needed], dataset: Dataset | None) -> None:
  """Raises ConfigError unless a device can hold all arrays at once.

  Args:
    arrays: of one device, by name.
    dataset: says where its sizes come from.
  """
  limit = device_bytes()
  needed = sum(a.bytes for a in arrays.values())
  if needed <= limit:
    return
  name = max(arrays, key=lambda name: arrays[name].bytes)
  largest = arrays[name]
  because = "".join(_origins(largest.shape, dataset)) if dataset else ""
  raise ConfigError(
    f"the model does not fit: at least {needed / GIB:,.1f} GiB are needed on a"
    f" device, and {limit / GIB:,.1f} GiB are there; its largest array is"
    f" {name} {list(largest.shape)} with {largest.bytes / GIB:,.1f}"
    f" GiB{because}."
  )


def _origins(shape: Sequence[int], dataset: Dataset) -> Iterator[str]:
  """Where the sizes come from that the array has from the data."""
  for field, origin in dataset.origins.items():
    count = getattr(dataset, field)
    # The rows of an embedding are a multiple of 8.
    if {count, -(-count // 8) * 8} & set(shape):
      yield f"; {field}={count} comes from {origin}"


def device_bytes() -> int:
  """The memory that a device has; devices of a CPU share the main memory."""
  shared = jax.local_device_count() if jax.default_backend() == "cpu" else 1
  return accelerator_bytes() or main_memory() // shared


def accelerator_bytes() -> int | None:
  """The memory of an accelerator; None for a CPU."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("bytes_limit")


def main_memory() -> int:
  """Bytes of main memory that are free, for the machine and its containers."""
  return min(_free())


def _free() -> Iterable[int]:
  try:
    # Elsewhere than on Linux only the physical memory is known.
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (OSError, ValueError):
    yield 2**62
  fields = _numbers(Path("/proc/meminfo"), 1024)
  if "MemAvailable:" in fields:
    yield fields["MemAvailable:"]
  try:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
  except OSError:
    return
  # A container's own group, or one above it, may have the limit.
  own = {line.split(":", 2)[2].strip("/") for line in lines}
  for root, limit, used, cache in CGROUPS:
    for group in {p for name in own for p in (name, *_above(name))} | {""}:
      folder = Path(root, group)
      try:
        most = int((folder / limit).read_text())
        taken = int((folder / used).read_text())
      except (OSError, ValueError):
        continue  # No such group, or no limit.
      yield most - taken + _numbers(folder / "memory.stat").get(cache, 0)


def _above(group: str) -> list[str]:
  return [str(path) for path in Path(group).parents if str(path) != "."]


def _numbers(path: Path, unit: int = 1) -> dict[str, int]:
  """The second word of each line by its first; empty if it cannot be read."""
  try:
    lines = [line.split() for line in path.read_text().splitlines()]
  except OSError:
    return {}
  return {w[0]: unit * int(w[1]) for w in lines if len(w) > 1}
