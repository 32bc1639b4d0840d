"""The scripts of launch/, as far as they can be tried without a cluster."""

import importlib
import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nema_lc_jax import main
from nema_lc_jax.benchmark import __main__ as benchmark_main
from nema_lc_jax.sweep import plan

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
CONFIG = "configs/lifecycle_lc.py:rebind"
# Prints what it is called with, one argument a line.
ECHO = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"


@pytest.fixture
def run(tmp_path):
  """Runs a script where srun, gcloud and python only print."""
  for name in ("srun", "gcloud"):
    (tmp_path / name).write_text(ECHO)
    (tmp_path / name).chmod(0o755)

  def call(script, *arguments, **variables):
    return subprocess.run(
      [str(LAUNCH / script), *arguments],
      env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CONFIG": CONFIG}
      | variables,
      capture_output=True,
      text=True,
      check=False,
    )

  return call


def parsed(line):
  """What main makes of a command line that ends in its arguments."""
  arguments = line[line.index("nema_lc_jax.main") + 1 :]
  found = main.make_parser().parse(arguments)
  config = dict(a.split("=", 1) for a in arguments if a.startswith("--config"))
  return vars(found), config


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
  assert os.access(script, os.X_OK)
  subprocess.run(["bash", "-n", script], check=True)
  beside = Path(sys.executable).with_name("shellcheck")
  shellcheck = shutil.which("shellcheck") or (beside.exists() and beside)
  if not shellcheck:
    pytest.skip("shellcheck is not installed")
  subprocess.run([shellcheck, script], check=True)


def test_slurm(run):
  done = run("slurm.sh", "--config.train.steps=5", WORKDIR="/shared/run")
  line = done.stdout.splitlines()
  found, config = parsed(line)
  assert found["distributed"]
  assert found["coordinator"] is None
  assert found["workdir"] == "/shared/run"
  assert config == {"--config": CONFIG, "--config.train.steps": "5"}
  assert run("slurm.sh").returncode != 0  # no WORKDIR


def test_an_array_trains_what_a_sweep_would(run, tmp_path):
  variables = {"OUT": str(tmp_path), "POLICIES": "learned fifo", "SEEDS": "3"}
  module = importlib.import_module("configs.lifecycle_lc")
  wanted = plan.make_plan(
    module.get_config("rebind"), policies=["learned", "fifo"], seeds="3"
  )
  runs = list(wanted.runs(module.get_config("rebind"), {}))
  for index, expected in enumerate(runs):
    done = run("slurm_sweep.sh", **variables, SLURM_ARRAY_TASK_ID=str(index))
    found, config = parsed(done.stdout.splitlines())
    assert found["workdir"] == str(tmp_path / expected.folder)
    assert config["--config.memory.policy"] == expected.config.memory.policy
    assert config["--config.seed"] == str(expected.config.seed)
  past = run("slurm_sweep.sh", **variables, SLURM_ARRAY_TASK_ID="6")
  assert past.returncode == 2
  assert past.stderr == "error: task 6 is past 2 policies x 3 seeds\n"


def test_tpu_vm(run):
  variables = {
    "PROJECT": "p", "ZONE": "z", "NAME": "n", "TYPE": "v4-32", "VERSION": "v",
    "REPOSITORY": "https://example.org/r.git", "WORKDIR": "/shared/run",
  }  # fmt: skip
  train = run("tpu_vm.sh", "train", "--config.train.curriculum=()", **variables)
  line = train.stdout.splitlines()
  assert line[:6] == ["compute", "tpus", "tpu-vm", "ssh", "n", "--worker=all"]
  command = line[6].removeprefix("--command=cd nema && ")
  # As the shell of each host takes it apart.
  arguments = subprocess.run(
    ["bash", "-c", f"printf '%s\\n' {command}"],
    capture_output=True,
    text=True,
    check=True,
  ).stdout.splitlines()
  found, config = parsed(arguments)
  assert found["distributed"]
  assert config["--config.train.curriculum"] == "()"
  for action in ("create", "install", "delete"):
    done = run("tpu_vm.sh", action, **variables)
    assert done.returncode == 0, done.stderr
    assert "--zone=z" in done.stdout
  wrong = run("tpu_vm.sh", "destroy", **variables)
  assert wrong.returncode == 2
  assert "known: create, install, train, delete" in wrong.stderr


@pytest.mark.parametrize("rehearse", ["", "1"])
def test_gpu_check(run, tmp_path, rehearse):
  (tmp_path / "python").write_text(ECHO)
  (tmp_path / "python").chmod(0o755)
  out, variables = tmp_path / "out", {"IMDB": "reviews", "REHEARSE": rehearse}
  done = run("gpu_check.sh", OUT=str(out), PYTHON="python", **variables)
  # The line of each part, then the arguments that python was called with.
  parts = done.stdout.removesuffix(f"wrote {out}\n").split("== ")[1:]
  commands = [part.splitlines()[2:] for part in parts]
  modules = [command[0] for command in commands]
  assert modules == ["nema_lc_jax.benchmark", *["nema_lc_jax.main"] * 3]
  benchmark_main.parse(commands[0][1:])
  for command in commands[1:]:
    found, config = parsed(command)
    assert found["workdir"]
    assert "--config" in config
  assert "nema_lc_jax.benchmark" in (out / "log.txt").read_text()
  again = run("gpu_check.sh", OUT=str(out), PYTHON="python", **variables)
  assert again.returncode == 2
  assert again.stderr == f"error: OUT={out} is not empty.\n"


def test_kubernetes():
  text = string.Template((LAUNCH / "kubernetes.yaml").read_text())
  filled = text.safe_substitute(
    NAME="nema", NODES=2, GPUS=4, IMAGE="image", CLAIM="claim", CONFIG=CONFIG
  )
  service, job = yaml.safe_load_all(filled)
  assert (service["kind"], job["kind"]) == ("Service", "Job")
  # Headless, and for these pods before they are ready: they find each other.
  assert service["spec"]["clusterIP"] == "None"
  assert service["spec"]["publishNotReadyAddresses"] is True
  assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
  spec = job["spec"]
  assert spec["completionMode"] == "Indexed"
  assert spec["completions"] == spec["parallelism"] == 2
  pod = spec["template"]["spec"]
  assert pod["subdomain"] == service["metadata"]["name"]
  (container,) = pod["containers"]
  assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
  claims = {v["name"] for v in pod["volumes"]}
  assert {m["name"] for m in container["volumeMounts"]} == claims
  (index,) = container["env"]
  assert index["name"] == "JOB_COMPLETION_INDEX"
  line = [
    part.replace("$(JOB_COMPLETION_INDEX)", "1")
    for part in container["command"]
  ]
  found, _ = parsed(line)
  assert found["coordinator"] == "nema-0.nema:8476"
  assert (found["num_processes"], found["process_id"]) == (2, 1)
  assert found["distributed"]
