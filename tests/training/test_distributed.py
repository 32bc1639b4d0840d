"""Two real processes on this machine: one run, one checkpoint, one end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nema_lc_jax import data
from nema_lc_jax.runs.lock import locked
from nema_lc_jax.runs.metrics_log import read_metrics
from nema_lc_jax.training import distributed, sharding
from tests.helpers import run, small_config

ROOT = Path(__file__).parents[2]
# A config file for main, small enough to compile at once; what the memory does
# on many devices is in test_sharding.py.
CONFIG = """
from tests.helpers import small_config as get_config
"""
# Main, but that it kills itself once it has saved a step.
KILLED = """
import os, signal, sys
from nema_lc_jax import main
from nema_lc_jax.training import train

class Dying(train.TrainLoop):
  def save(self, step):
    super().save(step)
    if step == 6:
      os.kill(os.getpid(), signal.SIGKILL)

train.TrainLoop = Dying
sys.exit(main.main())
"""


def start(folder, *arguments, program=("-m", "nema_lc_jax.main")):
  """Two processes with a device each, and their output in folder/N.txt.

  In arguments, {} is the number of the process.
  """
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.py").write_text(CONFIG)
  # One device each, in place of the tests' four.
  flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1"
  environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
  processes = []
  for index in range(2):
    with (folder / f"{index}.txt").open("w") as output:
      processes.append(
        subprocess.Popen(
          [
            sys.executable, *program, f"--config={folder / 'config.py'}",
            f"--workdir={folder / 'run'}", "--distributed",
            f"--coordinator=localhost:{port}", "--num_processes=2",
            f"--process_id={index}", *(x.format(index) for x in arguments),
          ],
          cwd=ROOT,
          env=environment,
          stdout=output,
          stderr=output,
        )
      )  # fmt: skip
  return processes


def ends(folder, processes, within):
  """Exit codes and outputs; whatever is left is killed."""
  try:
    codes = [process.wait(timeout=within) for process in processes]
  finally:
    for process in processes:
      process.kill()
  return codes, [(folder / f"{i}.txt").read_text() for i in range(2)]


def wait_for_metrics(folder, processes):
  metrics = folder / "run" / "metrics.jsonl"
  deadline = time.monotonic() + 300
  while not (metrics.exists() and metrics.read_text()):
    assert time.monotonic() < deadline
    for i, process in enumerate(processes):
      assert process.poll() is None, (folder / f"{i}.txt").read_text()[-2000:]
    time.sleep(0.1)


def numbers(workdir):
  """All that was written but speeds, which no two runs share."""
  return [
    {k: v for k, v in row.items() if k != "examples_per_second"}
    for row in read_metrics(workdir)
  ]


def assert_same(found, expected):
  assert len(found) == len(expected)
  for a, b in zip(found, expected, strict=True):
    assert (a.pop("step"), a.pop("split")) == (b.pop("step"), b.pop("split"))
    # Sums over rows are added in another order.
    assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run of one process, on four devices: its folder and its summary."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  return workdir, run(small_config(), workdir)


def test_two_processes_die_and_one_goes_on_with_the_same_numbers(
  whole, tmp_path, monkeypatch
):
  workdir, expected = whole
  pair = tmp_path / "pair"
  processes = start(pair, program=("-c", KILLED))
  codes, outputs = ends(pair, processes, within=300)
  assert codes == [-signal.SIGKILL] * 2, outputs
  assert "step 6/8" in outputs[0]
  assert "step" not in outputs[1]
  latest = pair / "run" / "checkpoints" / "latest"
  names = {path.name for path in latest.iterdir()}
  assert names == {"3", "6", "3.sha256.json", "6.sha256.json"}
  shutil.copytree(pair / "run", tmp_path / "one")
  # This process has four devices, and shards over them; another one has one.
  monkeypatch.setattr(sharding, "LARGE", 32)
  config = small_config()
  config.train.fsdp = 4
  found = run(config, pair / "run")
  assert found.test_examples == 40
  assert found.test_accuracy == expected.test_accuracy
  assert_same(numbers(pair / "run"), numbers(workdir))
  flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1"
  subprocess.run(
    [
      sys.executable, "-m", "nema_lc_jax.main",
      f"--config={pair / 'config.py'}", f"--workdir={tmp_path / 'one'}",
    ],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
    check=True,
  )  # fmt: skip
  assert_same(numbers(tmp_path / "one"), numbers(workdir))


def test_two_processes_end_with_one_summary(whole, tmp_path):
  workdir, expected = whole
  processes = start(tmp_path / "pair")
  codes, outputs = ends(tmp_path / "pair", processes, within=300)
  assert codes == [0, 0], outputs
  assert "40 examples" in outputs[0]
  assert "step" not in outputs[1]
  assert "devices  2 x cpu by jit, processes: 2" in outputs[0]
  assert f"test accuracy {expected.test_accuracy:.4f}" in outputs[0]
  assert_same(numbers(tmp_path / "pair" / "run"), numbers(workdir))
  assert (tmp_path / "pair" / "run" / "plots" / "overview.png").exists()


ENDLESS = (
  "--config.train.steps=1_000_000",
  "--config.train.curriculum=()",
  "--config.train.eval_every=1_000_000",
  "--config.train.checkpoint_every=1_000_000",
  "--dead_after=10",
)


def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path):
  processes = start(tmp_path / "pair", *ENDLESS)
  wait_for_metrics(tmp_path / "pair", processes)
  processes[1].send_signal(signal.SIGTERM)
  codes, outputs = ends(tmp_path / "pair", processes, within=120)
  assert codes == [0, 0], outputs
  last = [output.strip().splitlines()[-1] for output in outputs]
  assert last[0].startswith("process 0: SIGTERM: stopped after step")
  assert last[1] == last[0].replace("process 0", "process 1")
  step = last[0].split("after step ")[1].split(",")[0]
  assert (tmp_path / "pair/run/checkpoints/latest" / step).is_dir()


def test_processes_that_were_started_with_other_configs_are_refused(tmp_path):
  processes = start(tmp_path / "pair", "--config.seed={}")
  codes, outputs = ends(tmp_path / "pair", processes, within=120)
  assert codes == [2, 2], outputs
  for output in outputs:
    line = output.strip().splitlines()[-1]
    assert "process 1 was given another config than process 0" in line
  assert not (tmp_path / "pair" / "run").exists()


def test_processes_that_find_their_folder_in_use_end_with_a_line_each(tmp_path):
  with locked(tmp_path / "pair" / "run"):
    processes = start(tmp_path / "pair")
    codes, outputs = ends(tmp_path / "pair", processes, within=120)
  assert codes == [2, 1], outputs
  first, second = (output.strip().splitlines()[-1] for output in outputs)
  assert f"is in use by process {os.getpid()} on" in first
  assert "process 0 has failed, so this process stops, too." in second
  assert not any("Traceback" in output for output in outputs)


def test_where_one_process_dies_the_other_ends(tmp_path):
  processes = start(tmp_path / "pair", *ENDLESS)
  wait_for_metrics(tmp_path / "pair", processes)
  processes[1].kill()
  # Ten seconds without a sign of life, and what a busy machine adds.
  codes, outputs = ends(tmp_path / "pair", processes, within=60)
  assert codes[0] != 0
  assert "another process has died" in outputs[0] or (
    "another task died" in outputs[0]
  )


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"coordinator": "a:1"}, "missing: --num_processes, --process_id."),
    (
      {"coordinator": "a", "num_processes": 2, "process_id": 0},
      "--coordinator must be HOST:PORT, got 'a'.",
    ),
    (
      {"coordinator": "a:1", "num_processes": 0, "process_id": 0},
      "--num_processes must be at least 1, got 0.",
    ),
    (
      {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
      "--process_id must be from 0 to 1, got 2.",
    ),
    ({"dead_after": 0}, "--dead_after must be at least 1, got 0."),
  ],
)
def test_what_cannot_be_is_named(given, message):
  with pytest.raises(ValueError, match=r".") as error:
    distributed.initialize(**{"dead_after": 60} | given)
  assert message in str(error.value)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_evaluate_each_example_once(count):
  dataset = data.load("toy", num_test=21)
  seen = []
  for index in range(count):
    for batch in data.eval_batches(
      dataset, "test", batch_size=8, length=32, shard=(index, count)
    ):
      assert len(batch["inputs"]) == 8 // count
      seen += batch["index"][batch["weight"] > 0].tolist()
  assert sorted(seen) == list(range(21))
