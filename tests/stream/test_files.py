import functools
import json

import jax
import numpy as np
import pytest

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import load, make_stream, save
from tests.stream.test_core import FIELDS

STREAM = make_stream(**FIELDS)


def a_state():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: (rng.random(x.shape) * 9).astype(x.dtype), STREAM.init()
  )


def test_what_is_loaded_is_what_was_saved(tmp_path):
  state = a_state()
  save(tmp_path / "s", state, model="m")
  back = load(tmp_path / "s", STREAM.init(), model="m")
  jax.tree.map(np.testing.assert_array_equal, state, back)
  batch = jax.tree.map(lambda x: np.stack([x, 0 * x]), state)
  save(tmp_path / "s", batch)
  back = load(tmp_path / "s", STREAM.init())
  jax.tree.map(np.testing.assert_array_equal, batch, back)
  assert [p.name for p in tmp_path.iterdir()] == ["s"]


def _edit(data, **changes):
  head, _, payload = data.partition(b"\n")
  return json.dumps(json.loads(head) | changes).encode() + b"\n" + payload


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda d: b"", "no saved stream"),
    (lambda d: b"[1]\nx", "no saved stream"),
    (lambda d: b"\xff\xfe", "no saved stream"),
    (lambda d: b"[" * 60_000, "no saved stream"),
    (lambda d: _edit(d, format="zip"), "no saved stream"),
    (lambda d: d[:-1], "damaged"),
    (lambda d: d[:-9] + bytes([d[-9] ^ 1]) + d[-8:], "damaged"),
    (functools.partial(_edit, version=2), "version 2"),
    (functools.partial(_edit, model="other"), "another model"),
  ],
)
def test_a_file_that_is_none_or_damaged_is_refused(tmp_path, change, words):
  path = tmp_path / "s"
  save(path, a_state())
  path.write_bytes(change(path.read_bytes()))
  with pytest.raises(ConfigError, match=words):
    load(path, STREAM.init())


def test_a_state_of_other_sizes_is_refused(tmp_path):
  save(tmp_path / "s", a_state())
  other = make_stream(**FIELDS | {"num_slots": 5}).init()
  with pytest.raises(ConfigError, match=r"memory\W*content is .*\[3, 8\].*5"):
    load(tmp_path / "s", other)
