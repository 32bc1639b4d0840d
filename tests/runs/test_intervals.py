"""Intervals, paired tests and Holm, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nema_lc_jax.runs.intervals import difference, estimate, holm, interval

floats = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 6))
probabilities = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(
  ("values", "mean", "half"),
  [
    # Squared deviations 0.02, s = 0.1414214, t(0.975, 1) = 12.706205.
    ([0.5, 0.7], 0.6, 1.2706205),
    # Standard deviation 1, t(0.975, 2) = 4.302653.
    ([1.0, 2.0, 3.0], 2.0, 4.302653 / math.sqrt(3)),
    # Squared deviations 0.3, s = 0.2738613, t(0.975, 4) = 2.776445.
    ([0.1, 0.2, 0.4, 0.5, 0.8], 0.4, 0.3400436),
    ([0.25, 0.25, 0.25], 0.25, 0.0),
  ],
)
def test_estimate_by_hand(values, mean, half):
  found = estimate(values)
  expected = mean, mean - half, mean + half, len(values)
  assert found == pytest.approx(expected, abs=1e-6)


def test_one_seed_has_no_interval():
  found = estimate([0.7])
  assert (found.mean, found.n) == (0.7, 1)
  assert math.isnan(found.low)
  assert math.isnan(found.high)


def test_difference_by_hand():
  # Of the seeds that both have, differences 0.4, 0.3 and 0.2: mean 0.3,
  # standard deviation 0.1, t = 0.3 / (0.1 / sqrt(3)) = 5.196152. With two
  # degrees of freedom, p = 1 - t / sqrt(t^2 + 2) = 1 - 5.196152 / sqrt(29).
  ours = {0: 0.9, 2: 0.7, 1: 0.8, 7: 0.0}
  theirs = {1: 0.5, 0: 0.5, 2: 0.5, 9: 1.0}
  found = difference(ours, theirs)
  half = 4.302653 * 0.1 / math.sqrt(3)
  expected = 0.3, 0.3 - half, 0.3 + half, 0.0350985, 3.0, 3
  assert found == pytest.approx(expected, abs=1e-6)
  # Differences 0.1 and 0.3: mean 0.2, s = 0.1414214, t = 2. With one degree of
  # freedom, p = 1 - 2 / pi * atan(t).
  found = difference({0: 0.4, 1: 0.8}, {0: 0.3, 1: 0.5})
  expected = 0.2, 0.2 - 1.2706205, 0.2 + 1.2706205, 0.2951672, 2**0.5, 2
  assert found == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.tuples(floats, floats), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_difference_turned_around_has_all_signs_turned(pairs):
  ours, theirs = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
  if np.ptp([a - b for a, b in pairs]) < 1e-6:
    return
  found, back = difference(ours, theirs), difference(theirs, ours)
  assert found.n == back.n == len(pairs)
  assert back.p == pytest.approx(found.p, rel=1e-6)
  assert (back.mean, back.effect) == pytest.approx((-found.mean, -found.effect))
  assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
  # The interval is symmetric, and p below 5% where 0 is not in it.
  assert found.low + found.high == pytest.approx(2 * found.mean, abs=1e-9)
  if abs(found.p - 0.05) > 1e-6:
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


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


@pytest.mark.parametrize(
  ("accuracy", "examples", "low", "high"),
  [
    # With z^2 = 3.841459: (0.8 + 0.192073 -+ 0.313617) / 1.384146.
    (0.8, 10, 0.490162, 0.943318),
    # At the ends, z^2 / (n + z^2) and its complement.
    (0.0, 10, 0.0, 0.277533),
    (1.0, 10, 0.722467, 1.0),
    # Half an answer, of a head per token:
    # (0.05 + 0.192073 -+ 0.234817) / 1.384146.
    (0.05, 10, 0.005242, 0.344537),
  ],
)
def test_wilsons_interval_by_hand(accuracy, examples, low, high):
  assert interval(accuracy, examples) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 25_000])
def test_of_whole_counts_wilsons_interval_is_scipys(n):
  for k in {0, 1, n // 3, n - 1, n}:
    expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    assert interval(k / n, n) == pytest.approx(tuple(expected), abs=1e-12)
