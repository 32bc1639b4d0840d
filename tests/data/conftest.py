"""Fixtures of the data tests."""

import numpy as np
import pytest

from nema_lc_jax import data


@pytest.fixture(scope="session")
def pytext(cache):
  return data.load("pytext", length=256, num_eval=200, num_test=400)


@pytest.fixture
def equal():
  """Whether two examples or batches are equal in every bit."""

  def compare(a, b):
    return a.keys() == b.keys() and all(
      np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype
      for name in a
    )

  return compare


@pytest.fixture
def error_of():
  """The message of the DataError that a call raises: always one line."""

  def message(function, *args, **kwargs):
    with pytest.raises(data.DataError) as error:
      function(*args, **kwargs)
    assert isinstance(error.value, ValueError)
    text = str(error.value)
    assert "\n" not in text
    return text

  return message
