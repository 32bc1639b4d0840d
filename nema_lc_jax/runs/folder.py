"""The folder of a run, and what may go into it."""

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import config_json, files
from nema_lc_jax.runs.config_json import read_json
from nema_lc_jax.runs.files import (
  DATA_FILE,
  METRICS_FILE,
  NONFINITE_FILE,
  PRETRAIN,
  SUMMARY_FILE,
  TRACE_FILE,
)


def other_data(workdir: str | Path, fingerprint: str) -> str | None:
  """What is wrong if a run was begun on other data; None if it was on these."""
  if not (Path(workdir) / DATA_FILE).exists():  # Killed before.
    return None
  found = read_json(workdir, DATA_FILE).get("fingerprint", "unknown")
  if found == fingerprint:
    return None
  return (
    f"the run in {workdir} was begun on other data (fingerprint {found[:12]},"
    f" now {fingerprint[:12]})"
  )


# Fields of config.train that may change when a run goes on.
LAYOUT = ("parallel", "fsdp", "on_save_error")


def claim_folder(
  config: ConfigDict,
  task: Mapping[str, Any],
  workdir: Path,
  *,
  fingerprint: str,
  force: bool,
) -> None:
  """Makes the folder; refuses to mix runs or to overwrite a finished one.

  Args:
    config: of the run.
    task: fields of its TaskSpec.
    workdir: the folder.
    fingerprint: of its data.
    force: overwrite a run that is there.

  Raises:
    ConfigError: if the folder holds another run, a finished one, or one that
      was begun on other data.
  """
  saved, wanted = workdir / files.CONFIG_FILE, json.loads(config.to_json())
  if force and saved.exists():
    # Only what a run writes, and only where there is a run.
    for name in (files.CHECKPOINTS, files.PLOTS, files.TENSORBOARD, PRETRAIN):
      shutil.rmtree(workdir / name, ignore_errors=True)
    for name in (
      METRICS_FILE, SUMMARY_FILE, TRACE_FILE, NONFINITE_FILE,
      files.TASK_FILE, files.DATA_FILE, saved.name
    ):  # fmt: skip
      (workdir / name).unlink(missing_ok=True)
  if (workdir / SUMMARY_FILE).exists():
    raise ConfigError(
      f"the run in {workdir} is finished: choose another --workdir, or"
      " overwrite it with --force."
    )
  if saved.exists():
    found = json.loads(config_json.read_config(workdir).to_json())
    same = copy.deepcopy(found)
    same["train"] |= {name: wanted["train"][name] for name in LAYOUT}
    if same != wanted:
      raise ConfigError(
        f"{workdir} holds a run of another config"
        f" ({config_json.first_difference(found, wanted)}): choose another"
        " --workdir, or overwrite it with --force."
      )
    if why := other_data(workdir, fingerprint):
      raise ConfigError(
        f"{why}: bring them back, choose another --workdir, or overwrite it"
        " with --force."
      )
  elif workdir.exists() and any(workdir.iterdir()):
    raise ConfigError(f"{workdir} is not empty, and holds no run.")
  workdir.mkdir(parents=True, exist_ok=True)
  files.write_json(saved, wanted)
  files.write_json(workdir / files.DATA_FILE, {"fingerprint": fingerprint})
  files.write_json(workdir / files.TASK_FILE, dict(task))
