"""Where the contents of slots came from: a few integers beside the state.

Nothing of the memory depends on them, so they may be kept or left out.
"""

import jax.numpy as jnp
from flax import struct

from nema_lc_jax.memory.types import Allocation, Array

# How an item was lost, in `Provenance.lost`.
NOTHING, REPLACED, FORGOTTEN = range(3)


@struct.dataclass
class Provenance:
  """The chunks that the slots hold, and what was in the slots before.

  H is the number of chunks that are remembered of an item.
  """

  # The chunk whose write began the slot's item, then those that updated it, the
  # newest first; -1: none.
  chunks: Array  # [M, H] i32
  # The ids of these chunks' tokens.
  tokens: Array  # [M, H, T] i32
  # All updates of the item, also those that are not among the chunks.
  updates: Array  # [M] i32
  # Of the item that was there before: the chunk that began it, the chunk in
  # which it was lost, and how; NOTHING: there was none.
  lost: Array  # [M, 3] i32


def no_provenance(
  *, num_slots: int, history: int, chunk_length: int
) -> Provenance:
  """That of an empty memory, with room for `history` (H) chunks of an item.

  Raises:
    ValueError: if history is below 1.
  """
  if history < 1:
    raise ValueError(f"history must be at least 1 chunk, got {history}.")
  M, H, T = num_slots, history, chunk_length
  return Provenance(
    chunks=jnp.full((M, H), -1, jnp.int32),
    tokens=jnp.zeros((M, H, T), jnp.int32),
    updates=jnp.zeros(M, jnp.int32),
    lost=jnp.tile(jnp.array([-1, -1, NOTHING], jnp.int32), (M, 1)),
  )


def track(
  before: Provenance, allocation: Allocation, chunk: Array, tokens: Array
) -> Provenance:
  """The provenance after one step.

  Args:
    before: of the slots before the step.
    allocation: the operations of the step.
    chunk: [] i32, its number.
    tokens: ids of its tokens [T].
  """
  written, update = allocation.source >= 0, allocation.update
  evict, gone = allocation.evict, allocation.evict | allocation.forget
  how = jnp.where(evict, REPLACED, FORGOTTEN)
  loss = jnp.stack(
    [before.chunks[:, 0], jnp.full_like(how, chunk), how], axis=1
  )
  new = written | gone
  kept = jnp.where(new[:, None], -1, before.chunks)
  return Provenance(
    chunks=_added(kept, chunk, written, update),
    tokens=_added(
      jnp.where(new[:, None, None], 0, before.tokens), tokens, written, update
    ),
    updates=jnp.where(new, 0, before.updates + update),
    lost=jnp.where(gone[:, None], loss, before.lost).astype(jnp.int32),
  )


def _added(rows: Array, new: Array, written: Array, update: Array) -> Array:
  """Rows [M, H, ...] with a new entry, first or as the newest update."""
  where = lambda mask, x, y: jnp.where(
    mask.reshape(-1, *[1] * (rows.ndim - 1)), x, y
  )
  new = jnp.broadcast_to(new, rows[:, :1].shape).astype(rows.dtype)
  first = where(written, new, rows[:, :1])
  # With room for one chunk there is none for updates.
  shifted = jnp.concatenate([new, rows[:, 1:-1]], axis=1)[
    :, : rows.shape[1] - 1
  ]
  return jnp.concatenate([first, where(update, shifted, rows[:, 1:])], axis=1)
