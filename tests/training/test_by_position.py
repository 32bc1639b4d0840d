"""What bytes cost by their place, and which of them are copies."""

import json

import numpy as np
import pytest

from nema_lc_jax import evaluate
from nema_lc_jax.training import by_position
from nema_lc_jax.training.evaluation import evaluate as evaluate_split
from nema_lc_jax.training.restore import open_run
from tests.helpers import save_run, tiny_config


@pytest.mark.parametrize(
  ("text", "chunk", "marks"),
  [
    # Its first two bytes say which word it is.
    ("alpha beta_1 alpha", 4, "             ..###"),
    # Not more than a chunk ago: between the two are 8 bytes.
    ("alpha beta_1 alpha", 8, ""),
    ("alpha beta_1 alpha", 7, "             ..###"),
    # 6 and 12; the nearest one counts.
    ("alpha alpha alpha", 0, "      ..### ..###"),
    ("alpha alpha", 1, ""),
    # Too short; another word; digits do not begin a word.
    ("beta x beta  alphas  alpha  12345  12345", 0, ""),
    ("", 4, ""),
  ],
)
def test_copied_words_by_hand(text, chunk, marks):
  found = by_position.copied(text.encode(), chunk)
  assert "".join(" #"[int(x)] for x in found).rstrip() == marks.replace(
    ".", " "
  )


def test_the_ranges_double_and_end_with_the_text():
  assert list(by_position.ranges(100, 8)) == [
    (0, 8), (8, 16), (16, 32), (32, 64), (64, 100)
  ]  # fmt: skip
  assert list(by_position.ranges(5, 8)) == [(0, 5)]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("lm")
  rng = np.random.default_rng(0)
  words = [bytes(rng.integers(97, 123, 7, np.uint8)) for _ in range(20)]
  for split in ("train", "validation", "test"):
    (folder / split).mkdir()
    for i in range(3):
      text = b" ".join(words[k] for k in rng.integers(0, 20, 40))
      (folder / split / f"{i}.txt").write_bytes(text)
  config = tiny_config()
  config.data = {"name": "lm", "length": 80, "path": str(folder)}
  config.data.num_eval, config.data.num_test = 5, 9
  return save_run(config, tmp_path_factory.mktemp("run"))


def test_positions_and_copies_add_up(workdir, capsys):
  arguments = ["--workdir", str(workdir), "--positions"]
  assert evaluate.main(arguments) == 0
  report = json.loads(capsys.readouterr().out)
  assert report["split"] == "test"
  rows = report["positions"]
  assert [(r["from"], r["to"]) for r in rows] == [
    (0, 8), (8, 16), (16, 32), (32, 64), (64, 80)
  ]  # fmt: skip
  experiment, state = open_run(workdir)
  whole = evaluate_split(experiment, state.params, "test").metrics
  assert sum(r["bytes"] for r in rows) == whole["questions"]
  for name, of in (("memory", None), ("memory_off", 0)):
    mean = sum(r[name] * r["bytes"] for r in rows) / whole["questions"]
    one = evaluate_split(experiment, state.params, "test", budget=of).metrics
    assert mean == pytest.approx(one["bits_per_byte"], rel=1e-4)
  copies = report["copies"]
  assert 0 < copies["bytes"] < whole["questions"] / 2
  assert copies["fifo"] > 0
  low, high = copies["gain_interval"]
  assert low <= copies["memory_off"] - copies["memory"] <= high


def test_a_mistake_is_one_line(workdir, tmp_path, capsys):
  other = save_run(tiny_config(), tmp_path)
  for arguments, words in (
    (["--workdir", str(other), "--positions"], "is for language models of"),
    (["--workdir", str(workdir), "--positions", "--times=2"], "name one."),
  ):
    assert evaluate.main(arguments) != 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
