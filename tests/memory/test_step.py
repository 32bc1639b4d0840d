"""One battery for every policy: the contract of the step and of the scan."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import scan_chunks
from nema_lc_jax.models import POLICIES
from tests.memory.streams import (
  BUDGET,
  D,
  K,
  M,
  N,
  T,
  assert_equal,
  assert_same,
  at,
  empty,
  lively,
  make_chunks,
  make_states,
  params_of,
  policy_of,
  runner,
  stack,
  step_of,
)

KEY = jax.random.key(7)
PADDED = (2,)
ROWS = 300

either = pytest.mark.parametrize("how", ["jit", "eager"])


def everyone_offers(chunks):
  valid = jnp.ones_like(chunks.candidates.valid)
  return chunks.replace(candidates=chunks.candidates.replace(valid=valid))


def rows():
  """Keys, states and chunks of many unrelated steps, padded ones among them."""
  keys = jax.random.split(KEY, ROWS)
  return keys, make_states(1, ROWS), make_chunks(2, num=ROWS, padded=(3, 8))


# The budget.


def assert_within_budget(after, out, budget):
  assert (out.writes + out.updates + out.forgets).max() <= budget
  done = out.allocation
  written = done.source >= 0
  assert not (done.update & (done.forget | written)).any()
  np.testing.assert_array_equal(out.writes, done.write.sum(-1))
  np.testing.assert_array_equal(out.updates, done.update.sum(-1))
  np.testing.assert_array_equal(out.forgets, done.forget.sum(-1))
  evicted = done.evict & done.write
  np.testing.assert_array_equal(out.evictions, evicted.sum(-1))
  assert not (done.evict & ~written).any()
  chex.assert_tree_all_finite(after)
  assert after.strength.min() >= 0
  assert after.strength.max() <= 1


def test_operations_never_exceed_the_budget(policy):
  after, out = step_of(policy, "vmap")(lively(policy), *rows())
  assert_within_budget(after, out, BUDGET)


@pytest.mark.parametrize("budget", [1, M + K + 2])
def test_the_learned_policy_keeps_any_budget(budget):
  step = step_of("learned", "vmap", budget=budget)
  assert_within_budget(*step(lively("learned"), *rows()), budget)


def test_learned_does_all_operations_on_these_states():
  # Otherwise the battery would prove nothing of them.
  _, out = step_of("learned", "vmap")(lively("learned"), *rows())
  for count in (out.writes, out.updates, out.forgets, out.evictions):
    assert count.sum() > 5


def test_budget_zero_is_no_memory(policy):
  step, state, chunks = step_of(policy, budget=0), empty(), make_chunks()
  for n in range(2):
    state, out = step(lively(policy), KEY, state, at(chunks, n))
    assert_equal(state, empty())
    for value in (out.read, out.writes, out.updates, out.forgets):
      assert not value.any()


def test_the_policy_none_is_no_memory():
  state, out = runner("none", train=True)((), KEY, empty(), make_chunks())
  assert_equal(state, empty())
  for value in (out.read, out.writes, out.updates, out.forgets):
    assert not value.any()


# Types.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_types_and_shapes_are_stable_whatever_the_chunks_are(policy, dtype):
  chunk, before = at(make_chunks(dtype=dtype), 0), empty()
  after, out = jax.eval_shape(
    step_of(policy), lively(policy), KEY, before, chunk
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
  # Not even weak types: another one would be another trace.
  assert [x.weak_type for x in jax.tree.leaves(after)] == [False] * 4
  assert (out.read.shape, out.read.dtype) == ((T, D), jnp.float32)
  for count in (out.writes, out.updates, out.forgets, out.evictions):
    assert (count.shape, count.dtype) == ((), jnp.int32)


def test_bfloat16_chunks_are_stored_and_read_as_they_are():
  chunks = make_chunks(0, dtype=jnp.bfloat16)
  widened = make_chunks(0, dtype=jnp.bfloat16)
  widened = jax.tree.map(
    lambda x: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x, widened
  )
  run = runner("fifo", train=True)
  got = run((), KEY, empty(), chunks)
  assert got[0].content.any()
  assert_same(got, run((), KEY, empty(), widened))


# Padding.


@either
def test_a_padded_chunk_is_the_identity_on_the_whole_state(policy, how):
  chunk = at(everyone_offers(make_chunks(4, padded=(0,))), 0)
  for seed in range(3):
    before = make_states(seed)
    after, out = step_of(policy, how)(lively(policy), KEY, before, chunk)
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
  run, params = runner(policy, train=True), lively(policy)
  state, out = run(params, KEY, empty(), chunks)
  other_state, other_out = run(params, KEY, empty(), other)
  assert_equal(other_state, state)
  assert_equal(other_out.read, out.read)
  assert_equal(other_out.allocation, out.allocation)


# Causality, by gradient.


def test_a_read_sees_earlier_writes_and_no_others(policy):
  chunks = everyone_offers(make_chunks(6))
  weights = jax.random.normal(KEY, (T, D))
  params = params_of(policy_of(policy))

  def read(content, n):
    candidates = chunks.candidates.replace(content=content)
    _, out = scan_chunks(
      params,
      KEY,
      empty(),
      chunks.replace(candidates=candidates),
      policy=policy_of(policy),
      budget=BUDGET,
    )
    return (out.read[n] * weights).sum(), out.writes

  slope = jax.jit(jax.grad(read, has_aux=True))
  slopes = []
  for n in range(N):
    gradient, writes = slope(chunks.candidates.content, n)
    slopes.append(np.abs(gradient).max((1, 2)))
  slopes = np.stack(slopes)  # [reads, chunks]
  assert np.isfinite(slopes).all()
  np.testing.assert_array_equal(np.triu(slopes), np.zeros((N, N)))
  if policy in POLICIES:
    assert (writes[0] > 0) == (policy != "none")
  if writes[0]:
    assert slopes[1, 0] > 1e-6


# The scan.


def loop(policy, how, params, state, chunks):
  """What scan_chunks should do, with a Python loop."""
  outs = []
  for n in range(len(chunks.valid)):
    key = jax.random.fold_in(KEY, n)
    state, out = step_of(policy, how)(params, key, state, at(chunks, n))
    outs.append(out)
  return state, stack(outs)


@either
def test_the_scan_equals_a_python_loop_of_steps(policy, how):
  chunks, params = make_chunks(8, padded=PADDED), lively(policy)
  scanned = runner(policy, train=True)(params, KEY, empty(), chunks)
  looped = loop(policy, how, params, empty(), chunks)
  assert_same(looped, scanned, atol=1e-5)


def split_in(policy, lengths, chunks):
  """The stream run in parts of so many chunks."""
  run, state, outs, start = runner(policy, train=True), empty(), [], 0
  for length in lengths:
    part = at(chunks, slice(start, start + length))
    state, out = run(lively(policy), KEY, state, part, start)
    outs.append(out)
    start += length
  return state, jax.tree.map(lambda *x: jnp.concatenate(x), *outs)


def test_a_stream_in_parts_equals_one_loop_over_it(policy):
  chunks = make_chunks(9, num=3 * N, padded=(2, N, 2 * N - 1))
  looped = loop(policy, "jit", lively(policy), empty(), chunks)
  assert looped[1].active.sum() == 3 * N - 3
  assert_same(split_in(policy, [N] * 3, chunks), looped, atol=1e-5)


@pytest.mark.parametrize("name", ["random", "learned"])
def test_any_split_of_a_stream_gives_the_same(name):
  chunks = make_chunks(9, num=N, padded=PADDED)
  whole = split_in(name, [N], chunks)
  for lengths in ([1] * N, [1, N - 1], [N - 1, 1]):
    assert_same(split_in(name, lengths, chunks), whole, atol=1e-5)


@pytest.mark.parametrize("name", ["random", "learned"])
def test_the_number_of_a_step_decides_its_draws(name):
  run, chunks = runner(name, train=True), make_chunks(9, num=30)
  # At the start candidates score alike, so that the noise decides.
  params = params_of(policy_of(name))
  outs = [run(params, KEY, empty(), chunks, n)[1] for n in range(8)]
  assert len({str(out.allocation.source.tolist()) for out in outs}) == 8


def test_vmap_equals_single_steps_and_permuted_rows_permute_outputs(policy):
  params, arguments = lively(policy), rows()
  together = step_of(policy, "vmap")(params, *arguments)
  few = range(20)
  alone = [step_of(policy, "jit")(params, *at(arguments, b)) for b in few]
  assert_same(stack(alone), at(together, slice(0, 20)), atol=1e-5)

  order = np.random.default_rng(0).permutation(ROWS)
  permuted = step_of(policy, "vmap")(params, *at(arguments, order))
  assert_same(permuted, at(together, order))


def test_remat_gives_the_same_values_and_gradients():
  name, chunks = "learned", make_chunks(12)

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
  # And it is another program: this does not compare a thing with itself.
  for remat in (False, True):
    program = str(jax.make_jaxpr(loss, static_argnums=2)(*arguments, remat))
    assert ("prevent_cse=False" in program) == remat


# Truncation.


def late_slopes(bptt_chunks, *, start=0):
  """|d last read / d candidates of chunk n|; nothing is ever evicted."""
  chunks = everyone_offers(make_chunks(13))
  chunks = chunks.replace(valid=jnp.ones((N, T), bool))
  state = jax.tree.map(jnp.zeros_like, make_states(0, slots=K * N))

  def last(content):
    candidates = chunks.candidates.replace(content=content)
    _, out = scan_chunks(
      (),
      KEY,
      state,
      chunks.replace(candidates=candidates),
      policy=policy_of("fifo"),
      budget=K,
      bptt_chunks=bptt_chunks,
      start=start,
    )
    return (out.read[-1] ** 2).sum()

  slope = jax.jit(jax.grad(last))(chunks.candidates.content)
  return jnp.abs(slope).max((1, 2))


def test_truncation_cuts_the_gradient_at_its_boundaries_only():
  full = late_slopes(None)
  assert (full[:-1] > 1e-6).all()
  cut = late_slopes(4)  # boundaries before chunks 0 and 4
  np.testing.assert_array_equal(cut[:4], np.zeros(4))
  np.testing.assert_allclose(cut[4:], full[4:], rtol=1e-4)
  np.testing.assert_allclose(late_slopes(N), full, rtol=1e-4)


def test_truncation_counts_steps_from_the_start_of_the_stream():
  # The part begins at step 2: its boundary is before step 4, its third chunk.
  cut = late_slopes(4, start=2)
  assert (cut > 0).tolist() == [False, False, True, True, True, False]


@pytest.mark.parametrize("bptt_chunks", [0, -3])
def test_truncation_below_one_chunk_is_an_error(bptt_chunks):
  message = f"bptt_chunks must be at least 1 chunk, got {bptt_chunks}"
  options = {
    "policy": policy_of("fifo"),
    "budget": 1,
    "bptt_chunks": bptt_chunks,
  }
  with pytest.raises(ValueError, match=message):
    scan_chunks((), KEY, empty(), make_chunks(), **options)


# Contracts.


def test_a_negative_budget_is_an_error(policy):
  arguments = lively(policy), KEY, empty(), at(make_chunks(), 0)
  with pytest.raises(ValueError, match="budget must be at least 0, got -2"):
    step_of(policy, budget=-2)(*arguments)


def test_one_trace_serves_all_values(policy):
  run, params = runner(policy, train=True), lively(policy)
  run(params, KEY, empty(), make_chunks())
  before, reads = len(run.traces), []
  for n in range(1, 4):
    scaled = jax.tree.map(lambda x, n=n: x * n, params)
    chunks = make_chunks(n, padded=(n,))
    _, out = run(scaled, jax.random.key(n), make_states(n), chunks, n)
    reads.append(out.read)
  assert len(run.traces) == before
  assert not np.array_equal(reads[0], reads[1])


def test_the_state_of_a_step_traces_like_the_empty_one():
  chex.clear_trace_counter()

  @jax.jit
  @chex.assert_max_traces(n=1)
  def step(state, chunk):
    return step_of("lru")((), KEY, state, chunk)[0]

  state = empty()
  for n in range(3):
    state = step(state, at(make_chunks(n), 0))
  assert state.strength.any()


def test_parameters_do_not_depend_on_the_number_of_slots(policy):
  few, many = (params_of(policy_of(policy), slots=slots) for slots in (1, 9))
  assert_equal(few, many)


def test_equal_arguments_give_equal_results_and_stay_as_they_were(policy):
  params, before, chunks = lively(policy), make_states(5), make_chunks(5)
  copy = jax.tree.map(np.array, (params, before))
  run = runner(policy, train=True)
  first = run(params, KEY, before, chunks)
  assert_equal(run(params, KEY, before, chunks), first)
  assert_same((params, before), copy, atol=0)
