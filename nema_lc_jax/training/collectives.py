"""Communication with the devices that hold other rows of a batch."""

from collections.abc import Callable
from typing import NamedTuple

from nema_lc_jax.memory.types import Array


class Collectives(NamedTuple):
  """Functions that connect the devices, each with a part of a batch.

  gather(x [B, ...]) -> [devices * B, ...]
    The rows of all devices.
  total(tree) -> tree
    The sums over devices.
  first_row(B) -> [] i32
    The index of this device's first row in the whole batch.
  """

  gather: Callable
  total: Callable
  first_row: Callable[[int], Array | int]


# For a whole batch, as under jit, where the compiler inserts communication.
WHOLE_BATCH = Collectives(
  gather=lambda x: x, total=lambda tree: tree, first_row=lambda rows: 0
)
