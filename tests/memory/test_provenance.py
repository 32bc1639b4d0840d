"""Provenance against a plain loop over random streams."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import no_provenance, scan_chunks, track
from nema_lc_jax.memory.provenance import FORGOTTEN, NOTHING, REPLACED
from tests.memory.streams import M, empty, lively, make_chunks, policy_of

STEPS, H, WORDS = 40, 3, 5
same = np.testing.assert_array_equal


@functools.cache
def stream_of(name):
  chunks = make_chunks(4, num=STEPS)
  _, steps = jax.jit(
    lambda chunks: scan_chunks(
      lively(name), jax.random.key(0), empty(), chunks,
      policy=policy_of(name), budget=2,
    )
  )(chunks)  # fmt: skip
  return jax.device_get(steps.allocation)


def tokens_of(chunk):
  return np.arange(WORDS) + 100 * chunk


def expected_after_each(allocation):
  """By step, for each slot: chunks, the number of updates, and what it lost."""
  slots, updates = {}, {}
  lost = dict.fromkeys(range(M), (-1, -1, NOTHING))
  for n in range(STEPS):
    for m in range(M):
      if allocation.forget[n, m] or allocation.evict[n, m]:
        how = REPLACED if allocation.evict[n, m] else FORGOTTEN
        lost[m] = (slots.pop(m)[0], n, how)
      if allocation.source[n, m] >= 0:
        slots[m], updates[m] = [n], 0
      if allocation.update_source[n, m] >= 0:
        slots[m].insert(1, n)
        updates[m] += 1
    yield slots, updates, lost


@pytest.mark.parametrize("name", ["learned", "fifo", "random"])
@pytest.mark.parametrize("history", [1, 2, H])
def test_chunks_updates_and_losses_are_those_of_a_loop(name, history):
  allocation = stream_of(name)
  found = no_provenance(num_slots=M, history=history, chunk_length=WORDS)
  step, most = jax.jit(track), 0
  for n, expected in enumerate(expected_after_each(allocation)):
    slots, updates, lost = expected
    one = jax.tree.map(lambda x, n=n: x[n], allocation)
    found = step(found, one, jnp.int32(n), jnp.asarray(tokens_of(n)))
    for m in range(M):
      held = slots.get(m, [])[:history]
      same(found.chunks[m], held + [-1] * (history - len(held)))
      rows = [tokens_of(n) for n in held]
      same(found.tokens[m], rows + [[0] * WORDS] * (history - len(held)))
      assert int(found.updates[m]) == (updates[m] if m in slots else 0)
      assert tuple(found.lost[m].tolist()) == lost[m]
      most = max(most, int(found.updates[m]))
  assert {how for *_, how in lost.values()} != {NOTHING}
  if name == "learned":
    assert allocation.forget.any()
    assert most > 2


def test_a_history_needs_room_for_a_chunk():
  with pytest.raises(ValueError, match="at least 1 chunk, got 0"):
    no_provenance(num_slots=2, history=0, chunk_length=4)
