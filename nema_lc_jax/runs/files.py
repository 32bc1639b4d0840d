"""Names of the files in a run's folder, and atomic writes."""

import json
import math
import os
import uuid
from pathlib import Path
from typing import Any

from nema_lc_jax.errors import RunError

CONFIG_FILE = "config.json"
# The TaskSpec on which the model and its data agree.
TASK_FILE = "interface.json"
# The fingerprint of the data on which a run was started.
DATA_FILE = "data.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
TRACE_FILE = "memory_trace.npz"
# State and batch of a step whose numbers were not finite.
NONFINITE_FILE = "nonfinite.npz"
# Names the process that writes to a folder.
LOCK_FILE = ".lock"
CHECKPOINTS = "checkpoints"
PLOTS = "plots"
TENSORBOARD = "tensorboard"
# Folder of the pretraining, within the run's.
PRETRAIN = "pretrain"
# Folders of the outputs of `inspect` and `stream.retention`.
INSPECT = "inspect"
RETENTION = "retention"


def contents(folder: Path) -> set[str]:
  """Names of what is in a folder, but for its lock."""
  return {path.name for path in folder.iterdir()} - {LOCK_FILE}


def write_atomically(path: str | Path, content: str | bytes) -> None:
  """Writes a file completely or not at all, even if the process is killed.

  Several processes may write the same file at once: each uses its own temporary
  file, and the last to finish wins.
  """
  path = Path(path)
  # tempfile would create a file that only its owner may read.
  temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
  data = content.encode() if isinstance(content, str) else content
  try:
    with temporary.open("xb") as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
  """Writes a value as JSON, atomically."""
  write_atomically(path, json_text(content) + "\n")


def json_text(content: Any, **options: Any) -> str:
  """A value as JSON, which has no NaN and no infinity.

  Args:
    content: what may be missing is None in it.
    **options: of `json.dumps`; by default two blanks of indentation.

  Raises:
    RunError: if a number is not finite.
  """
  try:
    return json.dumps(content, allow_nan=False, **{"indent": 2} | options)
  except ValueError:
    raise RunError(
      "a result is not finite, and cannot be written as JSON."
    ) from None


def finite_or_none(content: Any) -> Any:
  """A JSON value with None in place of each number that is not finite."""
  if isinstance(content, dict):
    return {name: finite_or_none(value) for name, value in content.items()}
  if isinstance(content, list | tuple):
    return [finite_or_none(value) for value in content]
  missing = isinstance(content, float) and not math.isfinite(content)
  return None if missing else content
