"""Intervals, paired tests and Holm, against scipy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nema_lc_jax.runs.intervals import difference, estimate, holm

floats = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 6))
probabilities = st.floats(0, 1, allow_nan=False)


@given(st.lists(floats, min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_estimate_equals_scipy(values):
  found = estimate(values)
  assert found.n == len(values)
  assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
  if np.ptp(values) < 1e-9:
    assert (found.low, found.high) == pytest.approx((found.mean,) * 2)
    return
  low, high = stats.t.interval(
    0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
  )
  assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_estimate_by_hand():
  # Mean 2, standard deviation 1, t(0.975, 2) = 4.302653.
  half = 4.302653 / math.sqrt(3)
  found = estimate([1.0, 2.0, 3.0])
  assert found == pytest.approx((2, 2 - half, 2 + half, 3), abs=1e-5)


def test_one_seed_has_no_interval():
  found = estimate([0.7])
  assert (found.mean, found.n) == (0.7, 1)
  assert math.isnan(found.low)
  assert math.isnan(found.high)


@given(st.lists(st.tuples(floats, floats), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_difference_equals_scipy(pairs):
  ours, theirs = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
  gaps = np.array([a - b for a, b in pairs])
  found = difference(ours, theirs)
  assert found.mean == pytest.approx(gaps.mean(), abs=1e-12)
  assert found.n == len(pairs)
  if np.ptp(gaps) < 1e-6:
    return
  result = stats.ttest_rel(list(ours.values()), list(theirs.values()))
  assert found.p == pytest.approx(result.pvalue, rel=1e-6)
  interval = result.confidence_interval(0.95)
  assert (found.low, found.high) == pytest.approx(
    (interval.low, interval.high), abs=1e-9
  )
  assert found.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))
  # Turned around, all signs turn.
  back = difference(theirs, ours)
  assert back.p == pytest.approx(found.p, rel=1e-6)
  assert (back.mean, back.effect) == pytest.approx((-found.mean, -found.effect))
  assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_pairs_are_by_seed_and_only_common_seeds_count():
  ours = {0: 0.9, 2: 0.7, 1: 0.8, 7: 0.0}
  theirs = {1: 0.5, 0: 0.5, 2: 0.5, 9: 1.0}
  found = difference(ours, theirs)
  expected = stats.ttest_rel([0.9, 0.8, 0.7], [0.5, 0.5, 0.5])
  assert found.n == 3
  assert found.mean == pytest.approx(0.3)
  assert found.p == pytest.approx(expected.pvalue)
  assert found.effect == pytest.approx(0.3 / 0.1)


def test_a_single_pair_has_a_mean_only():
  found = difference({3: 0.75}, {3: 0.5})
  assert (found.mean, found.n) == (0.25, 1)
  for value in (found.low, found.high, found.p, found.effect):
    assert math.isnan(value)


@pytest.mark.parametrize(
  ("gap", "p", "effect"), [(0.0, 1, 0), (0.125, 0, math.inf)]
)
def test_equal_differences_have_no_t_test(gap, p, effect):
  values = {0: 0.25, 1: 0.5, 2: 0.75}
  better = {seed: value + gap for seed, value in values.items()}
  assert difference(better, values) == (gap, gap, gap, p, effect, 3)
  assert difference(values, better).effect == -effect


def test_no_seed_in_common_is_an_error():
  with pytest.raises(ValueError, match=r"^no seed in common"):
    difference({0: 1.0}, {1: 1.0})


def test_holm_equals_a_table_by_hand():
  # Sorted: 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04;
  # never below the one before.
  found = holm([0.01, 0.04, 0.03, 0.005])
  assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert holm([0.02, 0.02, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
  assert holm([0.6, 0.5]) == [1.0, 1.0]
  assert holm([0.2]) == [0.2]
  assert holm([]) == []


def test_holm_leaves_out_what_has_no_p():
  found = holm([math.nan, 0.01, math.nan, 0.04])
  assert found[1::2] == pytest.approx([0.02, 0.04])
  assert all(map(math.isnan, found[::2]))
  assert all(map(math.isnan, holm([math.nan])))


@given(st.lists(probabilities, min_size=1, max_size=10), st.randoms())
@settings(max_examples=80, deadline=None)
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p, random):
  found = holm(p)
  n = len(p)
  for a, b in zip(p, found, strict=True):
    assert a <= b + 1e-12
    assert b <= min(n * a, 1) + 1e-12
  order = np.argsort(p, kind="stable")
  assert (np.diff(np.array(found)[order]) >= -1e-12).all()
  # The smallest is Bonferroni's.
  assert min(found) == pytest.approx(min(n * min(p), 1))
  shuffled = list(range(n))
  random.shuffle(shuffled)
  again = holm([p[i] for i in shuffled])
  assert again == pytest.approx([found[i] for i in shuffled])
