"""The allocator against an independent oracle, and rule by rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nema_lc_jax.memory import (
  STRENGTH_FLOOR,
  Allocation,
  Candidates,
  MemoryState,
  Scores,
  Updates,
  allocate,
)
from tests.memory import oracle

INF, NAN = np.inf, np.nan
FIELDS = ("update_source", "forget", "source", "evict")
# (M, K) and the budgets tried with it: every one from nothing to too much for
# two shapes, and the ends for the others (each is a compilation).
GRID = [(2, 3, budget) for budget in range(8)]
GRID += [(1, 1, budget) for budget in range(5)]
GRID += [(1, 3, 2), (3, 1, 2), (2, 5, 6), (4, 3, 1), (4, 3, 4), (4, 3, 9)]
ODD = [0.0, -0.0, 0.5, 0.5, 1.0, -1.0, INF, -INF, NAN]


def run(
  actions,
  write,
  strength,
  keep,
  alive,
  valid,
  slot=None,
  prob=None,
  *,
  budget,
  relaxation="none",
):
  """`allocate` on bare arrays, as a tuple of its four fields."""
  M, K = alive.shape[0], valid.shape[0]
  state = MemoryState(
    content=jnp.zeros((M, 1)),
    age=jnp.zeros(M, jnp.int32),
    usage=jnp.zeros(M),
    strength=alive,
  )
  updates = None
  if slot is not None:
    updates = Updates(
      slot=slot,
      prob=prob,
      content=jnp.zeros((M, K, 1)),
      strength=jnp.ones((M, K)),
      stored=jnp.ones(K),
      relaxation=relaxation,
    )
  scores = Scores(
    action_probs=actions,
    write_priority=write,
    write_strength=strength,
    retention_priority=keep,
    updates=updates,
  )
  candidates = Candidates(content=jnp.zeros((K, 1)), valid=valid)
  done = allocate(scores, state, candidates, budget=budget)
  return tuple(getattr(done, field) for field in FIELDS)


@functools.cache
def compiled(budget, *, batched, **options):
  function = functools.partial(run, budget=budget, **options)
  return jax.jit(jax.vmap(function) if batched else function)


def random_cases(seed, cases, M, K):
  """Half tame, half hostile; few distinct numbers, so equals abound."""
  rng = np.random.default_rng(seed)

  def scores(*shape):
    tame = rng.uniform(0, 1, shape).round(1)
    odd = rng.choice(ODD, shape)
    hostile = rng.random((cases, *[1] * (len(shape) - 1))) < 0.5
    return np.where(hostile, odd, tame).astype(np.float32)

  floor = np.float32(STRENGTH_FLOOR)
  levels = [0, floor / 2, floor, np.nextafter(floor, np.float32(1)), 0.5, 1, 1]
  strength = rng.choice([0.3, 1, 1, 1, 0, NAN], (cases, K))
  return (
    scores(cases, M, 3),
    scores(cases, K),
    strength.astype(np.float32),
    scores(cases, M),
    rng.choice(levels, (cases, M)).astype(np.float32),
    rng.random((cases, K)) < 0.8,
    rng.integers(-2, M + 2, (cases, K)).astype(np.int32),
    rng.choice([0, 0.3, 1, 1, 1, NAN], (cases, M, K)).astype(np.float32),
  )


def assert_oracle(cases, found, budget, **options):
  for i in range(len(cases[0])):
    case = [array[i] for array in cases]
    expected = oracle.allocate(*case, budget=budget, **options)
    for field, want, got in zip(FIELDS, expected, found, strict=True):
      assert want.tolist() == got[i].tolist(), (field, case)


@pytest.mark.parametrize(("M", "K", "budget"), GRID)
def test_equals_the_oracle_on_hostile_cases(M, K, budget):
  cases = random_cases(100 * M + 10 * K + budget, 600, M, K)
  found = jax.device_get(compiled(budget, batched=True)(*cases))
  assert_oracle(cases, found, budget)


def test_equals_the_oracle_without_jit():
  cases = random_cases(0, 200, 4, 3)
  function = jax.vmap(functools.partial(run, budget=3))
  assert_oracle(cases, jax.device_get(function(*cases)), 3)


@pytest.mark.parametrize(
  ("M", "K", "budget"), [(2, 3, 2), (4, 3, 4), (4, 5, 3)]
)
def test_soft_updates_are_written_too_beside_the_budget(M, K, budget):
  cases = random_cases(M + K, 600, M, K)
  function = compiled(budget, batched=True, relaxation="soft")
  found = jax.device_get(function(*cases))
  assert_oracle(cases, found, budget, copies=True)
  done = Allocation(**dict(zip(FIELDS, found, strict=True)))
  operations = done.update | done.forget
  assert (operations.sum(1) + done.write.sum(1)).max() == budget
  copied = (done.source >= 0) & ~done.write
  assert copied.any(1).sum() > 10
  # The updates themselves are those without a relaxation.
  hard = compiled(budget, batched=True)(*cases)
  np.testing.assert_array_equal(done.update_source, hard[0])


def test_the_random_cases_contain_every_outcome():
  cases = random_cases(1, 400, 4, 3)
  done = [
    oracle.allocate(*[array[i] for array in cases], budget=3)
    for i in range(400)
  ]
  update, forget, source, evict = (np.array(x) for x in zip(*done, strict=True))
  written = source >= 0
  for outcome in (update >= 0, forget, written, evict, forget & written):
    assert outcome.any(1).sum() > 10


def test_without_updates_all_candidates_are_written():
  *cases, slot, prob = random_cases(2, 200, 4, 3)
  none = np.full_like(slot, -1), prob
  for i in range(200):
    case = [array[i] for array in cases]
    expected = oracle.allocate(*case, none[0][i], prob[i], budget=3)
    found = compiled(3, batched=False)(*case)
    for want, got in zip(expected, found, strict=True):
      np.testing.assert_array_equal(got, want)


numbers = st.sampled_from(ODD) | st.floats(width=32, allow_subnormal=False)
levels = st.sampled_from([0.0, STRENGTH_FLOOR, 0.5]) | st.floats(
  0, 1, width=32, allow_subnormal=False
)


def array_of(elements, *shape, dtype=np.float32):
  size = int(np.prod(shape))
  return st.lists(elements, min_size=size, max_size=size).map(
    lambda values: np.array(values, dtype).reshape(shape)
  )


cases_of_three = st.tuples(
  array_of(numbers, 3, 3),
  array_of(numbers, 3),
  array_of(levels, 3),
  array_of(numbers, 3),
  array_of(levels, 3),
  array_of(st.booleans(), 3, dtype=bool),
  array_of(st.integers(-2, 4), 3, dtype=np.int32),
  array_of(numbers, 3, 3),
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(case=cases_of_three, budget=st.sampled_from([1, 2, 4, 8]))
@example(
  case=(
    np.full((3, 3), NAN, np.float32),
    np.full(3, NAN, np.float32),
    np.ones(3, np.float32),
    np.full(3, NAN, np.float32),
    np.ones(3, np.float32),
    np.ones(3, bool),
    np.zeros(3, np.int32),
    np.full((3, 3), NAN, np.float32),
  ),
  budget=8,
)
def test_oracle_and_invariants_hold_on_anything(case, budget):
  found = jax.device_get(compiled(budget, batched=False)(*case))
  expected = oracle.allocate(*case, budget=budget)
  for field, want, got in zip(FIELDS, expected, found, strict=True):
    np.testing.assert_array_equal(got, want, err_msg=field)
  assert_invariants(found, case, budget)


def assert_invariants(found, case, budget):
  update, forget, source, evict = found
  updated, written, live = update >= 0, source >= 0, case[4] > 0
  assert updated.sum() + forget.sum() + written.sum() <= budget
  assert not (updated & (forget | written)).any()
  assert not ((updated | forget) & ~live).any()
  # No candidate does two things, and an update is of the slot it is about.
  stored = [*source[written], *update[updated]]
  assert len(set(stored)) == len(stored)
  assert case[5][stored].all()
  np.testing.assert_array_equal(
    case[6][update[updated]], np.flatnonzero(updated)
  )
  np.testing.assert_array_equal(evict, written & live & ~forget)


# Rule by rule, on three live slots and two candidates unless said otherwise.
RETAIN, FORGET = [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]
NO = [-1] * 3
NONE = [False] * 3


def decide(actions, write, *, keep=(9, 9, 9), alive=(1, 1, 1), **options):
  """update, forget, source, evict as lists."""
  count = len(write)
  strength = options.pop("strength", [1.0] * count)
  valid = options.pop("valid", [True] * count)
  slot = options.pop("slot", [-1] * count)
  prob = options.pop("prob", [[1.0] * count] * 3)
  numbers = [
    np.asarray(x, np.float32) for x in (actions, write, strength, keep, alive)
  ]
  done = compiled(options["budget"], batched=False)(
    *numbers,
    np.array(valid),
    np.array(slot, np.int32),
    np.asarray(prob, np.float32),
  )
  return [x.tolist() for x in done]


def test_a_slot_is_forgotten_if_that_is_its_most_probable_action():
  got = decide([RETAIN, [0.1, 0.8, 0.1], FORGET], [-INF, -INF], budget=9)
  assert got == [NO, [False, False, True], NO, NONE]


def test_equally_probable_actions_go_to_the_gentler_one():
  actions = [[0.5, 0, 0.5], [0, 0.5, 0.5], [0.4, 0, 0.6]]
  got = decide(actions, [-INF, -INF], budget=9)
  assert got == [NO, [False, False, True], NO, NONE]


def test_a_candidate_updates_the_slot_it_is_about_and_is_not_written():
  got = decide([RETAIN] * 3, [0.5, 0.6], slot=[2, -1], keep=[0] * 3, budget=9)
  assert got == [[-1, -1, 0], NONE, [1, -1, -1], [True, False, False]]


def test_the_best_candidate_for_a_slot_updates_it_and_the_other_is_dropped():
  for write, best in (([0.5, 0.6], 1), ([0.6, 0.5], 0), ([0.5, 0.5], 0)):
    got = decide([RETAIN] * 3, write, slot=[1, 1], alive=[0, 1, 0], budget=9)
    assert got == [[-1, best, -1], NONE, NO, NONE]


def test_a_dropped_candidate_costs_no_budget():
  options = {"slot": [1, 1], "alive": [0, 1, 1], "budget": 2}
  got = decide([RETAIN, RETAIN, FORGET], [0.9, 0.85], **options)
  assert got == [[-1, 0, -1], [False, False, True], NO, NONE]


@pytest.mark.parametrize("bad", ["free", "too large", "below -1", "prob 0"])
def test_without_a_slot_to_update_a_candidate_is_written(bad):
  slot = {"free": 0, "too large": 3, "below -1": -2, "prob 0": 1}[bad]
  prob = [[1.0], [0.0], [1.0]]
  got = decide(
    [RETAIN] * 3, [0.5], slot=[slot], prob=prob, alive=[0, 1, 1], budget=9
  )
  assert got == [NO, NONE, [0, -1, -1], NONE]


def test_a_slot_that_a_candidate_is_about_is_not_forgotten():
  options = {"slot": [1, -1], "alive": [1, STRENGTH_FLOOR, 1]}
  got = decide([RETAIN, FORGET, FORGET], [0.2, -INF], budget=9, **options)
  assert got == [[-1, 0, -1], [False, False, True], NO, NONE]
  # Not even if the budget is spent before the update.
  got = decide([RETAIN, FORGET, FORGET], [0.2, -INF], budget=1, **options)
  assert got == [NO, [False, False, True], NO, NONE]


def test_the_budget_goes_to_the_highest_utility():
  actions = [RETAIN, [0, 0.1, 0.9], RETAIN]
  got = decide(actions, [0.85, 0.7], slot=[-1, 0], budget=2)
  # The forget (0.9) and the write (0.85), which takes the freed slot.
  assert got == [NO, [False, True, False], [-1, 0, -1], NONE]


def test_equal_utilities_favour_slots_then_lower_indices():
  got = decide([FORGET] * 3, [0.8, 0.8], slot=[0, 0], budget=3)
  assert got == [[0, -1, -1], [False, True, True], NO, NONE]
  got = decide([FORGET] * 3, [0.8, 0.8], budget=2)
  assert got == [NO, [True, True, False], NO, NONE]
  got = decide([RETAIN] * 3, [0.8, 0.8], slot=[2, 1], budget=1)
  assert got == [[-1, -1, 0], NONE, NO, NONE]


def test_a_slot_at_the_floor_asks_to_be_forgotten():
  alive = [STRENGTH_FLOOR, 1, 1]
  got = decide([RETAIN] * 3, [-INF, -INF], alive=alive, budget=1)
  assert got == [NO, [True, False, False], NO, NONE]
  # Its utility is its probability of being forgotten: a louder wish wins.
  got = decide([RETAIN, FORGET, RETAIN], [-INF] * 2, alive=alive, budget=1)
  assert got == [NO, [False, True, False], NO, NONE]


def test_free_slots_ask_for_nothing_and_are_filled_first():
  got = decide([FORGET] * 3, [1, 1], alive=[0.5, 0, 0], budget=2)
  assert got == [NO, NONE, [-1, 0, 1], NONE]


def test_the_best_write_takes_the_lowest_free_slot():
  got = decide([RETAIN] * 3, [0.3, 0.6], alive=[1, 0, 0], budget=2)
  assert got == [NO, NONE, [-1, 1, 0], NONE]


def test_writes_replace_the_lowest_keep_and_are_evictions():
  got = decide([RETAIN] * 3, [0.5, 0.6], keep=[0.4, 0.1, 0.2], budget=2)
  assert got == [NO, NONE, [-1, 1, 0], [False, True, True]]


def test_a_write_must_strictly_beat_the_keep():
  got = decide([RETAIN] * 3, [0.5, 0.5], keep=[0.5, 0.5, 0.5], budget=2)
  assert got == [NO, NONE, NO, NONE]
  got = decide([RETAIN] * 3, [INF, INF], keep=[INF, INF, 1], budget=2)
  assert got == [NO, NONE, [-1, -1, 0], [False, False, True]]


def test_a_dropped_write_leaves_its_budget_unused():
  # The write is chosen before the update, lands nowhere, and costs it.
  got = decide([RETAIN] * 3, [0.9, 0.8], keep=[1] * 3, slot=[-1, 0], budget=1)
  assert got == [NO, NONE, NO, NONE]


def test_updated_slots_are_not_replaced():
  got = decide([RETAIN] * 3, [1, 1], slot=[0, -1], keep=[0, 0.5, 1], budget=4)
  assert got == [[0, -1, -1], NONE, [-1, 1, -1], [False, True, False]]
  one = {"alive": [1, 0, 0], "keep": [0] * 3, "budget": 9}
  got = decide([RETAIN] * 3, [1, 1, 1, 1], slot=[0, -1, -1, -1], **one,
               prob=[[1] * 4] * 3)  # fmt: skip
  assert got == [[0, -1, -1], NONE, [-1, 1, 2], NONE]


def test_a_slot_whose_wish_was_not_granted_may_be_replaced():
  got = decide(
    [FORGET] * 3, [0.9, 0.7], slot=[-1, 1], keep=[0.3, 0.2, 0.3], budget=1
  )
  assert got == [NO, NONE, [-1, 0, -1], [False, True, False]]


def test_minus_infinity_and_nan_never_execute():
  actions = [[-INF] * 3, [NAN] * 3, [0.1, NAN, 0.2]]
  got = decide(actions, [NAN, -INF], keep=[NAN] * 3, slot=[0, 1], budget=9)
  assert got == [NO, [False, False, True], NO, NONE]


def test_a_keep_of_nan_is_beaten_by_any_write():
  got = decide([RETAIN] * 3, [-1e30, -INF], keep=[0, NAN, 0], budget=1)
  assert got == [NO, NONE, [-1, 0, -1], [False, True, False]]


def test_invalid_and_strengthless_candidates_are_not_written():
  options = {"alive": [0, 0, 0], "budget": 9}
  for bad in (
    {"valid": [False, True]},
    {"strength": [0.0, 1.0]},
    {"strength": [NAN, 1.0]},
  ):
    got = decide([RETAIN] * 3, [INF, 0.1], **bad, **options)
    assert got == [NO, NONE, [1, -1, -1], NONE]


def test_an_update_needs_no_strength_and_an_invalid_one_does_nothing():
  options = {"slot": [0, 1], "strength": [0.0, 1.0], "budget": 9}
  got = decide([RETAIN] * 3, [1, 1], valid=[True, False], **options)
  assert got == [[0, -1, -1], NONE, NO, NONE]


def test_signed_zeros_are_equal():
  # -0.0 first: a sort that orders the signs would take candidate 1.
  got = decide([RETAIN] * 3, [-0.0, 0.0], alive=[1, 1, 0], budget=1)
  assert got == [NO, NONE, [-1, -1, 0], NONE]
  got = decide([RETAIN] * 3, [1, -INF], keep=[0.0, -0.0, 0.0], budget=1)
  assert got == [NO, NONE, [0, -1, -1], [True, False, False]]


def test_decisions_are_integers_and_booleans():
  kinds = [x.dtype for x in compiled(2, batched=False)(*random_case())]
  assert kinds == [jnp.int32, jnp.bool_, jnp.int32, jnp.bool_]


def random_case():
  return [array[0] for array in random_cases(2, 1, 4, 3)]


def test_a_negative_budget_is_an_error():
  with pytest.raises(ValueError, match="budget must be at least 0, got -1"):
    run(*(jnp.asarray(x) for x in random_case()), budget=-1)
