"""Means, confidence intervals and paired differences over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
  """A mean over seeds and its 95% confidence interval."""

  mean: float
  # Both nan for a single seed, which has no variance.
  low: float
  high: float
  n: int


def estimate(values: Sequence[float]) -> Estimate:
  """The mean of one value per seed, with its 95% t interval."""
  n, mean = len(values), float(np.mean(values))
  if n < 2:
    return Estimate(mean, math.nan, math.nan, n)
  half = float(stats.t.ppf(0.975, n - 1) * stats.sem(values))
  return Estimate(mean, mean - half, mean + half, n)


class Difference(NamedTuple):
  """The difference of two methods, paired by seed."""

  mean: float
  low: float  # 95% t interval of the mean; nan for a single pair
  high: float
  p: float  # two-sided paired t test; nan for a single pair
  # Cohen's d of the differences: mean over standard deviation.
  effect: float
  n: int


def difference(
  ours: Mapping[int, float], theirs: Mapping[int, float]
) -> Difference:
  """`ours` minus `theirs`, paired by seed, over the seeds that both have.

  If all differences are equal, p is 1 if they are 0, else 0, and the effect is
  0 or infinite.

  Raises:
    ValueError: if they have no seed in common.
  """
  seeds = sorted(set(ours) & set(theirs))
  if not seeds:
    raise ValueError("no seed in common: nothing to pair")
  a, b = (np.array([side[seed] for seed in seeds]) for side in (ours, theirs))
  n, mean = len(seeds), float((a - b).mean())
  if n < 2:
    return Difference(mean, *[math.nan] * 4, n)
  spread = float((a - b).std(ddof=1))
  if spread < 1e-12:  # The t test is undefined for equal differences.
    zero = abs(mean) < 1e-12
    effect = 0.0 if zero else math.copysign(math.inf, mean)
    return Difference(mean, mean, mean, float(zero), effect, n)
  test = stats.ttest_rel(a, b)
  low, high = map(float, test.confidence_interval())
  return Difference(mean, low, high, float(test.pvalue), mean / spread, n)


def holm(p_values: Sequence[float]) -> list[float]:
  """Holm's step-down adjustment of several p values; nan stays nan.

  Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
  """
  p = np.asarray(p_values, float)
  adjusted = np.full(len(p), math.nan)
  order = [i for i in np.argsort(p) if not math.isnan(p[i])]
  highest = 0.0
  for rank, i in enumerate(order):
    highest = max(highest, min((len(order) - rank) * p[i], 1.0))
    adjusted[i] = highest
  return [float(x) for x in adjusted]


Z = 1.959963984540054  # The two-sided 95% quantile of the normal distribution.


def interval(accuracy: float, examples: int) -> tuple[float, float]:
  """Wilson's 95% interval of a share of independent answers.

  scipy's function takes only whole counts. For a head per token the accuracy is
  a mean over several answers per example: accuracy * examples is not whole, and
  the interval is approximate.
  """
  centre = accuracy + Z * Z / (2 * examples)
  spread = Z * math.sqrt(
    accuracy * (1 - accuracy) / examples + (Z / (2 * examples)) ** 2
  )
  scale = 1 + Z * Z / examples
  # Rounding could otherwise exclude the accuracy itself at 0 and 1.
  low = min((centre - spread) / scale, accuracy)
  return max(low, 0.0), min(max((centre + spread) / scale, accuracy), 1.0)
