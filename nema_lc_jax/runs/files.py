"""Names of the files in a run's folder, and how files are written."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
# What the model and its data agree on.
TASK_FILE = "interface.json"
# The fingerprint of the data that a run was begun on.
DATA_FILE = "data.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
TRACE_FILE = "memory_trace.npz"
# State and batch of a step whose numbers were not finite.
NONFINITE_FILE = "nonfinite.npz"
CHECKPOINTS = "checkpoints"
PLOTS = "plots"
TENSORBOARD = "tensorboard"
# Folder of the training that went before, within the run's.
PRETRAIN = "pretrain"
# Folders of what the inspector and `stream.retention` write.
INSPECT = "inspect"
RETENTION = "retention"


def write_atomically(path: str | Path, content: str | bytes) -> None:
  """Writes a file whole or not at all, whatever happens meanwhile.

  Several processes may write the same file at once: each has a temporary file
  of its own, and the last to finish wins.
  """
  path = Path(path)
  # tempfile would make a file that nobody but its owner may read.
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
  """Writes a value as JSON, whole or not at all."""
  write_atomically(path, json.dumps(content, indent=2) + "\n")
