import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import text_of

MARK, DIGITS = 1, range(3, 13)


@pytest.fixture(scope="module")
def examples():
  source = data.load("delayed_qa").evaluation("test", 128)
  return [source[i] for i in range(600)]


def test_the_digit_comes_in_the_first_quarter(examples):
  places = [text_of(example).index(MARK) for example in examples]
  assert {place // 8 for place in places} == {0, 1, 2, 3}  # of 16 blocks


def test_other_digits_are_noise_as_likely_as_any_token(examples):
  noise = np.concatenate(
    [
      e["inputs"][(e["ground_truth"] == 0) & (e["inputs"] > 2)]
      for e in examples
    ]
  )
  share = np.bincount(noise, minlength=29)[3:] / len(noise)
  assert share == pytest.approx(np.full(26, 1 / 26), abs=0.003)


def test_reading_digits_without_the_mark_is_chance(examples):
  most, last = [], []
  for example in examples:
    digits = [t - 3 for t in text_of(example) if t in DIGITS]
    counts = np.bincount(digits, minlength=10)
    most.append(counts.argmax() == example["label"])
    last.append(digits[-1] == example["label"])
  assert np.mean(last) == pytest.approx(0.1, abs=0.04)
  assert np.mean(most) < 0.25
