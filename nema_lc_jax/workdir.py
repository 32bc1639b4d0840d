"""The folder of a run: its name, and what may go into it."""

import copy
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax import report, saved_run
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.experiment import Interface, contestant
from nema_lc_jax.plotting.records import SUMMARY_FILE, TRACE_FILE
from nema_lc_jax.step import TrainState
from nema_lc_jax.trees import named_leaves
from nema_lc_jax.writer import METRICS_FILE

# Folder of the training that went before, within the run's.
PRETRAIN = "pretrain"
# Fields of config.train that may change when a run goes on.
LAYOUT = ("parallel", "fsdp", "on_save_error")
# What a run leaves that stopped at numbers that are not finite.
NONFINITE_FILE = "nonfinite.npz"


def default(config: ConfigDict) -> str:
  """Where results go if no --workdir is given."""
  return f"runs/{task_name(config)}-{contestant(config)}-seed{config.seed}"


def task_name(config: ConfigDict) -> str:
  """The data set, and which of its tasks where it has several."""
  task = config.data.get("task")
  return f"{config.data.name}-{task}" if task else config.data.name


def prepare(
  config: ConfigDict,
  interface: Interface,
  workdir: Path,
  *,
  fingerprint: str,
  force: bool,
) -> None:
  """Makes the folder; refuses to mix runs or to overwrite a finished one.

  Args:
    config: of the run.
    interface: of its model and data.
    workdir: the folder.
    fingerprint: of its data.
    force: overwrite a run that is there.

  Raises:
    ConfigError: if the folder holds another run, a finished one, or one that
      was begun on other data.
  """
  saved, wanted = workdir / saved_run.CONFIG_FILE, json.loads(config.to_json())
  if force and saved.exists():
    # Only what a run writes, and only where there is a run.
    for name in ("checkpoints", "plots", "tensorboard", PRETRAIN):
      shutil.rmtree(workdir / name, ignore_errors=True)
    for name in (
      METRICS_FILE, SUMMARY_FILE, TRACE_FILE, NONFINITE_FILE,
      saved_run.INTERFACE_FILE, saved_run.DATA_FILE, saved.name
    ):  # fmt: skip
      (workdir / name).unlink(missing_ok=True)
  if (workdir / SUMMARY_FILE).exists():
    raise ConfigError(
      f"the run in {workdir} is finished: choose another --workdir, or"
      " overwrite it with --force."
    )
  if saved.exists():
    found = json.loads(saved_run.load_config(workdir).to_json())
    same = copy.deepcopy(found)
    same["train"] |= {name: wanted["train"][name] for name in LAYOUT}
    if same != wanted:
      raise ConfigError(
        f"{workdir} holds a run of another config"
        f" ({saved_run.first_difference(found, wanted)}): choose another"
        " --workdir, or overwrite it with --force."
      )
    if why := saved_run.other_data(workdir, fingerprint):
      raise ConfigError(
        f"{why}: bring them back, choose another --workdir, or overwrite it"
        " with --force."
      )
  elif workdir.exists() and any(workdir.iterdir()):
    raise ConfigError(f"{workdir} is not empty, and holds no run.")
  workdir.mkdir(parents=True, exist_ok=True)
  report.write_json(saved, wanted)
  report.write_json(workdir / saved_run.DATA_FILE, {"fingerprint": fingerprint})
  report.write_json(
    workdir / saved_run.INTERFACE_FILE, dataclasses.asdict(interface)
  )


def dump_nonfinite(
  workdir: Path, step: int, state: TrainState, rows: Mapping[str, np.ndarray]
) -> None:
  """Writes what a step was computed from: its number, state and batch.

  Args:
    workdir: of the run.
    step: the last one.
    state: parameters and what the optimizer keeps.
    rows: the batch, this process's rows.
  """
  arrays = {f"batch.{name}": x for name, x in rows.items()}
  for name, x in named_leaves(state).items():
    arrays[f"state.{name}"] = np.asarray(x)
  np.savez(workdir / NONFINITE_FILE, step=step, **arrays)
