import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from configs import lra_lc
from nema_lc_jax import evaluate
from nema_lc_jax.errors import RunError
from nema_lc_jax.plotting import compare
from nema_lc_jax.runs import intervals
from nema_lc_jax.runs.files import NONFINITE_FILE
from nema_lc_jax.runs.folder import claim_folder
from nema_lc_jax.runs.metrics_log import read_metrics
from nema_lc_jax.runs.summary import read_summary
from nema_lc_jax.training import steps, train
from nema_lc_jax.training.experiment import Experiment, make_experiment
from tests.helpers import figures, run, small_config, tiny_config

ROOT = Path(__file__).parents[2]
FIELDS = {
  "step",
  "split",
  "loss",
  "task_loss",
  "write_loss",
  "forget_loss",
  "stability_loss",
  "accuracy",
  "memory_utilisation",
  "memory_age",
  "write_rate",
  "update_rate",
  "forget_rate",
  "budget_used",
  "churn",
}
# A run of its own process, so that it can be killed: it does so itself.
KILLED = """
import os, signal, sys
from nema_lc_jax.training import train
from tests.helpers import tiny_config

class Dying(train.TrainLoop):
  def save(self, step):
    super().save(step)
    if step == int(sys.argv[2]):
      os.kill(os.getpid(), signal.SIGKILL)

train.TrainLoop = Dying
train.run(tiny_config(), sys.argv[1])
"""


def test_a_run_leaves_what_is_promised(finished):
  workdir, summary = finished
  assert read_summary(workdir) == summary
  low, high = summary.test_accuracy_interval
  assert 0 <= low <= summary.test_accuracy <= high <= 1
  assert summary.test_examples == 40
  assert summary.baselines == {"chance": 0.125, "best_possible": 1.0}
  rows = read_metrics(workdir)
  by_split = {
    split: [r for r in rows if r["split"] == split]
    for split in ("train", "validation", "test")
  }
  assert [r["step"] for r in by_split["train"]] == [2, 3, 4, 6, 8]
  assert [r["step"] for r in by_split["validation"]] == [3, 6, 8]
  assert len(by_split["test"]) == 1
  for row in rows:
    assert set(row) >= FIELDS
    assert all(math.isfinite(v) for v in row.values() if not isinstance(v, str))
  extra = {"learning_rate", "grad_norm", "examples_per_second"}
  assert set(by_split["train"][0]) >= FIELDS | extra
  assert list((workdir / "tensorboard").iterdir())
  plots = {p.name for p in (workdir / "plots").iterdir()}
  for name in ("memory_utilisation", "retention_age", "operation_rates",
               "loss_components", "memory_timeline"):  # fmt: skip
    assert {f"{name}.png", f"{name}.pdf"} <= plots


def test_a_run_without_slots_says_nothing_of_them(tmp_path):
  summary = train.run(small_config(), str(tmp_path))
  of_slots = FIELDS - {"step", "split", "loss", "task_loss", "accuracy"}
  for row in [*read_metrics(tmp_path), summary.test_metrics]:
    assert not of_slots & set(row)
    assert "accuracy" in row
  assert {path.stem for path in (tmp_path / "plots").iterdir()} == {
    "learning_curve",
    "loss_components",
    "overview",
  }


def test_a_finished_run_is_not_overwritten_unless_forced(finished):
  workdir, _ = finished
  before = (workdir / "summary.json").read_bytes()
  with pytest.raises(ValueError, match=r"is finished: .*--force"):
    train.run(tiny_config(), str(workdir))
  assert (workdir / "summary.json").read_bytes() == before


def test_another_config_is_not_mixed_in(tmp_path):
  def prepare(config, folder, *, force, data="of data"):
    interface = {"head": "classify", "vocab_size": 35, "num_classes": 8}
    claim_folder(config, interface, folder, fingerprint=data, force=force)

  prepare(tiny_config(), tmp_path / "a", force=False)
  other = tiny_config()
  other.memory.budget = 1
  with pytest.raises(
    ValueError, match=r"config.memory.budget is 2 there and 1 here"
  ):
    prepare(other, tmp_path / "a", force=False)
  prepare(other, tmp_path / "a", force=True)
  with pytest.raises(ValueError, match="was begun on other data"):
    prepare(other, tmp_path / "a", force=False, data="of others")
  prepare(other, tmp_path / "a", force=True, data="of others")
  (tmp_path / "mine").mkdir()
  (tmp_path / "mine" / "thesis.tex").write_text("do not touch")
  for force in (False, True):
    with pytest.raises(ValueError, match="not empty, and holds no run"):
      prepare(other, tmp_path / "mine", force=force)


def test_a_killed_run_resumes_bit_equal(finished, tmp_path):
  workdir, summary = finished
  killed = tmp_path / "killed"
  for step in (3, 6):  # The second stage begins after step 3.
    process = subprocess.run(
      [sys.executable, "-c", KILLED, str(killed), str(step)],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
  resumed = run(tiny_config(), killed)
  assert resumed.params_sha256 == summary.params_sha256
  assert resumed.test_accuracy == summary.test_accuracy
  timeless = lambda rows: [
    {k: v for k, v in row.items() if k != "examples_per_second"} for row in rows
  ]
  assert timeless(read_metrics(killed)) == timeless(read_metrics(workdir))


def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
  process = subprocess.Popen(
    [
      sys.executable,
      "-c",
      "import sys\n"
      "from nema_lc_jax.training import train\n"
      "from tests.helpers import small_config\n"
      "c = small_config()\n"
      "c.train.update(log_every=1, steps=100_000)\n"
      "train.run(c, sys.argv[1])",
      str(tmp_path / "run"),
    ],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
    env=os.environ | {"PYTHONUNBUFFERED": "1"},
  )
  deadline = time.monotonic() + 120
  metrics = tmp_path / "run" / "metrics.jsonl"
  while not (metrics.exists() and metrics.read_text()):
    assert time.monotonic() < deadline
    assert process.poll() is None
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=120)
  assert "SIGTERM: stopped after step" in errors
  assert "the same command resumes" in errors
  latest = tmp_path / "run" / "checkpoints" / "latest"
  assert [p for p in latest.iterdir() if p.name.isdigit()]


def test_seeds_and_learning_rates_share_their_programs():
  other = tiny_config(learning_rate=0.5)
  other.seed = 1
  one = make_experiment(tiny_config()).steps
  assert make_experiment(other).steps is one
  other.memory.budget = 1
  assert make_experiment(other).steps is not one


def test_the_largest_seed_has_batches_in_every_stage():
  config = small_config()
  config.seed = 2**32 - 1
  experiment = make_experiment(config)
  assert len(experiment.stages) == 2
  for stage in experiment.stages:
    assert next(experiment.batches(stage))["inputs"].shape == (8, 80)


def test_too_many_non_finite_steps_stop_the_run(tmp_path, monkeypatch):
  real = steps.losses.total_loss

  def broken(*args, **kwargs):
    return real(*args, **kwargs) * jnp.nan

  monkeypatch.setattr(steps.losses, "total_loss", broken)
  # No other test has this config, so none gets programs made of this.
  config = small_config()
  config.train.max_consecutive_nonfinite = 1
  with pytest.raises(RunError, match=r"last 2 steps had non-finite"):
    train.run(config, str(tmp_path / "run"))
  with np.load(tmp_path / "run" / NONFINITE_FILE, allow_pickle=False) as left:
    assert int(left["step"]) == 2
    assert left["batch.inputs"].shape == (8, 80)
    assert left["state.params.head.logits.kernel"].ndim == 2
    assert left["state.opt_state.notfinite_count"] == 2
    assert all(np.isfinite(left[name]).all() for name in left.files)


def on_a_full_disk(workdir, on_save_error):
  return subprocess.run(
    [sys.executable, "-m", "tests.training.full_disk", workdir, on_save_error],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_full_disk_stops_the_run_and_loses_nothing(finished, tmp_path):
  process = on_a_full_disk(tmp_path / "run", "stop")
  assert process.returncode == 1
  assert re.search(r"stopped: .*step 8: .*could not be writ", process.stderr)
  assert re.findall(r"saved step (\d)", process.stdout) == ["3", "6"]
  resumed = run(tiny_config(), tmp_path / "run")
  assert resumed.params_sha256 == finished[1].params_sha256


def test_a_run_that_is_told_to_goes_on_without_saving(finished, tmp_path):
  process = on_a_full_disk(tmp_path / "run", "continue")
  assert process.returncode == 0, process.stderr
  assert re.findall(r"saved step (\d)", process.stdout) == ["3", "6"]
  assert "training continues without it" in process.stderr
  summary = read_summary(tmp_path / "run")
  assert summary.params_sha256 == finished[1].params_sha256


def test_a_collapsed_memory_is_reported(tmp_path, capsys, monkeypatch):
  init = Experiment.init

  def closed(self):
    """The first state, with a gate that lets nothing into the memory."""
    state = init(self)
    logit = state.params["policy"]["gate"]["logit"]
    logit["bias"] = logit["bias"] - 20.0
    return state

  monkeypatch.setattr(Experiment, "init", closed)
  summary = run(tiny_config(learning_rate=1e-6), tmp_path / "run")
  assert "same with the memory off" in summary.memory_warning
  assert summary.memory_warning.endswith("; write rate 0.")
  printed, told = capsys.readouterr()
  assert printed.count("COLLAPSED MEMORY") == 1
  # It could have been known after the first validation, and then for certain.
  nothing = "so far nothing is written (write rate 0)."
  early, late = [line for line in told.splitlines() if "so far" in line]
  assert early == f"step 3: {nothing}"
  assert late == f"WARNING: step 6: {nothing}"


def test_runs_of_several_seeds_are_compared(finished, tmp_path):
  workdir, _ = finished
  config = tiny_config()
  config.seed = 1
  run(config, tmp_path / "other")
  with figures():
    compare([workdir, tmp_path / "other"], tmp_path / "out")
  table = (tmp_path / "out" / "compare.csv").read_text()
  assert "learned,2," in table, table


def test_evaluate_on_the_users_own_file(finished, tmp_path, capsys):
  workdir, _ = finished
  rng = np.random.default_rng(0)
  arrays = {
    "inputs": rng.integers(1, 30, (20, 80)),
    "labels": np.arange(20) % 8,
  }
  np.savez(tmp_path / "mine.npz", **arrays)
  arguments = [
    f"--workdir={workdir}",
    "--config.data.name=file",
    f"--config.data.path={tmp_path / 'mine.npz'}",
  ]
  # All of the file, which has no part in training, unless a split is named.
  assert evaluate.main(arguments) == 0
  report = json.loads(capsys.readouterr().out)
  assert (report["split"], report["examples"]) == ("all", 20)
  assert report["trained_examples"] is None  # of a task that draws them anew
  assert evaluate.main([*arguments, "--split=test"]) == 0
  report = json.loads(capsys.readouterr().out)
  assert (report["split"], report["examples"]) == ("test", 2)
  few = {name: array[:1] for name, array in arrays.items()}
  np.savez(tmp_path / "mine.npz", **few)  # less than a training batch
  assert evaluate.main(arguments) == 0
  assert json.loads(capsys.readouterr().out)["examples"] == 1
  arrays["inputs"][3, 4] = 999
  np.savez(tmp_path / "mine.npz", **arrays)
  assert evaluate.main(arguments) == 2
  assert "vocab_size 1000, the model 35" in capsys.readouterr().err


def test_evaluate_again_on_another_split_and_length(finished, capsys, caplog):
  workdir, summary = finished
  assert evaluate.main([f"--workdir={workdir}"]) == 0
  assert "other data" not in caplog.text
  report = json.loads(capsys.readouterr().out)
  assert report["accuracy"] == summary.test_accuracy
  assert report["accuracy_memory_off"] == summary.test_accuracy_memory_off
  arguments = [f"--workdir={workdir}", "--split=validation"]
  assert evaluate.main([*arguments, "--config.data.length=160"]) == 0
  report = json.loads(capsys.readouterr().out)
  assert report["split"] == "validation"
  assert report["length"] == 160
  assert report["metrics"]["examples"] == 24


def test_evaluating_on_changed_data_is_said(finished, tmp_path, caplog):
  workdir = shutil.copytree(finished[0], tmp_path / "run")
  (workdir / "data.json").write_text('{"fingerprint": "of others"}')
  assert evaluate.main([f"--workdir={workdir}", "--split=validation"]) == 0
  assert "was begun on other data (fingerprint of others, now" in caplog.text


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--workdir=nowhere"], "nowhere is not the folder of a run"),
    (["--config.data.lenth=8"], "lenth"),
    (["--config.data.length=81"], "multiples of config.model.chunk_length=8"),
    (["stray"], "unknown argument 'stray'"),
    (
      ["--config.model.conv_kernel_size=3"],
      "is of a model with other parameters",
    ),
  ],
)
def test_evaluate_names_mistakes_in_one_line(
  finished, arguments, message, capsys
):
  workdir, _ = finished
  if not arguments[0].startswith("--workdir"):
    arguments = [f"--workdir={workdir}", *arguments]
  assert evaluate.main(arguments) == 2
  errors = capsys.readouterr().err
  assert message in errors
  assert errors.count("\n") == 1


@pytest.mark.parametrize(
  ("successes", "examples", "low", "high"),
  # Wilson's interval, from the formula with z = 1.96 by hand.
  [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_interval(successes, examples, low, high):
  assert intervals.interval(successes / examples, examples) == pytest.approx(
    (low, high), abs=1e-4
  )


def test_pairs_of_texts_are_told_apart_from_end_to_end(tmp_path):
  # Of retrieval and toy this is shown in test_lra_lc.py and test_main.py.
  c = lra_lc.get_config("pytext")
  c.data.num_eval, c.data.num_test = 8, 8
  c.model.update(width=8, num_heads=2)
  c.memory.policy = "fifo"
  c.train.update(
    steps=2, batch_size=4, eval_batch_size=8, log_every=1, curriculum=()
  )
  with figures("overview"):
    summary = train.run(c, str(tmp_path / "run"))
  assert summary.steps == 2
  assert (tmp_path / "run" / "plots" / "overview.png").exists()
