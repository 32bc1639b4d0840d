"""Fixtures of the memory tests."""

import jax
import pytest


@pytest.fixture(params=["jit", "eager"])
def variant(request):
  """Runs a test with jit and without."""
  return jax.jit if request.param == "jit" else lambda function: function
