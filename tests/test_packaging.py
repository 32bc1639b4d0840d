import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEP = """
import jax, jax.numpy as jnp
import nema_lc_jax
from nema_lc_jax import Candidates, Chunk, init_state, make_policy, memory_step
policy = make_policy("learned", width=4)
params = policy.init(jax.random.key(0), num_slots=2, num_candidates=1)
candidates = Candidates(content=jnp.ones((1, 4)), valid=jnp.ones(1, bool))
chunk = Chunk(query=jnp.ones((3, 4)), candidates=candidates,
              valid=jnp.ones(3, bool))
state = init_state(num_slots=2, width=4)
state, out = memory_step(params, jax.random.key(1), state, chunk,
                         policy=policy, budget=1)
print(nema_lc_jax.__file__, int(out.writes))
"""


def test_a_built_wheel_runs_a_memory_step_outside_the_checkout(tmp_path):
  source = tmp_path / "source"
  shutil.copytree(ROOT / "nema_lc_jax", source / "nema_lc_jax")
  for name in ("pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, source / name)
  built = subprocess.run(
    [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path,
     source],
    capture_output=True,
    text=True,
    check=False,
  )  # fmt: skip
  if built.returncode and "connection" in built.stderr.lower():
    pytest.skip("pip can't reach an index to build with")
  assert built.returncode == 0, built.stderr
  (wheel,) = tmp_path.glob("*.whl")
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    archive.extractall(tmp_path / "site")
  assert "nema_lc_jax/py.typed" in names
  assert not [n for n in names if n.startswith(("tests", "configs"))]
  result = subprocess.run(
    [sys.executable, "-c", STEP],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  file, writes = result.stdout.split()
  assert file.startswith(str(tmp_path / "site"))
  assert writes == "1"
