"""A sweep from end to end: what it leaves, resumes and refuses."""

import concurrent.futures
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

from nema_lc_jax.errors import RunError
from nema_lc_jax.sweep import __main__ as command
from nema_lc_jax.sweep import pool
from nema_lc_jax.sweep import run as runner
from tests.helpers import figures
from tests.summaries import a_summary
from tests.sweep import workers

# ml_collections loads config files in a way that Python gives up.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
ROOT = Path(__file__).parents[2]
# A run takes seconds; batch sizes suit the tests' fake devices.
TINY = (
  "--config=configs/lifecycle_lc.py:rebind",
  "--config.data.length=80",
  "--config.data.num_eval=8",
  "--config.data.num_test=16",
  "--config.model.width=8",
  "--config.model.num_layers=0",
  "--config.model.num_heads=2",
  "--config.memory.num_slots=3",
  "--config.memory.controller.hidden=4",
  "--config.train.curriculum=()",
  "--config.train.steps=6",
  "--config.train.batch_size=4",
  "--config.train.eval_batch_size=8",
  "--config.train.log_every=1",
  "--config.train.eval_every=6",
  "--config.train.checkpoint_every=2",
  "--config.train.warmup_steps=1",
  "--config.eval.length_multipliers=(1,2)",
  "--config.eval.examples=4",
  "--config.eval.diagnostics=False",
)
# The command, but that its run waits for a signal after its first step.
KILLED = """
import concurrent.futures, runpy
from tests.sweep import workers

pool = concurrent.futures.ProcessPoolExecutor

def waiting(*args, initializer, **options):
  return pool(*args, initializer=workers.start_and_wait, **options)

concurrent.futures.ProcessPoolExecutor = waiting
runpy.run_module("nema_lc_jax.sweep", run_name="__main__")
"""
ONE = ("--policies=fifo", "--seeds=2", "--jobs=1")
TWO = ("--policies=fifo,learned", *ONE[1:])
DRAWN = ("accuracy_by_length", "compare_accuracy")
POOL = concurrent.futures.ProcessPoolExecutor


def run(out, *arguments, drawn=()):
  """The exit code of a sweep, of whose own figures these are drawn."""
  with figures(*drawn):
    return command.main([*TINY, *arguments, f"--out={out}"])


class OneWorker(concurrent.futures.Executor):
  """A pool whose worker stays for the next one, with what it has compiled."""

  pool = None

  def __init__(self, processes, *, initializer, **options):
    assert processes == 1
    del initializer
    if OneWorker.pool is None:
      OneWorker.pool = POOL(1, initializer=workers.start, **options)

  def submit(self, *args):
    return OneWorker.pool.submit(*args)

  def shutdown(self, *args, **options):
    pass


@pytest.fixture(autouse=True, scope="module")
def trained():
  """Titles of the runs that are given to workers, since it was cleared."""
  titles, real = [], pool.work

  def work(jobs, **options):
    titles.extend(job.title for job in jobs)
    return real(jobs, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    patch.setattr(pool, "work", work)
    patch.setattr(concurrent.futures, "ProcessPoolExecutor", OneWorker)
    yield titles
  if OneWorker.pool is not None:
    OneWorker.pool.shutdown()
    OneWorker.pool = None


@pytest.fixture(scope="module")
def first(tmp_path_factory, trained):
  """A finished sweep of one policy and two seeds."""
  folder = tmp_path_factory.mktemp("sweep") / "first"
  assert run(folder, *ONE) == 0
  assert len(trained) == 2
  return folder


@pytest.fixture(scope="module")
def out(first, tmp_path_factory, trained):
  """The same with a second policy, after one of its runs was lost."""
  folder = shutil.copytree(first, tmp_path_factory.mktemp("sweep") / "out")
  shutil.rmtree(folder / "runs" / "fifo" / "seed0")
  trained.clear()
  assert run(folder, *TWO, drawn=DRAWN) == 0
  names = [title.split(" · ")[0] + title[-1] for title in trained]
  # What was there is not trained again.
  assert names == ["fifo0", "learned0", "learned1"]
  return folder


def summaries(out):
  """Summaries by (policy, seed)."""
  found = {}
  for path in sorted(out.glob("runs/*/seed*/summary.json")):
    name, seed = path.parts[-3], int(path.parts[-2].removeprefix("seed"))
    found[name, seed] = json.loads(path.read_text())
  return found


def table_of(out, name="table.csv"):
  with (out / name).open(encoding="utf-8") as file:
    return list(csv.DictReader(file))


def snapshot(folder):
  """Time and size of every file, to see whether any was touched."""
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in folder.rglob("*")
    if path.is_file()
  }


def test_every_run_is_as_main_would_leave_it(out):
  found = summaries(out)
  policies = ("fifo", "learned")
  assert set(found) == {(p, s) for p in policies for s in (0, 1)}
  for (policy, seed), summary in found.items():
    assert (summary["policy"], summary["seed"]) == (policy, seed)
    assert summary["config"]["memory"]["policy"] == policy
    assert summary["steps"] == 6
    folder = out / "runs" / policy / f"seed{seed}"
    for name in ("config.json", "metrics.jsonl", "checkpoints", "plots"):
      assert (folder / name).exists(), name
    log = (out / "logs" / "runs" / policy / f"seed{seed}.txt").read_text()
    assert "test accuracy" in log
  sums = [summary["params_sha256"] for summary in found.values()]
  assert len(set(sums)) == 4


def test_the_table_equals_the_summaries(out):
  found, table = summaries(out), table_of(out)
  assert [row["policy"] for row in table] == ["fifo", "learned"]
  for row in table:
    runs = [found[row["policy"], seed] for seed in (0, 1)]
    values = [summary["test_accuracy"] for summary in runs]
    assert row["n"] == "2"
    assert float(row["test_accuracy"]) == pytest.approx(np.mean(values))
    half = stats.t.ppf(0.975, 1) * stats.sem(values)
    assert float(row["low"]) == pytest.approx(np.mean(values) - half, abs=1e-4)
    for times in ("1", "2"):
      expected = [s["test_accuracy_by_length"][times] for s in runs]
      got = float(row[f"accuracy_x{times}"])
      assert got == pytest.approx(np.mean(expected), abs=1e-5)
      assert float(row[f"oracle_x{times}"]) == 1.0
    for name in ("churn", "write_recall", "premature_forget_rate"):
      expected = [s["test_metrics"][name] for s in runs]
      assert float(row[name]) == pytest.approx(np.mean(expected), abs=1e-5)
    warnings = [s["memory_warning"] for s in runs]
    assert int(row["collapsed"]) == sum(map(bool, warnings))
  gaps = [
    found["learned", s]["test_accuracy"] - found["fifo", s]["test_accuracy"]
    for s in (0, 1)
  ]
  gap = float(table[0]["reference_minus_this"])
  assert gap == pytest.approx(np.mean(gaps), abs=1e-6)
  assert table[1]["reference_minus_this"] == ""
  lines = table_of(out, "runs.csv")
  assert {
    (line["policy"], int(line["seed"])): float(line["test_accuracy"])
    for line in lines
  } == {k: pytest.approx(s["test_accuracy"]) for k, s in found.items()}


def test_the_tables_for_people_and_the_figures_are_there(out):
  markdown = (out / "table.md").read_text()
  for row in table_of(out):
    assert f"| {row['policy']} | 2 | {float(row['test_accuracy']):.3f} [" in (
      markdown
    )
  assert (out / "table.tex").read_text().count(r"\\") == 4
  for name in DRAWN:
    for suffix in ("png", "pdf"):
      path = out / "figures" / f"{name}.{suffix}"
      assert path.stat().st_size > 5000


def test_again_trains_nothing_and_draws_the_same_table(out, trained, capsys):
  trained.clear()
  runs, table = snapshot(out / "runs"), (out / "table.csv").read_bytes()
  (out / "table.csv").unlink()
  assert run(out, *TWO) == 0
  assert trained == []
  assert snapshot(out / "runs") == runs
  assert (out / "table.csv").read_bytes() == table
  assert (out / "table.md").read_text().splitlines()[0] in (
    capsys.readouterr().out
  )


def test_a_lost_run_is_trained_again_to_the_same_bit(first, out):
  before, after = summaries(first), summaries(out)
  for field in ("params_sha256", "test_accuracy", "data_fingerprint"):
    assert after["fifo", 0][field] == before["fifo", 0][field], field
  kept = lambda folder: [
    value for _, value in sorted(snapshot(folder / "runs/fifo/seed1").items())
  ]
  assert kept(out) == kept(first)
  assert [row["policy"] for row in table_of(first)] == ["fifo"]


def test_encoders_are_trained_beside_the_policies_that_are_there(
  first, tmp_path, trained
):
  out = shutil.copytree(first, tmp_path / "out")
  trained.clear()
  only = "--policies=fifo", "--seeds=1", "--jobs=1", "--reference=fifo"
  drawn = ("compare_cost",)
  assert run(out, *only, "--encoders=ssm", drawn=drawn) == 0
  assert trained == ["ssm · rate 0.002 · seed 0"]
  found = summaries(out)
  fifo, ssm = found["fifo", 0], found["ssm", 0]
  assert ssm["policy"] == ssm["config"]["model"]["encoder"] == "ssm"
  assert ssm["test_accuracy_memory_off"] is None
  assert ssm["peak_memory_bytes"] > 4 * 3 * ssm["num_parameters"]
  sizes = [summary["num_parameters"] for summary in (fifo, ssm)]
  assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
  table = table_of(out)
  assert [row["policy"] for row in table] == ["fifo", "ssm"]
  assert [int(row["num_parameters"]) for row in table] == sizes
  gap = float(table[1]["reference_minus_this"])
  expected = fifo["test_accuracy"] - ssm["test_accuracy"]
  assert gap == pytest.approx(expected, abs=1e-6)
  assert (out / "figures" / "compare_cost.png").exists()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ("--config.memory.budget=1", "config.memory.budget is 2 there and 1 here"),
    ("--config.data.length=160", "config.data.length is 80 there and 160 here"),
  ],
)
def test_another_config_is_refused_and_nothing_is_touched(
  change, message, out, trained, capsys
):
  trained.clear()
  before = snapshot(out)
  assert run(out, *TWO, change) == 2
  errors = capsys.readouterr().err
  assert errors.count("\n") == 1
  assert message in errors
  assert "another --out" in errors
  assert trained == []
  assert snapshot(out) == before


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
  (tmp_path / "thesis.tex").write_text("do not touch")
  assert run(tmp_path, *TWO) == 2
  errors = capsys.readouterr().err
  assert errors.count("\n") == 1
  assert "is not empty, and holds no sweep" in errors
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--policies=fifo,lrru"], "unknown policy 'lrru'"),
    (["--encoders=big"], "--encoders: 'big' is unknown; known: local, full"),
    (["--seeds=0"], "--seeds must be at least one seed below 1000, got 0"),
    (["--jobs=0"], "--jobs must be at least 1, got 0"),
    (["--grid=config.memory.budget"], "config.FIELD=A,B"),
    (["--grid=config.memory.slots=1,2"], "no field config.memory.slots; "),
    (["--config.train.stepz=3"], "stepz"),
    (["extra"], "unknown argument 'extra'"),
    (["--learning_rates=0"], "--learning_rates must be a number, above 0"),
  ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
  arguments, message, tmp_path, capsys
):
  assert run(tmp_path / "out", *arguments) == 2
  errors = capsys.readouterr().err
  assert errors.count("\n") == 1
  assert message in errors
  assert not (tmp_path / "out").exists()


def test_a_damaged_sweep_is_one_line(tmp_path, capsys):
  (tmp_path / "sweep.json").write_text("{")
  assert run(tmp_path, *TWO) == 2
  assert capsys.readouterr().err.count("\n") == 1


def test_a_run_that_fails_is_named_and_the_others_are_finished(
  first, tmp_path, capsys
):
  again = shutil.copytree(first, tmp_path / "out")
  # No folder can be made where a file is.
  shutil.rmtree(again / "runs" / "fifo" / "seed1")
  (again / "runs" / "fifo" / "seed1").write_text("in the way")
  assert run(again, *ONE) == 1
  errors = capsys.readouterr().err
  (line,) = [x for x in errors.splitlines() if x.startswith("failed: ")]
  assert "fifo · rate 0.002 · seed 1" in line
  assert {row["policy"]: row["n"] for row in table_of(again)} == {"fifo": "1"}


def test_a_killed_sweep_says_how_to_go_on_and_does(first, tmp_path):
  out = tmp_path / "out"
  arguments = *TINY, "--policies=fifo", "--seeds=1", f"--out={out}"
  process = subprocess.Popen(
    [sys.executable, "-c", KILLED, *arguments],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  folder = out / "runs" / "fifo" / "seed0"
  metrics, deadline = folder / "metrics.jsonl", time.monotonic() + workers.LIMIT
  while not (metrics.exists() and metrics.read_text()):
    assert time.monotonic() < deadline
    assert process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=workers.LIMIT)
  assert process.returncode == 1
  assert "the same command resumes" in errors.splitlines()[-1]
  assert "Traceback" not in errors
  assert not (folder / "summary.json").exists()
  saved = [p.name for p in (folder / "checkpoints" / "latest").iterdir()]
  # Where the signal came, and not where one is saved anyway.
  assert {name for name in saved if name.isdigit()} == {"2", "3"}
  with figures():
    assert command.main(arguments) == 0
  # As if nothing had happened.
  found, expected = summaries(out)["fifo", 0], summaries(first)["fifo", 0]
  assert found["params_sha256"] == expected["params_sha256"]
  rows = [json.loads(line) for line in metrics.read_text().splitlines()]
  steps = [row["step"] for row in rows if row["split"] == "train"]
  assert steps == list(range(1, 7))


def test_the_best_rate_is_that_of_the_best_mean(tmp_path, monkeypatch):
  """A lucky run does not decide where there are several."""
  reached = {
    (1000, 1e-3): 0.8, (1001, 1e-3): 0.7,
    (1000, 2e-3): 0.9, (1001, 2e-3): 0.2,
  }  # fmt: skip

  def finished(run, out):
    rate = run.config.train.learning_rate
    score = reached[run.seed, rate]
    return a_summary(validation_accuracy=score)

  monkeypatch.setattr(runner, "_train", lambda *_: [])
  monkeypatch.setattr(runner, "_finished", finished)
  arguments = *TINY, f"--out={tmp_path}", *ONE, "--learning_rates=1e-3,2e-3"
  one = command.parse(arguments)
  assert runner._tune(one) == ({"fifo": 2e-3}, [])
  two = command.parse([*arguments, "--tuning_seeds=2"])
  assert runner._tune(two) == ({"fifo": 1e-3}, [])
  assert len((tmp_path / "tuning.csv").read_text().splitlines()) == 5
  # Of equal ones the config's own.
  reached[1000, 1e-3] = reached[1000, 2e-3]
  for own in (1e-3, 2e-3, 3e-3):
    own_rate = f"--config.train.learning_rate={own}"
    equal = command.parse([*arguments, own_rate])
    expected = own if own < 3e-3 else 1e-3
    assert runner._tune(equal) == ({"fifo": expected}, [])


class Dying(concurrent.futures.Executor):
  """Of the jobs of a pool, finishes as many as `finishes` says, then dies."""

  finishes = [1, 2, 0]  # noqa: RUF012

  def __init__(self, *args, **options):
    self.left = Dying.finishes.pop(0)

  def submit(self, function, job):
    future = concurrent.futures.Future()
    if self.left:
      self.left -= 1
      future.set_result("done")
    else:
      future.set_exception(BrokenProcessPool("terminated abruptly"))
    return future

  def shutdown(self, *args, **options):
    pass


def test_what_goes_down_with_a_dead_process_is_taken_up_again(
  monkeypatch, capsys
):
  monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Dying)
  jobs = [pool.Job("", "", f"run {i}", "") for i in range(5)]
  failed = pool.work(jobs, processes=2, title="runs")
  # The third pool finishes nothing: that is the end.
  assert failed == ["run 3: its process died.", "run 4: its process died."]
  assert not Dying.finishes
  lines = capsys.readouterr().out.splitlines()
  done = sorted(line.strip() for line in lines if line.strip())
  assert done == [f"run {i}: done" for i in range(3)]


class Interrupting(concurrent.futures.Executor):
  """A pool in whose parent a signal comes when it is given its first job."""

  number = mask = None

  def __init__(self, *args, **options):
    pass

  def submit(self, function, job):
    # What a worker that is started now inherits.
    Interrupting.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.raise_signal(Interrupting.number)
    return concurrent.futures.Future()

  def shutdown(self, *args, **options):
    pass


@pytest.mark.parametrize(
  ("number", "error"),
  [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, RunError)],
)
def test_a_signal_stops_the_parent_and_ctrl_c_is_for_it_alone(
  number, error, monkeypatch
):
  monkeypatch.setattr(Interrupting, "number", number)
  monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Interrupting)
  before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
  with pytest.raises(error) as raised:
    pool.work([pool.Job("", "", "a run", "")], processes=1, title="runs")
  assert raised.type is error
  assert signal.SIGINT in Interrupting.mask
  after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
  assert after == before
  assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


# A worker that outlives one signal, as if it were training, and its parent.
ORPHAN = """
import multiprocessing, signal, sys, time
from nema_lc_jax.sweep import pool

def work():
  pool.AGAIN_AFTER = 0.1
  def save(*unused):
    print("saved", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
  signal.signal(signal.SIGTERM, save)
  pool.threading.Thread(target=pool._follow_parent, daemon=True).start()
  print("working", flush=True)
  while True:
    time.sleep(1)

if __name__ == "__main__":
  multiprocessing.get_context("spawn").Process(target=work).start()
"""


def test_a_worker_without_its_parent_saves_and_ends(tmp_path):
  (tmp_path / "orphan.py").write_text(ORPHAN)
  parent = subprocess.Popen(
    [sys.executable, str(tmp_path / "orphan.py")],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    text=True,
  )
  assert parent.stdout.readline() == "working\n"
  parent.kill()
  # It ends when the worker does, which has inherited it.
  assert parent.communicate(timeout=workers.LIMIT)[0] == "saved\n"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux only")
def test_programs_are_dropped_where_they_are_too_many(monkeypatch):
  function = jax.jit(lambda x: x + 1)
  function(1.0)
  pool.release_programs()
  assert function._cache_size() == 1
  monkeypatch.setattr(pool, "MANY_MAPPINGS", 1)
  pool.release_programs()
  assert function._cache_size() == 0
