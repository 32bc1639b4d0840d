"""Names of the files in a run's folder, and how files are written."""

import json
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
# What the model and its data agree on.
INTERFACE_FILE = "interface.json"
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


def write_json(path: Path, content: Any) -> None:
  """Writes a file whole or not at all."""
  temporary = path.with_name(path.name + ".tmp")
  temporary.write_text(json.dumps(content, indent=2) + "\n")
  temporary.replace(path)
