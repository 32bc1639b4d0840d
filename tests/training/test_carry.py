"""Memories that training carries from text to text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax import evaluate
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory import MemoryState
from nema_lc_jax.training import train
from nema_lc_jax.training.experiment import make_experiment, most_slots
from nema_lc_jax.training.restore import open_run
from nema_lc_jax.training.steps import Carried, train_step
from tests.helpers import run, tiny_config

same = np.testing.assert_array_equal
# Rows, slots and width.
B, M, D = 4, 3, 2


def memory(slots=M, claim=None):
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.uniform(0.1, 1, (B, slots, *shape)))
  return MemoryState(
    content=draw(D),
    age=jnp.ones((B, slots), jnp.int32),
    usage=draw(),
    strength=draw(),
    claim=claim,
  )


KEYS = jax.random.split(jax.random.key(3), B)


def test_a_rate_of_one_carries_all_rows_that_go_on_and_zero_none():
  before = Carried(B, M, D, 1.0).before
  assert jax.tree.all(
    jax.tree.map(
      lambda x, y: (x == y).all(), before(memory(), {}, KEYS), memory()
    )
  )
  goes_on = np.array([True, False, True, False])
  kept = before(memory(), {"continues": goes_on}, KEYS)
  same(kept.content[goes_on], memory().content[goes_on])
  for leaf in jax.tree.leaves(kept):
    assert not leaf[~goes_on].any()
  none = Carried(B, M, D, 0.0).before(memory(), {}, KEYS)
  assert not none.alive.any()


def test_rows_are_emptied_as_often_as_the_rate_says():
  keys = jax.random.split(jax.random.key(0), 2000)
  many = jax.tree.map(lambda x: jnp.tile(x[:1], (2000, *[1] * (x.ndim - 1))),
                      memory())  # fmt: skip
  kept = Carried(2000, M, D, 0.7).before(many, {}, keys).alive.any(1)
  assert kept.mean() == pytest.approx(0.7, abs=0.04)


def test_what_is_left_has_all_slots_and_no_rows_that_are_not_finite():
  broken = memory(2, claim=jnp.ones((B, 2)))
  broken = broken.replace(content=broken.content.at[1, 0, 0].set(jnp.nan))
  left = Carried(B, M, D, 0.5).after(broken)
  assert left.claim is None
  assert left.content.shape == (B, M, D)
  same(left.strength[0], [*broken.strength[0], 0])
  for leaf in jax.tree.leaves(left):
    assert not leaf[1].any()


def carrying_config(rate=0.7, **train):
  c = tiny_config("mqar", carry=rate, **train)
  c.memory.overprovisioned_slots = 2
  return c


def test_a_step_starts_from_what_the_one_before_has_left():
  experiment = make_experiment(carrying_config(1.0))
  spec = experiment.steps.spec
  batch = next(experiment.batches(experiment.stages[-1]))
  assert spec.carried.num_slots == most_slots(experiment.config) == 4 + 2
  state = experiment.init()
  assert not state.memory.alive.any()
  step = jax.jit(lambda state: train_step(state, batch, spec=spec)[0])
  apply = jax.jit(
    lambda state, keys: spec.model.apply(
      state.params, keys, batch, train=True, initial=state.memory
    )
  )
  for _ in range(2):
    rows = jnp.arange(len(batch["inputs"]))
    key = jax.random.fold_in(jax.random.key(state.seed + 1), state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
    expected = apply(state, keys)
    state = step(state)
    # 3 slots and 2 more in training, of 6 that are kept.
    for name in ("age", "strength", "usage", "content"):
      found = getattr(state.memory, name)
      wanted = getattr(expected.state, name)
      np.testing.assert_allclose(found[:, :5], wanted, atol=1e-5)
      assert not found[:, 5:].any()
  # The second text began with a memory.
  assert expected.steps.alive[:, 0].any()


def test_what_is_left_has_no_gradient():
  after = Carried(B, M, D, 1.0).after
  grad = jax.grad(lambda x: after(memory().replace(content=x)).content.sum())
  assert not grad(memory().content).any()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  folder = tmp_path_factory.mktemp("texts")
  rng = np.random.default_rng(0)
  for split in ("train", "validation", "test"):
    (folder / split).mkdir()
    for i in range(6):
      letters = rng.integers(97, 123, 700, dtype=np.uint8)
      (folder / split / f"{i}.txt").write_bytes(letters.tobytes())
  return folder


def lm_config(texts, **train):
  c = carrying_config(0.9, **train)
  c.data = {"name": "lm", "length": 80, "path": str(texts)}
  c.data.num_eval = c.data.num_test = 16
  c.eval.length_multipliers = (1,)
  c.memory.policy = "fifo"
  return c


class Stopped(train.TrainLoop):
  """A run that ends right after the save of step 6, in its second stage."""

  def save(self, step):
    super().save(step)
    if step == 6:
      raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_with_its_memories(
  texts, tmp_path, monkeypatch
):
  whole = run(lm_config(texts), tmp_path / "whole")
  with monkeypatch.context() as patch:
    patch.setattr(train, "TrainLoop", Stopped)
    with pytest.raises(KeyboardInterrupt):
      run(lm_config(texts), tmp_path / "stopped")
  resumed = run(lm_config(texts), tmp_path / "stopped")
  assert resumed.params_sha256 == whole.params_sha256
  # Its best state is read by a model with other slots and rows.
  workdir = tmp_path / "whole"
  experiment, state = open_run(workdir)
  assert state.memory is None
  assert experiment.config.train.carry == 0.9
  arguments = ["--workdir", str(workdir), "--config.memory.num_slots=2"]
  assert evaluate.main(arguments) == 0


def test_what_cannot_carry_a_memory_is_refused():
  pairs = carrying_config(0.5)
  pairs.data = {"name": "pytext", "length": 80}
  with pytest.raises(ConfigError, match=r"carry=0.5 must be 0 for pairs"):
    make_experiment(pairs)
  with pytest.raises(ValueError, match=r"carry must be 0, got 0.5: use 'jit'"):
    make_experiment(carrying_config(0.5, parallel="pmap"))
  with pytest.raises(ConfigError, match=r"train\.carry must be .* at most 1"):
    make_experiment(carrying_config(1.5))
  local = carrying_config(0.5)
  local.model.encoder = "local"
  assert make_experiment(local).steps.template.memory is None
