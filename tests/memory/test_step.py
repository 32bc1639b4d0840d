"""One battery for every policy: the contract of the step and of the scan."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import (
  BUDGET,
  D,
  K,
  M,
  N,
  T,
  assert_equal,
  assert_same,
  empty,
  lively,
  make_chunks,
  make_states,
  params_of,
  policy_of,
  runner,
)

from nema_lc_jax.memory import memory_step, scan_chunks
from nema_lc_jax.models import POLICIES

KEY = jax.random.key(7)
PADDED = (2,)
WRITING = [name for name in POLICIES if name != "none"]


def step_of(name, *, budget=BUDGET, train=False):
  return functools.partial(
    memory_step, policy=policy_of(name), budget=budget, train=train
  )


def at(chunks, n):
  return jax.tree.map(lambda x: x[n], chunks)


# The budget.


@pytest.mark.parametrize("budget", [1, 2, M + K + 2])
def test_operations_never_exceed_the_budget(policy, budget):
  states = make_states(1, 300)
  chunks = make_chunks(2, num=300)
  keys = jax.random.split(KEY, 300)
  step = jax.vmap(step_of(policy, budget=budget, train=True), (None, 0, 0, 0))
  after, out = jax.jit(step)(lively(policy), keys, states, chunks)
  assert (out.writes + out.updates + out.forgets).max() <= budget
  done = out.allocation
  written = done.source >= 0
  assert not (done.update & (done.forget | written)).any()
  np.testing.assert_array_equal(out.writes, written.sum(-1))
  np.testing.assert_array_equal(out.evictions, done.evict.sum(-1))
  assert (out.evictions <= out.writes).all()
  chex.assert_tree_all_finite(after)
  assert after.alive.min() >= 0
  assert after.alive.max() <= 1


def test_learned_does_all_operations_on_these_states():
  # Otherwise the battery would prove nothing of them.
  step = jax.vmap(step_of("learned", budget=2), (None, 0, 0, 0))
  _, out = jax.jit(step)(
    lively("learned"),
    jax.random.split(KEY, 300),
    make_states(1, 300),
    make_chunks(2, num=300),
  )
  for count in (out.writes, out.updates, out.forgets, out.evictions):
    assert count.sum() > 10


def test_budget_zero_is_no_memory(policy):
  run = runner(policy, budget=0)
  state, out = run(lively(policy), KEY, empty(), make_chunks())
  assert_equal(state, empty())
  for value in (out.read, out.writes, out.updates, out.forgets):
    assert not value.any()


def test_the_policy_none_is_no_memory():
  state, out = runner("none")((), KEY, empty(), make_chunks())
  assert_equal(state, empty())
  assert not out.read.any()
  assert not out.writes.any()


# Types.


def test_the_state_stays_float32_on_bfloat16_chunks(policy, variant):
  chunk = at(make_chunks(dtype=jnp.bfloat16), 0)
  before = make_states(3)
  after, out = variant(step_of(policy))(lively(policy), KEY, before, chunk)
  chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
  assert out.read.dtype == jnp.float32
  chex.assert_shape(out.read, (T, D))
  for count in (out.writes, out.updates, out.forgets, out.evictions):
    chex.assert_type(count, jnp.int32)


# Padding.


def test_a_padded_chunk_is_the_identity_on_the_whole_state(policy, variant):
  chunk = at(make_chunks(4, padded=(0,)), 0)
  assert chunk.candidates.valid.any()
  for seed in range(3):
    before = make_states(seed)
    step = variant(step_of(policy, train=True))
    after, out = step(lively(policy), KEY, before, chunk)
    assert_equal(after, before)
    for value in (
      out.writes, out.updates, out.forgets, out.evictions, out.active,
      out.read, out.attention, out.candidates, out.allocation.update,
      out.allocation.forget, out.allocation.evict, out.allocation.source + 1,
    ):  # fmt: skip
      assert not value.any()


def test_what_padding_holds_changes_nothing(policy):
  chunks = make_chunks(5, padded=PADDED)
  hidden = ~chunks.valid[..., None]
  absent = ~chunks.candidates.valid[..., None]
  other = chunks.replace(
    query=jnp.where(hidden, 1e3, chunks.query),
    candidates=chunks.candidates.replace(
      content=jnp.where(absent, -1e3, chunks.candidates.content)
    ),
  )
  run = runner(policy, train=True)
  params = lively(policy)
  assert_equal(
    run(params, KEY, empty(), chunks), run(params, KEY, empty(), other)
  )


# Causality, by gradient.


@pytest.mark.parametrize("name", WRITING)
def test_a_read_sees_earlier_writes_and_no_others(name):
  chunks = make_chunks(6)
  chunks = chunks.replace(
    candidates=chunks.candidates.replace(valid=jnp.ones((N, K), bool))
  )
  weights = jax.random.normal(KEY, (N, T, D))
  params = params_of(policy_of(name))

  def reads(content):
    candidates = chunks.candidates.replace(content=content)
    _, out = scan_chunks(
      params,
      KEY,
      empty(),
      chunks.replace(candidates=candidates),
      policy=policy_of(name),
      budget=BUDGET,
    )
    return (out.read * weights).sum((1, 2)), out.writes

  slopes, writes = jax.jit(jax.jacrev(reads, has_aux=True))(
    chunks.candidates.content
  )
  slopes = np.abs(slopes).max((2, 3))  # [N reads, N chunks]
  np.testing.assert_array_equal(np.triu(slopes), np.zeros((N, N)))
  assert writes[0] > 0
  assert slopes[1, 0] > 1e-6
  assert np.isfinite(slopes).all()


# The scan.


def test_the_scan_equals_a_python_loop_of_steps(policy, variant):
  chunks = make_chunks(8, padded=PADDED)
  params = lively(policy)
  scanned = runner(policy, train=True)(params, KEY, empty(), chunks)
  step, state, outs = variant(step_of(policy, train=True)), empty(), []
  for n in range(N):
    state, out = step(params, jax.random.fold_in(KEY, n), state, at(chunks, n))
    outs.append(out)
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *outs)
  assert_same((state, stacked), scanned, atol=1e-5)


def test_any_split_of_a_stream_gives_the_same(policy):
  chunks = make_chunks(9, padded=PADDED)
  params = lively(policy)
  run = runner(policy, train=True)
  whole = run(params, KEY, empty(), chunks)
  for length in (1, N // 2):  # chunk by chunk, and in halves
    state, outs = empty(), []
    for start in range(0, N, length):
      part = at(chunks, slice(start, start + length))
      state, out = run(params, KEY, state, part, start)
      outs.append(out)
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *outs)
    assert_same((state, joined), whole, atol=1e-5)


def test_the_number_of_a_step_decides_its_draws():
  chunks = make_chunks(9)
  for policy in ("random", "learned"):
    run = runner(policy, train=True)
    outs = [run(lively(policy), KEY, empty(), chunks, n)[1] for n in range(4)]
    assert len({str(out.allocation.source.tolist()) for out in outs}) > 1


def test_vmap_equals_a_loop_and_permuted_rows_permute_outputs(policy):
  B = 3
  chunks = make_chunks(10, lead=(B,))
  states = make_states(11, B)
  keys = jax.random.split(KEY, B)
  params = lively(policy)
  batched = runner(policy, train=True, batched=True)
  together = batched(params, keys, states, chunks, jnp.zeros(B, jnp.int32))
  run = runner(policy, train=True)
  alone = [run(params, keys[b], at(states, b), at(chunks, b)) for b in range(B)]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *alone)
  assert_same(together, stacked, atol=1e-5)

  order = jnp.array([2, 0, 1])
  keys, states, chunks = jax.tree.map(
    lambda x: x[order], (keys, states, chunks)
  )
  permuted = batched(params, keys, states, chunks, jnp.zeros(B, jnp.int32))
  assert_same(permuted, jax.tree.map(lambda x: x[order], together))


@pytest.mark.parametrize("name", ["random", "write_gate", "learned"])
def test_remat_gives_the_same_values_and_gradients(name):
  chunks = make_chunks(12)

  def loss(params, content, remat):
    candidates = chunks.candidates.replace(content=content)
    _, out = scan_chunks(
      params,
      KEY,
      empty(),
      chunks.replace(candidates=candidates),
      policy=policy_of(name),
      budget=BUDGET,
      train=True,
      remat=remat,
    )
    return (out.read**2).sum()

  slope = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=2)
  arguments = lively(name), chunks.candidates.content
  plain = slope(*arguments, False)
  assert jnp.abs(plain[1][1]).max() > 0
  assert_same(slope(*arguments, True), plain, atol=1e-5)
  # And it does recompute: otherwise this would compare a thing with itself.
  text = str(jax.make_jaxpr(loss, static_argnums=2)(*arguments, True))
  assert "remat" in text or "checkpoint" in text


# Truncation.


def late_slope(truncate, *, length, start=0):
  """|d last read / d first candidate|, with slots for all of the stream."""
  chunks = make_chunks(13, num=length)
  chunks = chunks.replace(
    candidates=chunks.candidates.replace(valid=jnp.ones((length, K), bool)),
    valid=jnp.ones((length, T), bool),
  )
  state = make_states(0, slots=K * N)
  state = jax.tree.map(jnp.zeros_like, state)

  def last(content):
    candidates = chunks.candidates.replace(content=content)
    _, out = scan_chunks(
      (),
      KEY,
      state,
      chunks.replace(candidates=candidates),
      policy=policy_of("fifo"),
      budget=K,
      truncate=truncate,
      start=start,
    )
    return (out.read[-1] ** 2).sum()

  slope = jax.jit(jax.grad(last))(chunks.candidates.content)
  return jnp.abs(slope).max((1, 2))


def test_truncation_cuts_the_gradient_at_its_boundaries_only():
  full = late_slope(None, length=N)
  assert (full[:-1] > 1e-6).all()
  cut = late_slope(4, length=N)  # boundaries before chunks 0 and 4
  np.testing.assert_array_equal(cut[:4], np.zeros(4))
  np.testing.assert_allclose(cut[4:], full[4:], rtol=1e-4)
  within = late_slope(N, length=N)
  np.testing.assert_allclose(within, full, rtol=1e-4)


def test_truncation_counts_steps_from_the_start_of_the_stream():
  # The part begins at step 2: its boundary is before step 4, its third chunk.
  cut = late_slope(4, length=N, start=2)
  assert (cut > 0).tolist() == [False, False, True, True, True, False]


# Errors and contracts.


@pytest.mark.parametrize("truncate", [0, -3])
def test_truncation_below_one_chunk_is_an_error(truncate):
  message = f"truncate must be at least 1 chunk, got {truncate}"
  with pytest.raises(ValueError, match=message):
    scan_chunks(
      (), KEY, empty(), make_chunks(), policy=policy_of("fifo"),
      budget=1, truncate=truncate,
    )  # fmt: skip


def test_a_negative_budget_is_an_error(policy):
  with pytest.raises(ValueError, match="budget must be at least 0, got -2"):
    step_of(policy, budget=-2)(
      params_of(policy_of(policy)), KEY, empty(), at(make_chunks(), 0)
    )


def test_one_trace_serves_all_values(policy):
  @jax.jit
  @chex.assert_max_traces(n=1)
  def run(params, key, state, chunks, start):
    return scan_chunks(
      params, key, state, chunks, policy=policy_of(policy), budget=BUDGET,
      start=start,
    )  # fmt: skip

  params = lively(policy)
  outs = [
    run(
      jax.tree.map(lambda x, n=n: x * (1 + n), params),
      jax.random.key(n),
      make_states(n),
      make_chunks(n),
      n,
    )[1].read
    for n in range(3)
  ]
  assert not np.array_equal(outs[0], outs[1])


def test_parameters_do_not_depend_on_the_number_of_slots(policy):
  few, many = (params_of(policy_of(policy), slots=slots) for slots in (1, 9))
  assert_equal(few, many)


def test_scores_and_outputs_are_pytrees_without_a_hidden_state(policy):
  # The same arguments give the same result, and leave them as they were.
  params, before, chunks = lively(policy), make_states(5), make_chunks(5)
  copy = jax.tree.map(np.array, (params, before))
  run = runner(policy, train=True)
  first = run(params, KEY, before, chunks)
  assert_equal(run(params, KEY, before, chunks), first)
  assert_same((params, before), copy, atol=0)
