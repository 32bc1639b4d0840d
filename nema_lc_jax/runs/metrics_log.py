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
  finite_or_none,
  json_text,
  write_atomically,
)


class MetricWriter:
  """Appends metrics to `<workdir>/metrics.jsonl` and to TensorBoard.

  A line of metrics.jsonl is one JSON object, `{"step": 20, "split": "train",
  "loss": 0.69, ...}`, and is flushed at once, so that a killed run loses at
  most the line it was writing. Non-finite numbers are written as null.
  TensorBoard gets only finite ones, as `<split>/<name>`, in
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
    finite = finite_or_none({name: float(v) for name, v in metrics.items()})
    line = {"step": int(step), "split": split, **finite}
    self._file.write(json_text(line, indent=None) + "\n")
    self._file.flush()
    if self._tensorboard is not None:
      for name, value in finite.items():
        if value is not None:
          self._tensorboard.add_scalar(f"{split}/{name}", value, int(step))

  def truncate_after(self, step: int) -> None:
    """Drops the lines after `step` and those of the test, for a resumed run.

    The file is replaced atomically, and TensorBoard hides its later steps, so
    that no step of a resumed run occurs twice.
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
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def _open(self) -> None:
    # The first new line would otherwise be appended to an incomplete last line.
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

  null becomes nan. An incomplete last line is left out.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: with the line's number, if a line but the last is not JSON.
  """
  path = Path(workdir) / METRICS_FILE
  if not path.is_file():
    raise FileNotFoundError(f"no {METRICS_FILE} in {workdir}")
  return [
    {name: math.nan if v is None else v for name, v in row.items()}
    for _, row in _parse(path)
  ]


def _parse(path: Path) -> list[tuple[str, dict[str, Any]]]:
  """The complete lines of a JSON lines file, each as text and as a dict.

  After a kill or a power cut, the text after the last newline may be a complete
  line, a part of one, or arbitrary bytes.
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
