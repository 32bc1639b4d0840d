"""Claiming the folder of a run."""

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
  """An error message if a run was begun on other data; otherwise None."""
  if not (Path(workdir) / DATA_FILE).exists():  # Killed before it was written.
    return None
  saved = read_json(workdir, DATA_FILE).get("fingerprint", "unknown")
  if saved == fingerprint:
    return None
  return (
    f"the run in {workdir} was begun on other data (fingerprint {saved[:12]},"
    f" now {fingerprint[:12]})"
  )


# Fields of config.train that may change when a run resumes.
LAYOUT = ("parallel", "fsdp", "on_save_error")


def claim_folder(
  config: ConfigDict,
  task: Mapping[str, Any],
  workdir: Path,
  *,
  fingerprint: str,
  force: bool,
) -> None:
  """Creates the folder; refuses to mix runs or to overwrite a finished one.

  Args:
    config: of the run.
    task: fields of its TaskSpec.
    workdir: the folder.
    fingerprint: of its data.
    force: overwrite an existing run.

  Raises:
    ConfigError: if the folder holds another run, a finished one, or one that
      was begun on other data.
  """
  saved, wanted = workdir / files.CONFIG_FILE, json.loads(config.to_json())
  if force and saved.exists():
    # Delete only the files of a run, and only if there is a run.
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
    existing = json.loads(config_json.read_config(workdir).to_json())
    resumed = copy.deepcopy(existing)
    resumed["train"] |= {name: wanted["train"][name] for name in LAYOUT}
    if resumed != wanted:
      raise ConfigError(
        f"{workdir} holds a run of another config"
        f" ({config_json.first_difference(existing, wanted)}): choose another"
        " --workdir, or overwrite it with --force."
      )
    if message := other_data(workdir, fingerprint):
      raise ConfigError(
        f"{message}: restore them, choose another --workdir, or overwrite it"
        " with --force."
      )
  elif workdir.exists() and files.contents(workdir):
    raise ConfigError(f"{workdir} is not empty, and holds no run.")
  workdir.mkdir(parents=True, exist_ok=True)
  files.write_json(saved, wanted)
  files.write_json(workdir / files.DATA_FILE, {"fingerprint": fingerprint})
  files.write_json(workdir / files.TASK_FILE, dict(task))
