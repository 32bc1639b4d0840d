"""A policy of the user's own, from a module that is no part of the package."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import Policy
from nema_lc_jax.models import make_policy
from nema_lc_jax.models.policies import policy_options
from tests.memory.streams import (
  D,
  assert_equal,
  empty,
  make_chunks,
  policy_of,
  runner,
)
from tests.models.tiny import KEYS, T, applier, make_batch, model_of, params_of

ROOT = Path(__file__).parents[1]
# Replaces the slot of the largest age: fifo by another name.
SOURCE = """
import jax.numpy as jnp
from nema_lc_jax.memory import Policy
from nema_lc_jax.memory.policies import retain_all

NUMBER = 70

def my_policy(*, width, sign=-1.0):
  def score(params, key, state, chunk, *, train):
    keep = sign * state.age.astype(jnp.float32)
    return retain_all(state, chunk, keep)

  return Policy(lambda key, *, num_slots, num_candidates: (), score)
"""
NAME = "mine_of_nema:my_policy"


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
  """The module on the path, for one test."""
  (tmp_path / "mine_of_nema.py").write_text(SOURCE)
  monkeypatch.syspath_prepend(tmp_path)
  yield tmp_path
  sys.modules.pop("mine_of_nema", None)
  for cached in (policy_of, runner, applier, model_of):
    cached.cache_clear()


def test_it_is_made_by_its_name():
  policy = make_policy(NAME, width=8)
  assert isinstance(policy, Policy)
  assert policy.init(jax.random.key(0), num_slots=2, num_candidates=1) == ()


def test_it_runs_like_the_built_in_one_that_has_the_same_rule():
  chunks = make_chunks(3, num=40, padded=(5, 11))
  found, expected = (
    runner(name)((), jax.random.key(0), empty(), chunks)
    for name in (NAME, "fifo")
  )
  assert found[1].evictions.sum() > 10
  assert_equal(found[0], expected[0])
  assert_equal(found[1].allocation, expected[1].allocation)


def test_it_is_the_memory_of_a_model():
  batch, params = make_batch(length=6 * T), params_of(policy="fifo")
  found, expected = (
    applier(policy=name)(params, KEYS, batch) for name in (NAME, "fifo")
  )
  np.testing.assert_array_equal(found.logits, expected.logits)
  assert found.steps.evictions.sum() > 5
  assert_equal(found.state, expected.state)


def test_its_options_are_its_own():
  assert policy_options(NAME) == ("sign",)
  policy = make_policy(NAME, width=D, sign=1.0)
  state = empty().replace(age=jnp.array([3, 1, 2]), strength=jnp.ones(3))
  chunk = jax.tree.map(lambda x: x[0], make_chunks(0))
  scores = policy.score((), jax.random.key(0), state, chunk, train=False)
  assert scores.retention_priority.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
  ("name", "options", "messages"),
  [
    (NAME, {"sgn": 1}, ["mine_of_nema:my_policy", "'sgn'", "it has: sign."]),
    ("not_there:policy", {}, ["'not_there:policy' cannot be imported"]),
    ("mine_of_nema:your_policy", {}, ["cannot be imported", "'your_policy'"]),
    ("mine_of_nema", {}, ["unknown policy 'mine_of_nema'", "module:function"]),
    ("mine_of_nema:", {}, ["'mine_of_nema:'"]),
    (":my_policy", {}, ["':my_policy'"]),
    ("mine_of_nema:NUMBER", {}, ["'mine_of_nema:NUMBER'"]),
  ],
)
def test_a_mistake_is_one_line(name, options, messages):
  with pytest.raises(ValueError, match=r".") as error:
    make_policy(name, width=D, **options)
  text = str(error.value)
  assert "\n" not in text
  for message in messages:
    assert message in text


def test_the_battery_runs_on_it_by_an_option_of_pytest(module):
  # From the folder of the module, which is not the repository.
  names = [NAME, "nema_lc_jax.memory.policies:lru"]
  result = subprocess.run(
    [
      sys.executable,
      "-c",
      # As the command `pytest` does: the current folder is not on the path.
      "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main())",
      *(f"--policy={name}" for name in names),
      "-p",
      "no:cacheprovider",
      "-v",
      "-k",
      "a_negative_budget or truncation_below",
      str(ROOT / "tests/memory/test_step.py"),
    ],
    cwd=module,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONSAFEPATH": ""},
  )
  assert result.returncode == 0, result.stdout + result.stderr
  ran = [line for line in result.stdout.splitlines() if "PASSED" in line]
  of_policies = [line for line in ran if "negative_budget" in line]
  assert len(of_policies) == 2
  for name, line in zip(names, of_policies, strict=True):
    assert f"[{name}]" in line
  assert len(ran) == 4  # Tests of one policy are as they always are.
