"""The time from a fresh process to its first training step.

`compile_seconds` runs this module as a separate process, which reads JSON and
prints seconds.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ml_collections import ConfigDict

import nema_lc_jax
from nema_lc_jax.benchmark.models import training_program
from nema_lc_jax.errors import RunError
from nema_lc_jax.runs.command_line import run_command
from nema_lc_jax.runs.config_json import config_from_json
from nema_lc_jax.runs.files import json_text
from nema_lc_jax.training.task import TaskSpec


def compile_seconds(
  config: ConfigDict, task: TaskSpec, *, batch: int, length: int
) -> dict[str, float]:
  """Seconds to the first training step, without those of imports.

  Each is measured in a separate process, which must be the only one on its
  device: "cold" with an empty compilation cache, "cached" with the persistent
  cache that the first process filled.

  Raises:
    RunError: in one line, if a process fails.
  """
  task = json_text(
    {
      "config": config.to_json(),
      "interface": dataclasses.asdict(task),
      "batch": batch,
      "length": length,
    }
  )
  with tempfile.TemporaryDirectory() as cache:
    return {name: _process(task, cache) for name in ("cold", "cached")}


def _process(task: str, cache: str) -> float:
  home = str(Path(nema_lc_jax.__file__).parents[1])
  paths = filter(None, (home, os.environ.get("PYTHONPATH")))
  done = subprocess.run(
    [sys.executable, "-m", "nema_lc_jax.benchmark.first_step"],
    input=task,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ
    | {
      "PYTHONPATH": os.pathsep.join(paths),
      "JAX_COMPILATION_CACHE_DIR": cache,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    },
  )
  if done.returncode:
    last = (done.stderr.strip() or "no message").splitlines()[-1]
    raise RunError(f"the process that times the first step failed: {last}")
  return float(done.stdout.split()[-1])


def _main() -> None:
  task = json.load(sys.stdin)
  began = time.perf_counter()
  program = training_program(
    config_from_json(json.loads(task["config"])),
    TaskSpec(**task["interface"]),
    batch=task["batch"],
    length=task["length"],
  )
  program.start()
  print(time.perf_counter() - began)


def main() -> int:
  """Reads the config, prints the seconds, and returns the exit code."""
  return run_command(_main)


if __name__ == "__main__":
  sys.exit(main())
