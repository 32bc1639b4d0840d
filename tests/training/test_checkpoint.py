import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.errors import RunError
from nema_lc_jax.training.checkpoint import LATEST, Checkpoints


def state(step):
  return {"weights": jnp.arange(64.0) + step, "step": jnp.int32(step)}


def template(like=None):
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
    state(0) if like is None else like,
  )


def iterator():
  dataset = data.load("toy", length=32)
  return data.train_iterator(dataset, batch_size=2, seed=0, length=32)


def saved(folder, steps):
  with Checkpoints(folder, LATEST, keep=2) as checkpoints:
    source = iterator()
    for step in steps:
      next(source)
      checkpoints.save(step, state(step), info={"at": step}, data=source)
  return next(source)


def restore(folder):
  with Checkpoints(folder, LATEST, keep=2) as checkpoints:
    return checkpoints.restore(template(), data=lambda step: iterator())


def test_state_info_and_data_position_come_back(tmp_path):
  following = saved(tmp_path, [1, 2, 3])
  restored = restore(tmp_path)
  np.testing.assert_array_equal(restored.state["weights"], state(3)["weights"])
  assert restored.info == {"at": 3}
  np.testing.assert_array_equal(
    next(restored.data)["inputs"], following["inputs"]
  )
  kept = {p.name for p in (tmp_path / "checkpoints" / LATEST).iterdir()}
  assert kept == {"2", "3", "2.sha256.json", "3.sha256.json"}


def damage(folder, step, how):
  files = (folder / "checkpoints" / LATEST / str(step) / "state").rglob("*")
  largest = max(
    (p for p in files if p.is_file()), key=lambda p: p.stat().st_size
  )
  content = bytearray(largest.read_bytes())
  if how == "flip":
    content[len(content) // 2] ^= 1
  else:
    content = content[: len(content) // 2]
  largest.write_bytes(content)


@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_a_damaged_checkpoint_is_not_trusted(tmp_path, how):
  saved(tmp_path, [1, 2])
  damage(tmp_path, 2, how)
  assert restore(tmp_path).info == {"at": 1}
  # The damaged step can be written again.
  saved(tmp_path, [2])
  assert restore(tmp_path).info == {"at": 2}


def test_a_kill_before_the_manifest_loses_nothing(tmp_path):
  manifest = tmp_path / "checkpoints" / LATEST / "1.sha256.json"
  saved(tmp_path, [1])
  manifest.unlink()
  assert restore(tmp_path) is None  # Nothing was finished: start anew.
  saved(tmp_path, [1])
  assert manifest.exists()
  assert restore(tmp_path).info == {"at": 1}


def test_nothing_whole_is_an_error_and_nothing_at_all_is_none(tmp_path):
  assert restore(tmp_path) is None
  saved(tmp_path, [1])
  damage(tmp_path, 1, "flip")
  with pytest.raises(RunError, match=r"no checkpoint in .* is intact"):
    restore(tmp_path)


@pytest.mark.parametrize(
  ("change", "named"),
  [
    ({"weights": jnp.zeros(65)}, "differ: 1, such as weights"),
    ({"new": jnp.zeros(2)}, "differ: 1, such as new"),
    ({"weights": {"a": jnp.zeros(64)}}, "differ: 2, such as weights"),
  ],
)
def test_a_checkpoint_of_another_model_is_named(tmp_path, change, named):
  saved(tmp_path, [1])
  with Checkpoints(tmp_path, LATEST, keep=2) as checkpoints:
    with pytest.raises(RunError, match=named) as caught:
      checkpoints.restore(template(state(0) | change))
    assert str(tmp_path / "checkpoints" / LATEST / "1") in str(caught.value)
    # Nothing is lost.
    assert checkpoints.restore(template()).info == {"at": 1}
