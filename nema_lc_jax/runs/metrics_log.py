"""A run's metrics by step: metrics.jsonl, and TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from tensorboardX import SummaryWriter

from nema_lc_jax.runs.files import (
  METRICS_FILE,
  TENSORBOARD,
  write_atomically,
)


class MetricWriter:
  """Appends metrics to `<workdir>/metrics.jsonl` and to TensorBoard.

  A line of metrics.jsonl is one JSON object, `{"step": 20, "split": "train",
  "loss": 0.69, ...}`, and is flushed at once, so that a killed run loses at
  most the line it was writing. A number that is not finite is written as null.
  TensorBoard gets the finite ones as `<split>/<name>`, in
  `<workdir>/tensorboard/`.

  An existing file is continued. A run that resumes from a checkpoint older
  than its last line calls `truncate_after` first.
  """

  def __init__(self, workdir: str | os.PathLike, *, tensorboard: bool = True):
    """Creates `workdir` if needed; `tensorboard=False` writes only JSON."""
    self._workdir = Path(workdir)
    self._workdir.mkdir(parents=True, exist_ok=True)
    self._path = self._workdir / METRICS_FILE
    self._wants_tensorboard = tensorboard
    self._tensorboard: SummaryWriter | None = None
    self._purge_step: int | None = None
    self._file: TextIO | None = None

  def write(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
    """Records one set of scalars (anything `float` accepts)."""
    if self._file is None:
      self._open()
    values = {name: float(value) for name, value in metrics.items()}
    finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
    line = {"step": int(step), "split": split, **finite}
    self._file.write(json.dumps(line, allow_nan=False) + "\n")
    self._file.flush()
    if self._tensorboard is not None:
      for name, value in finite.items():
        if value is not None:
          self._tensorboard.add_scalar(f"{split}/{name}", value, int(step))

  def truncate_after(self, step: int) -> None:
    """Drops everything recorded after `step`; call it when a run resumes.

    So is the test, which comes once and last. The file is replaced atomically.
    TensorBoard is told to hide what it has from later steps. No step of a
    resumed run then occurs twice.
    """
    self.close()
    self._purge_step = step + 1
    self._keep(lambda row: row["step"] <= step and row["split"] != "test")

  def close(self) -> None:
    """Closes the files. A later `write` opens them again."""
    if self._file is not None:
      self._file.close()
      self._file = None
    if self._tensorboard is not None:
      self._tensorboard.close()
      self._tensorboard = None

  def __enter__(self) -> "MetricWriter":
    """Returns itself; leaving the block closes the files."""
    return self

  def __exit__(self, *unused) -> None:
    """Closes the files."""
    self.close()

  def _open(self) -> None:
    # A half-written last line would swallow the first one appended to it.
    self._keep(lambda row: True)
    self._file = self._path.open("a", encoding="utf-8")
    if self._wants_tensorboard:
      self._tensorboard = SummaryWriter(
        str(self._workdir / TENSORBOARD), purge_step=self._purge_step
      )

  def _keep(self, predicate) -> None:
    if not self._path.exists():
      return
    kept = [line for line, row in _parse(self._path) if predicate(row)]
    write_atomically(self._path, "".join(line + "\n" for line in kept))


def read_metrics(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """Reads metrics.jsonl back, one dict per line, in the order written.

  null becomes nan. A half-written last line is left out. Raises
  FileNotFoundError if there is no such file, and ValueError with the line's
  number if a line other than the last is not JSON.
  """
  path = Path(workdir) / METRICS_FILE
  if not path.is_file():
    raise FileNotFoundError(f"no {METRICS_FILE} in {workdir}")
  return [
    {name: math.nan if v is None else v for name, v in row.items()}
    for _, row in _parse(path)
  ]


def _parse(path: Path) -> list[tuple[str, dict[str, Any]]]:
  """The whole lines of a JSON lines file, each as text and as a dict.

  What follows the last newline is nothing, or what a kill or a power cut left
  there; it may be a whole line, half of one, or any bytes.
  """
  lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
  parsed = []
  for number, line in enumerate(lines, 1):
    try:
      parsed.append((line, json.loads(line)))
    except json.JSONDecodeError:
      if number < len(lines):
        raise ValueError(f"{path}: line {number} is not JSON") from None
  return parsed
