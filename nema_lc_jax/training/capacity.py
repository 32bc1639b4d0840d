"""Whether a model fits in the memory of a device, before it is compiled."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from nema_lc_jax.data import Dataset
from nema_lc_jax.errors import ConfigError
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


def array(shape: Sequence[int], itemsize: int = 4) -> Needed:
  """An array that each device holds as a whole."""
  return Needed(tuple(shape), itemsize * math.prod(shape))


def held(tree: Any) -> dict[str, Needed]:
  """The arrays of a tree of abstract, sharded arrays, by name."""
  return {
    name: Needed(
      x.shape, x.dtype.itemsize * math.prod(x.sharding.shard_shape(x.shape))
    )
    for name, x in named_leaves(tree).items()
  }


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
