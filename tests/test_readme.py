"""What the README shows must work as it stands."""

import re
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
  return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.M)


def test_the_quick_start_is_two_command_lines():
  train, test = blocks("sh")[:2]
  assert train.count("\n") == test.count("\n") == 1
  assert "-m nema_lc_jax.main --config=configs/lra_lc.py" in train
  assert "-m pytest" in test


def test_the_example_of_the_api_runs(capsys):
  example = blocks("python")[0]
  assert len([line for line in example.splitlines() if line.strip()]) <= 20
  scope = {}
  exec(example, scope)  # The code of our own README.
  assert scope["out"].read.shape == (4, 16, 32, 64)
  assert scope["state"].age.shape == (4, 8)
  assert int(scope["out"].writes.max()) <= 2
  assert all(jax.tree.leaves(jax.tree.map(lambda x: x.size, scope["params"])))
