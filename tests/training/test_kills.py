"""Kill -9 at any moment, also in the middle of a save.

Three kills by default; NEMA_LC_JAX_KILLS=50 makes it 50.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nema_lc_jax.runs.files import METRICS_FILE, SUMMARY_FILE
from nema_lc_jax.training import train
from tests.helpers import tiny_config

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("NEMA_LC_JAX_KILLS", "3"))
STEPS = 8 * (KILLS + 1)
# Whoever is to be killed trains 8 steps further at the most, and then waits for
# it: so each kill finds a run that has not ended.
CONFIG = f"""
import os, time
from nema_lc_jax.training.loop import TrainLoop
from tests.helpers import tiny_config

save = TrainLoop.save

def save_and_wait(self, step):
  save(self, step)
  if step == int(os.environ["LAST_STEP"]):
    time.sleep(600)

def get_config():
  TrainLoop.save = save_and_wait
  return tiny_config(steps={STEPS}, checkpoint_every=1, eval_every=7)
"""


def rows(workdir):
  lines = (workdir / METRICS_FILE).read_text().splitlines()
  rates = ("examples_per_second",)
  return [
    {k: v for k, v in json.loads(line).items() if k not in rates}
    for line in lines
  ]


def steps_saved(workdir):
  latest = workdir / "checkpoints" / "latest"
  return {p.name for p in latest.glob("*") if p.name.isdigit()}


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_never_was(tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  config = tmp_path / "config.py"
  config.write_text(CONFIG)
  train.run(
    tiny_config(steps=STEPS, checkpoint_every=1, eval_every=7), str(whole)
  )
  command = [
    sys.executable, "-m", "nema_lc_jax.main", f"--config={config}",
    f"--workdir={killed}",
  ]  # fmt: skip
  # The cache saves compiling anew after each kill.
  environment = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  rng, kills, moments = random.Random(0), 0, set()
  with (tmp_path / "log").open("ab") as log:
    while kills < KILLS:
      before = steps_saved(killed)
      environment["LAST_STEP"] = str(8 * (kills + 1))
      process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=log
      )
      # Killed while starting, it would come no further each time.
      while process.poll() is None and not steps_saved(killed) - before:
        time.sleep(0.01)
      time.sleep(rng.uniform(0.0, 0.5))
      if process.poll() is not None:
        break
      process.kill()
      process.wait()
      kills += 1
      moments |= steps_saved(killed)
    environment["LAST_STEP"] = "0"
    subprocess.run(
      command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True
    )
  assert kills == KILLS, (tmp_path / "log").read_text()[-2000:]
  assert len(moments) >= min(KILLS, 3)
  assert rows(killed) == rows(whole)
  hashes = {
    json.loads((run / SUMMARY_FILE).read_text())["params_sha256"]
    for run in (whole, killed)
  }
  assert len(hashes) == 1
