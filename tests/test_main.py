"""The command line as its user sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs import lifecycle_lc, lra_lc, toy_lc
from nema_lc_jax import main as command
from nema_lc_jax.training import train
from nema_lc_jax.training.experiment import load_data

ROOT = Path(__file__).parents[1]


def main(*arguments, cwd=ROOT):
  return subprocess.run(
    [sys.executable, "-m", "nema_lc_jax.main", *arguments],
    cwd=cwd,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )


RECALL = "--config=configs/lifecycle_lc.py:recall"


@pytest.mark.parametrize(
  ("arguments", "messages"),
  [
    ((), ["--config is required"]),
    (("--config",), ["--config: expected one argument"]),
    (("--config=configs/toy_lc.py:recal",), ["'recal'", "it has: toy."]),
    (("--config=configs/benchmark_lc.py:big",), ["has no variants, got 'big'"]),
    (
      ("--config=configs/nothing.py",),
      ["no config file configs/nothing.py; there are: configs/babi_lc.py, "],
    ),
    (
      (RECALL, "--config.train.stepz=3"),
      ["no field config.train.stepz; did you mean config.train.steps?"],
    ),
    (
      (RECALL, "--config.steps=3"),
      ["did you mean config.pretrain.steps or config.train.steps?"],
    ),
    ((RECALL, "--config.xyz.xyz=3"), ["no field config.xyz.xyz; --help"]),
    (
      (RECALL, "--config.model.num_reads=3"),
      ["error: config.model.num_reads is now config.model.num_hops."],
    ),
    (
      (RECALL, "--config.memory.controller.noise=1"),
      ["controller.noise cannot be set any more: it is 0.3 in all runs"],
    ),
    ((RECALL, "--wrkdir=x"), ["unknown flag --wrkdir; did you mean --workd"]),
    (
      (RECALL, "--seed=3"),
      ["flag --seed; did you mean --config.seed=3"],
    ),
    ((RECALL, "--num_processes=two"), ["--num_processes: invalid int value"]),
    ((RECALL, "--num_processes=2"), ["--process_id need --distributed"]),
    (
      (RECALL, "--config.train.steps=many"),
      ["config.train.steps must be a whole number, got 'many'."],
    ),
    ((RECALL, "--config.train.steps"), ["a whole number, got no value"]),
    (
      (RECALL, "--config.loss.write=big"),
      ["must be a number, got 'big'"],
    ),
    ((RECALL, "--config.model.remat=2"), ["must be true or false, got '2'"]),
    ((RECALL, "--config.train.curriculum=(1"), ["curriculum", "'(1'"]),
    (
      (RECALL, f"--config.train.curriculum={'(' * 5000}"),
      ["config.train.curriculum must hold triples"],
    ),
    (
      (RECALL, "--config.eval.length_multipliers[0]=2"),
      ["config.eval.length_multipliers must be a tuple", "got '2'"],
    ),
    (
      (RECALL, "--config.eval.length_multipliers=(nan,)"),
      ["multipliers must be a tuple such as (1, 2), each of them a whole numb"],
    ),
    (
      (RECALL, f"--config.train.steps={'9' * 5000}"),
      ["config.train.steps must be a whole number"],
    ),
    (
      (RECALL, "--config.train.learning_rate=nan"),
      ["learning_rate must be a number, above 0 and at most 1e+38, got nan."],
    ),
    (
      (RECALL, "--config.train.curriculum=((0.5, 1e400, 4),)"),
      ["config.train.curriculum must be a number", "got inf"],
    ),
    ((RECALL, "--config.model=3"), ["given field by field: bptt_chunks, "]),
    ((RECALL, "extra"), ["unknown argument 'extra'"]),
    (
      (RECALL, "--config.model.num_heads=3"),
      ["num_heads=3 does not divide config.model.width=64"],
    ),
  ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
  arguments, messages, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(ROOT)
  assert command.main([f"--workdir={tmp_path / 'run'}", *arguments]) == 2
  error = capsys.readouterr().err
  assert error.startswith("error: ")
  assert error.count("\n") == 1
  assert "\\n" not in error
  for message in messages:
    assert message in error
  assert not (tmp_path / "run").exists()


def test_a_mistake_is_the_exit_code_of_the_process():
  result = main(RECALL, "--seed=3")
  assert result.returncode == 2
  assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
  ("field", "value", "messages"),
  [
    (
      "memory.budget",
      -1,
      ["config.memory.budget must be a whole number, at least 0"],
    ),
    ("data.length", 130, ["length 130", "config.model.chunk_length=8"]),
    ("memory.policy", "lru2", ["'lru2'", "none, fifo, lru, lfu, random"]),
    ("data.name", "recal", ["'recal'", "recall"]),
    ("train.batch_size", 0, ["batch_size must be a whole number, at least 1"]),
    ("train.batch_size", 2 * 10**9, ["does not fit", "[500000000, "]),
    ("train.learning_rate", 0.0, ["learning_rate must be a number, above 0"]),
    ("train.curriculum", (("a", 128, 16),), ["must hold triples", "('a', 128"]),
    (
      "memory.controller.hidden",
      0,
      ["hidden must be a whole number, at least 1"],
    ),
    ("model.mlp_ratio", 0.001, ["mlp_ratio=0.001 times"]),
    ("data.num_test", 0, ["num_test", "at least 1"]),
    ("seed", 2**32, ["at most 4294967295, got 4294967296"]),
  ],
)
def test_what_cannot_be_is_named_before_anything_is_written(
  field, value, messages, tmp_path
):
  config = lifecycle_lc.get_config("recall")
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=r".") as error:
    train.run(config, str(tmp_path / "run"))
  assert "\n" not in str(error.value)
  for message in messages:
    assert message in str(error.value)
  assert not (tmp_path / "run").exists()


def test_a_missing_release_says_where_to_get_it(tmp_path):
  config = lra_lc.get_config("retrieval")
  config.data.dir = str(tmp_path)
  with pytest.raises(ValueError, match=r"new_aan_pairs.*lra_release\.gz"):
    train.run(config, str(tmp_path / "run"))


def test_a_workdir_that_is_a_file_is_one_line(tmp_path):
  (tmp_path / "file").write_text("mine")
  result = main(RECALL, f"--workdir={tmp_path / 'file'}")
  assert result.returncode == 2
  assert len(result.stderr.strip().splitlines()) == 1
  assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("get_config", [toy_lc.get_config, lra_lc.get_config])
def test_own_data_joins_any_config(get_config, tmp_path):
  path = tmp_path / "mine.tsv"
  path.write_text("".join(f"{i % 2}\ttext {i}\n" for i in range(40)))
  config = get_config()
  config.unlock()
  config.data.name, config.data.path = "file", str(path)
  assert load_data(config).num_examples["train"] == 32
  config.data.nonsense = 1
  with pytest.raises(ValueError, match="unknown option 'nonsense'"):
    load_data(config)


def test_the_first_lines_say_what_runs_and_a_finished_run_is_kept(tmp_path):
  arguments = [
    "--config=configs/toy_lc.py",
    f"--workdir={tmp_path / 'run'}",
    "--config.memory.policy=fifo",
    "--config.train.steps=2",
    "--config.train.batch_size=4",
    "--config.train.eval_batch_size=8",
    "--config.train.curriculum=()",
    "--config.data.length=32",
    "--config.data.num_eval=8",
    "--config.data.num_test=8",
    "--config.model.width=8",
    "--config.eval.diagnostics=False",
  ]
  result = main(*arguments)
  assert result.returncode == 0, result.stderr
  heads = [line.split()[0] for line in result.stdout.splitlines()]
  expected = ["task", "data", "memory", "model", "training", "devices"]
  assert heads[:7] == [*expected, "results"]
  assert "test accuracy" in result.stdout
  summary = json.loads((tmp_path / "run" / "summary.json").read_text())
  assert summary["steps"] == 2
  assert (tmp_path / "run" / "plots" / "overview.png").exists()
  again = main(*arguments)
  assert again.returncode == 2
  assert "--force" in again.stderr
