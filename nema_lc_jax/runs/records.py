"""The metrics and the summary of a run, for plots."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nema_lc_jax.runs.files import METRICS_FILE, SUMMARY_FILE
from nema_lc_jax.runs.metrics_log import read_metrics
from nema_lc_jax.runs.summary import Summary, read_summary


class RunRecord(NamedTuple):
  """The files of one run."""

  workdir: Path
  # One dict per line of metrics.jsonl.
  rows: Sequence[Mapping[str, Any]]
  summary: Summary | None  # None while the run is not finished

  def series(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a metric where it is logged and finite."""
    points = [
      (row["step"], row[name])
      for row in self.rows
      if row["split"] == split and math.isfinite(row.get(name, math.nan))
    ]
    steps, values = np.array(points, float).reshape(-1, 2).T
    return steps, values

  @property
  def has_slots(self) -> bool:
    """Whether the model has slots; without them, plots omit the memory."""
    if self.summary:  # Some runs logged slots that they did not have.
      return self.summary.config["model"]["encoder"] == "memory"
    return any("memory_utilisation" in row for row in self.rows)

  @property
  def costs(self) -> dict[str, float]:
    """The known costs of the run: parameters, memory, time, speed.

    Speed is the median over the training lines, and depends on the load of the
    machine. Memory is of one device, see `sharding.program_bytes`.
    """
    names = ("num_parameters", "peak_memory_bytes", "wall_seconds")
    costs = {name: getattr(self.summary, name, None) for name in names}
    costs = {name: value for name, value in costs.items() if value is not None}
    _, speeds = self.series("train", "examples_per_second")
    if len(speeds):
      costs["examples_per_second"] = float(np.median(speeds))
    return costs

  @property
  def title(self) -> str:
    """The title of the run in a figure: policy, task, seed, size."""
    if (s := self.summary) is None:
      return ""
    size = f"{_short(s.num_parameters)} parameters"
    return " · ".join((s.policy, s.task, f"seed {s.seed}", size))


def read_run(workdir: str | Path) -> RunRecord:
  """Reads metrics.jsonl, and summary.json if the run has finished.

  Raises:
    FileNotFoundError or ValueError: in one line, if there are no metrics.
  """
  workdir = Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f"no such folder: {workdir}")
  rows = read_metrics(workdir)
  if not rows:
    raise ValueError(f"{workdir / METRICS_FILE} holds no metrics yet")
  finished = (workdir / SUMMARY_FILE).exists()
  return RunRecord(workdir, rows, read_summary(workdir) if finished else None)


def _short(number: int) -> str:
  for unit, size in (("M", 1e6), ("k", 1e3)):
    if number >= size:
      return f"{number / size:.3g}{unit}"
  return str(number)
