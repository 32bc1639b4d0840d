"""What each heuristic replaces: explicit traces and a simulated cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import (
  FRESH_USAGE,
  Candidates,
  Chunk,
  decayed_usage,
  init_state,
  scan_chunks,
)
from nema_lc_jax.models import make_policy
from tests.memory.streams import (
  BUDGET,
  D,
  K,
  M,
  empty,
  make_chunks,
  make_states,
  runner,
)

ITEMS = 8  # one-hot contents: item i is the i-th unit vector
FREE = "-"
HEURISTICS = ("none", "fifo", "lru", "lfu", "random")


@functools.cache
def player(name, slots):
  def play(key, chunks):
    state = init_state(num_slots=slots, width=ITEMS)
    policy = make_policy(name, width=ITEMS)
    return scan_chunks((), key, state, chunks, policy=policy, budget=1)

  return jax.jit(play)


def held(name, trace, *, slots, seed=0):
  """Items in the slots after a trace of (item read, item written).

  None: nothing is written, or the chunk has no valid token.
  """
  one_hot = np.eye(ITEMS, dtype=np.float32)
  reads, writes = zip(*trace, strict=True)
  reads, writes = (
    np.array([[-1 if item is None else item] for item in items])
    for items in (reads, writes)
  )
  chunks = Chunk(
    query=jnp.asarray(20 * one_hot[reads]),
    candidates=Candidates(
      content=jnp.asarray(one_hot[writes]), valid=jnp.asarray(writes >= 0)
    ),
    valid=jnp.asarray(reads >= 0),
  )
  state, _ = player(name, slots)(jax.random.key(seed), chunks)
  return [
    int(item) if alive else FREE
    for item, alive in zip(
      state.content.argmax(-1), state.strength, strict=True
    )
  ]


def replay(name, steps, *, slots):
  """Asserts the slots after every step of (read, written, slots)."""
  for n in range(1, len(steps) + 1):
    trace = [step[:2] for step in steps[:n]]
    # Padded up to one length: one compilation.
    trace += [(None, None)] * (len(steps) - n)
    assert held(name, trace, slots=slots) == steps[n - 1][2], f"step {n - 1}"


def test_fifo_replaces_the_oldest_whatever_is_read():
  replay(
    "fifo",
    [
      (0, 0, [0, FREE]),
      (0, 1, [0, 1]),
      (0, 2, [2, 1]),
      (1, None, [2, 1]),
      (1, 3, [2, 3]),
      (None, 4, [2, 3]),  # padding: nothing happens
      (2, 4, [4, 3]),
    ],
    slots=2,
  )


def test_lru_replaces_the_least_recently_read_or_written():
  replay(
    "lru",
    [
      (7, 0, [0, FREE, FREE]),
      (0, 1, [0, 1, FREE]),
      (0, 2, [0, 1, 2]),
      # 0 was read in the step that wrote 2, before that write.
      (1, 3, [3, 1, 2]),
      (1, 4, [3, 1, 4]),
      (4, 5, [5, 1, 4]),
      (None, 6, [5, 1, 4]),  # padding: nothing happens, no time passes
      (4, 6, [5, 6, 4]),
      (5, None, [5, 6, 4]),
      (5, 7, [5, 6, 7]),
    ],
    slots=3,
  )


# 0 is read more often, 1 more recently.
OFTEN = [(7, 0), (0, 1), (0, None), (0, None), (1, None), (1, 2)]


@pytest.mark.parametrize(
  ("name", "after"), [("lfu", [0, 2]), ("lru", [2, 1]), ("fifo", [2, 1])]
)
def test_lfu_replaces_the_less_often_read(name, after):
  assert held(name, OFTEN, slots=2) == after


def test_none_never_holds_anything():
  assert held("none", OFTEN, slots=2) == [FREE, FREE]


def test_random_is_the_same_for_the_same_key_and_reaches_every_slot():
  trace = [(0, item) for item in range(5)]
  draws = [held("random", trace, slots=4, seed=seed) for seed in range(20)]
  again = [held("random", trace, slots=4, seed=seed) for seed in range(3)]
  assert again == draws[:3]
  assert {slots.index(4) for slots in draws} == {0, 1, 2, 3}


def simulate(chunks, victim_order):
  """A cache in plain Python: the candidate in each slot after every step.

  `victim_order(slot)` sorts the slots: the first is replaced first.
  """
  query, content, offered, valid = jax.tree.map(
    np.asarray,
    (
      chunks.query,
      chunks.candidates.content,
      chunks.candidates.valid,
      chunks.valid,
    ),
  )
  slots, sources = [None] * M, []
  for n in range(len(valid)):
    source = [-1] * M
    if valid[n].any():
      for t in range(valid.shape[1]):
        live = [m for m in range(M) if slots[m]]
        if valid[n, t] and live:
          top = max(live, key=lambda m: query[n, t] @ slots[m]["content"])
          slots[top]["access"] = 2 * n  # reads come before writes
      for k in [k for k in range(K) if offered[n, k]][:BUDGET]:
        places = [m for m in range(M) if source[m] < 0]
        places.sort(key=lambda m: victim_order(slots[m]) if slots[m] else -1)
        slots[places[0]] = {
          "content": content[n, k],
          "access": 2 * n + 1,
          "written": n,
        }
        source[places[0]] = k
    sources.append(source)
  return sources


@pytest.mark.parametrize(
  ("name", "order"), [("lru", "access"), ("fifo", "written")]
)
def test_random_streams_equal_a_simulated_cache(name, order):
  chunks = make_chunks(3, num=200, padded=range(5, 200, 17))
  chunks = chunks.replace(age_bias=None)
  _, out = runner(name, train=True)((), jax.random.key(0), empty(), chunks)
  expected = simulate(chunks, lambda slot: slot[order])
  assert out.allocation.source.tolist() == expected
  assert out.evictions.sum() > 100


def test_usage_decays_and_adds_the_mean_mass_over_valid_tokens():
  state = make_states(0).replace(usage=jnp.array([1.0, 2.0, 0.0]))
  mass = jnp.array([[0.5, 0.1, 0.0], [0.1, 0.3, 0.0], [9.0, 9.0, 9.0]])
  valid = jnp.array([True, True, False])
  np.testing.assert_allclose(
    decayed_usage(state, mass, valid), [0.9 + 0.3, 1.8 + 0.2, 0.0], rtol=1e-6
  )
  nothing = decayed_usage(state, mass, jnp.zeros(3, bool))
  np.testing.assert_allclose(nothing, [0.9, 1.8, 0.0], rtol=1e-6)


def test_a_fresh_write_starts_at_the_stated_usage_and_free_slots_at_zero():
  chunks = make_chunks(num=1)
  chunks = chunks.replace(
    candidates=chunks.candidates.replace(valid=jnp.ones((1, K), bool))
  )
  state, _ = runner("fifo", train=True)((), jax.random.key(0), empty(), chunks)
  assert state.usage.tolist() == [FRESH_USAGE] * K + [0.0] * (M - K)


@pytest.mark.parametrize(
  "name", [name for name in HEURISTICS if name != "none"]
)
def test_heuristics_write_every_valid_candidate_the_budget_allows(name):
  chunks = make_chunks(1, num=50)
  offered = chunks.candidates.valid.sum(-1)
  run = runner(name, budget=1)
  _, out = run((), jax.random.key(0), empty(), chunks)
  np.testing.assert_array_equal(out.writes, np.minimum(offered, 1))
  assert not out.updates.any()
  assert not out.forgets.any()
  np.testing.assert_array_equal(out.strength, out.alive.astype(np.float32))


@pytest.mark.parametrize("name", HEURISTICS)
def test_heuristics_have_no_parameters(name):
  policy = make_policy(name, width=D)
  assert policy.init(jax.random.key(0), num_slots=2, num_candidates=1) == ()
