"""A policy of the user's own, from a module that is no part of the package."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax import evaluate
from nema_lc_jax.memory import Policy
from nema_lc_jax.models import make_policy, own_policy
from nema_lc_jax.models.policies import policy_options
from nema_lc_jax.runs import naming
from nema_lc_jax.sweep import plan, pool
from tests.helpers import figures, mistake_in, run, tiny_config
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
    ("builtins:dict", {}, ["policy 'builtins:dict' is no function"]),
    ("os.path:join", {}, ["fails: TypeError: join() got an unexpected"]),
    ("not_there:policy", {}, ["'not_there:policy' cannot be imported"]),
    ("mine_of_nema:your_policy", {}, ["cannot be imported", "'your_policy'"]),
    ("mine_of_nema", {}, ["unknown policy 'mine_of_nema'", "module:function"]),
    ("mine_of_nema:", {}, ["'mine_of_nema:'"]),
    (":my_policy", {}, ["':my_policy'"]),
    (
      "./:x",
      {},
      ["'./:x' must have the form module:function or FILE.py:function."],
    ),
    ("./mine_of_nema:my_policy", {}, ["must have the form", "FILE.py:func"]),
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


def written(folder, body):
  """The name of a policy in a file, FILE.py:mine, with that body."""
  folder.mkdir(exist_ok=True)
  path = folder / "own.py"
  path.write_text(f"{HEAD}def mine(*, width):\n  {body}\n")
  return f"{path}:mine"


# Lines 1 to 6 of the file; `mine` is in 7, and its body in 8.
HEAD = """
import jax.numpy as jnp
from nema_lc_jax.memory import Policy, Updates
from nema_lc_jax.memory.policies import oldest_first, retain_all
init = lambda key, *, num_slots, num_candidates: ()

"""
SCORE = "Policy(init, lambda params, key, state, chunk, *, train: {})"
UPDATES = (
  "Updates(slot=jnp.zeros(2, int), prob=jnp.zeros((5, 2)),"
  " content=jnp.zeros((5, 2, width)), strength=jnp.zeros(5),"
  " stored=jnp.ones(2))"
)
SCORES = "retain_all(state, chunk, state.strength)"
WRONG = {
  "pass": "must return a Policy, got None.",
  "return init, init": "must return a Policy, got (<function",
  "return 1 / 0": "own.py, line 8: ZeroDivisionError: division by zero.",
  "raise ValueError('width is odd')": "width is odd",
  "return Policy(None, init)": "init of policy {} fails: TypeError",
  "return Policy(lambda key: (), init)": "init of policy {} fails: TypeError",
  "return Policy(init, lambda params: 0)": "score of policy {} fails: TypeErr",
  f"return {SCORE.format('None')}": "must return Scores, got None",
  f"return {SCORE.format('undefined')}": "own.py, line 8: NameError: name",
  f"return {SCORE.format('retain_all(state, chunk, jnp.zeros(3))')}": (
    "retention_priority of policy {} must be float32[5] for 5 slots and 2"
    " candidates, got float32[3]."
  ),
  f"return {SCORE.format('retain_all(state, chunk, -state.age)')}": (
    "retention_priority of policy {} must be float32[5] for 5 slots and 2"
    " candidates, got int32[5]."
  ),
  f"return {SCORE.format('retain_all(state, chunk, 3)')}": (
    "retention_priority of policy {} must be float32[5] for 5 slots and 2"
    " candidates, got int32[]."
  ),
  f"return {SCORE.format(f'{SCORES}.replace(updates={UPDATES})')}": (
    "updates.strength of policy {} must be float32[5, 2] for 5 slots and 2"
    " candidates, got float32[5]."
  ),
  f"return {SCORE.format(f'{SCORES}.replace(retained_claim=jnp.ones(2))')}": (
    "retained_claim of policy {} must be float32[5] for 5 slots and 2"
    " candidates, got float32[2]."
  ),
  "return Policy(init, None, lambda state, attention, valid: attention)": (
    "update_usage of policy {} must be float32[5] for 5 slots and 2"
    " candidates, got float32[4, 5]."
  ),
}


@pytest.mark.parametrize("body", WRONG)
def test_what_is_no_policy_is_one_line(body, tmp_path):
  name = written(tmp_path / "wrong", body)
  with pytest.raises(ValueError, match=r".") as error:
    make_policy(name, width=D)
  assert WRONG[body].format(repr(name)) in str(error.value)
  assert "\n" not in str(error.value)


def test_the_policies_of_the_package_are_policies(policy):
  own_policy.check(make_policy(policy, width=D), policy, width=D)


GOOD = SCORE.format("retain_all(state, chunk, oldest_first(state))")


@pytest.mark.parametrize("form", ["absolute", "relative", "bare"])
def test_it_is_found_by_its_file(form, tmp_path, monkeypatch):
  absolute = written(tmp_path / "here", f"return {GOOD}")
  monkeypatch.chdir(tmp_path / "here")
  name = {"absolute": absolute, "relative": "./own.py:mine"}.get(
    form, "own.py:mine"
  )
  assert isinstance(make_policy(name, width=D), Policy)
  assert make_policy(name, width=D).score.__module__.startswith("own_")
  # Two files of one name are two policies.
  other = written(tmp_path / "there", "return 3")
  with pytest.raises(ValueError, match="must return a Policy, got 3"):
    make_policy(other, width=D)


@pytest.mark.parametrize(
  ("source", "message"),
  [
    (None, "there is no file {}."),
    ("x = 3", "has no function 'mine'"),
    ("mine = 3", "is no function, but 3."),
    ("\nmine = 1 / 0", "cannot be imported: {}, line 2: ZeroDivisionError"),
    ("def mine(", "cannot be imported: {}, line 1: "),
    ("import nothing_here", "{}, line 1: ModuleNotFoundError: No module"),
    ("raise SystemExit(3)", "cannot be imported: {}, line 1: SystemExit"),
  ],
)
def test_a_mistake_in_a_file_is_one_line(source, message, tmp_path):
  path = tmp_path / "bad.py"
  use = lambda: make_policy(f"{path}:mine", width=D)
  found = mistake_in(path, source, use)
  assert f"policy '{path}:mine'" in found
  assert message.format(path) in found


def test_a_run_and_a_sweep_find_it_by_its_file(tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  written(tmp_path, f"return {GOOD}")
  config = tiny_config()
  config.train.curriculum = ()
  config.memory.policy = "./own.py:mine"
  assert naming.default(config) == "runs/recall-own.py:mine-seed0"
  run(config, tmp_path / "run")
  assert evaluate.main([f"--workdir={tmp_path / 'run'}"]) == 0
  cells = plan.make_plan(config, policies=["./own.py:mine"], seeds="1").runs(
    config, {}
  )
  (planned,) = cells
  assert "/" not in planned.folder.removeprefix("runs/").removesuffix("/seed0")
  # As a worker, which has only the JSON of the config.
  job = pool.Job(
    str(tmp_path / "worker"), planned.config.to_json(), "", str(tmp_path / "l")
  )
  with figures():
    assert pool._train(job).startswith("test accuracy")


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
