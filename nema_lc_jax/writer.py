"""Where a run's numbers go: metrics.jsonl, TensorBoard, and the terminal."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from tensorboardX import SummaryWriter
from tqdm import tqdm

METRICS_FILE = "metrics.jsonl"


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
        str(self._workdir / "tensorboard"), purge_step=self._purge_step
      )

  def _keep(self, predicate) -> None:
    if not self._path.exists():
      return
    kept = [line for line, row in _parse(self._path) if predicate(row)]
    new = self._path.with_suffix(".tmp")
    with new.open("w", encoding="utf-8") as file:
      file.writelines(line + "\n" for line in kept)
      file.flush()
      os.fsync(file.fileno())
    new.replace(self._path)


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


class Progress:
  """Shows how training goes: a live bar on a terminal, otherwise plain lines.

  Plain lines, one per `update` and none rewritten, are for logs, notebooks and
  terminals that say they have no room.
  """

  def __init__(
    self, total_steps: int, initial: int = 0, *, stream: TextIO | None = None
  ):
    """`initial` is the step a resumed run starts from; stderr by default."""
    self._total = total_steps
    # Looked up now: whoever redirects stderr replaces sys.stderr.
    self._stream = sys.stderr if stream is None else stream
    self._since = (time.monotonic(), initial)
    self._compiled = False
    self._bar = None
    if self._stream.isatty() and _has_room(self._stream):
      self._bar = tqdm(
        total=total_steps,
        initial=initial,
        file=self._stream,
        dynamic_ncols=True,
        bar_format="{percentage:3.0f}% {bar:12} {desc}",
      )

  def update(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Shows `step` with the metrics of it; those that are missing are left out.

    Reads loss, accuracy, write_rate, update_rate, forget_rate and
    examples_per_second. The time left is judged from the pace since the first
    update, because the step before it also compiles.
    """
    progress = f"step {step}/{self._total}"
    left = f"{_duration(self._seconds_left(step))} left"
    numbers = _numbers(metrics)
    if self._bar is None:
      self.message(" · ".join([progress, *numbers, left]))
    else:
      # A narrow window cuts the end off, so the time left comes early here.
      self._bar.n = step
      self._bar.set_description_str(" · ".join([progress, left, *numbers]))

  def message(self, text: str) -> None:
    """Prints a line; a bar moves down by one and stays whole."""
    if self._bar is None:
      print(text, file=self._stream, flush=True)
    else:
      self._bar.write(text, file=self._stream)

  def close(self) -> None:
    """Leaves the bar as it is and ends its line."""
    if self._bar is not None:
      self._bar.close()

  def _seconds_left(self, step: int) -> float:
    now = time.monotonic()
    since, first = self._since
    pace = (now - since) / max(step - first, 1)
    if not self._compiled:
      self._since, self._compiled = (now, step), True
    return pace * max(self._total - step, 0)


def _has_room(stream: TextIO) -> bool:
  """Whether a bar would show: some containers' terminals are 0 by 0."""
  try:
    return min(os.get_terminal_size(stream.fileno())) > 0
  except OSError:  # not a real file: nothing is known about its size
    return True


def _numbers(metrics: Mapping[str, Any]) -> list[str]:
  """The parts of the line that come from metrics, in their order."""
  parts = []
  if "loss" in metrics:
    parts.append(f"loss {float(metrics['loss']):.3f}")
  if "accuracy" in metrics:
    parts.append(f"acc {float(metrics['accuracy']):.2f}")
  rates = [
    f"{name} {float(metrics[f'{name}_rate']):.2f}"
    for name in ("write", "update", "forget")
    if f"{name}_rate" in metrics
  ]
  if rates:
    parts.append(" ".join(rates))
  if "examples_per_second" in metrics:
    speed = float(metrics["examples_per_second"])
    parts.append(f"{speed:.{0 if speed >= 10 else 1}f} ex/s")
  return parts


def _duration(seconds: float) -> str:
  """A length of time in its two largest units: 12s, 1m32s, 3h05m."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}h{minutes:02}m"
  return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
