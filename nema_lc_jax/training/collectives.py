"""How a step reaches the rows of its batch that are on other devices."""

from collections.abc import Callable
from typing import NamedTuple

from nema_lc_jax.memory.types import Array


class Collectives(NamedTuple):
  """Communication between the devices that each compute a part of a batch.

  gather(x [B, ...]) -> [devices * B, ...]
    The rows of all devices.
  total(tree) -> tree
    The sums over devices.
  first_row(B) -> [] i32
    The number of this device's first row in the whole batch.
  """

  gather: Callable
  total: Callable
  first_row: Callable[[int], Array | int]


# The batch is whole, as under jit, where the compiler communicates.
WHOLE_BATCH = Collectives(
  gather=lambda x: x, total=lambda tree: tree, first_row=lambda rows: 0
)
