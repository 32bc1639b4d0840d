"""What plots are drawn from: a run's metrics and its summary."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nema_lc_jax.runs.files import METRICS_FILE, SUMMARY_FILE
from nema_lc_jax.runs.metrics_log import read_metrics


class Run(NamedTuple):
  """One training run, read back from its folder."""

  workdir: Path
  # One dict per line of metrics.jsonl.
  rows: Sequence[Mapping[str, Any]]
  # Empty while the run is not finished.
  summary: Mapping[str, Any]

  def series(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a metric where it was logged and is finite."""
    points = [
      (row["step"], row[name])
      for row in self.rows
      if row["split"] == split and math.isfinite(row.get(name, math.nan))
    ]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values

  @property
  def has_slots(self) -> bool:
    """Whether there is a memory; without one, nothing is said of it."""
    encoder = self.summary.get("config", {}).get("model", {}).get("encoder")
    if encoder:  # Also of runs that logged slots which they lack.
      return encoder == "memory"
    return any("memory_utilisation" in row for row in self.rows)

  @property
  def costs(self) -> dict[str, float]:
    """What the run took, as far as it is known.

    Speed is the median over the lines of training, and depends on what else
    the machine did. Memory is of one device, see `sharding.program_bytes`.
    """
    known = ("num_parameters", "peak_memory_bytes", "wall_seconds")
    found = {name: self.summary.get(name) for name in known}
    found = {name: value for name, value in found.items() if value is not None}
    _, speeds = self.series("train", "examples_per_second")
    if len(speeds):
      found["examples_per_second"] = float(np.median(speeds))
    return found

  @property
  def title(self) -> str:
    """What identifies the run in a figure: policy, task, seed, size."""
    parts = [self.summary[k] for k in ("policy", "task") if k in self.summary]
    if "seed" in self.summary:
      parts.append(f"seed {self.summary['seed']}")
    if "num_parameters" in self.summary:
      parts.append(f"{_short(self.summary['num_parameters'])} parameters")
    return " · ".join(parts)


def read_run(workdir: str | Path) -> Run:
  """Reads metrics.jsonl, and summary.json if the run has finished.

  Raises FileNotFoundError or ValueError, in one line, if there is nothing to
  draw.
  """
  workdir = Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f"no such folder: {workdir}")
  rows = read_metrics(workdir)
  if not rows:
    raise ValueError(f"{workdir / METRICS_FILE} holds no metrics yet")
  path = workdir / SUMMARY_FILE
  if not path.exists():
    return Run(workdir, rows, {})
  try:
    return Run(workdir, rows, json.loads(path.read_text(encoding="utf-8")))
  except json.JSONDecodeError:
    raise ValueError(f"{path} is not valid JSON") from None


def _short(number: int) -> str:
  for unit, size in (("M", 1e6), ("k", 1e3)):
    if number >= size:
      return f"{number / size:.3g}{unit}"
  return str(number)
