"""Training progress on the terminal."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm


class Progress:
  """Shows progress as a live bar on a terminal, otherwise as plain lines.

  Plain lines, one per `update`, are for logs, notebooks and terminals that
  report no size.
  """

  def __init__(
    self, total_steps: int, initial: int = 0, *, stream: TextIO | None = None
  ):
    """`initial` is the step a resumed run starts from; stderr by default."""
    self._total = total_steps
    # Looked up at the call, since redirecting stderr replaces sys.stderr.
    self._stream = sys.stderr if stream is None else stream
    self.restart(initial)
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
    """Shows `step` and those of its metrics that are present.

    It reads loss, accuracy, write_rate, update_rate, forget_rate and
    examples_per_second. The time left is estimated from the pace since
    `restart`.
    """
    progress = f"step {step}/{self._total}"
    remaining, numbers = self._remaining(step), _numbers(metrics)
    if self._bar is None:
      self.message(" · ".join([progress, *numbers, *remaining]))
    else:
      # A narrow window cuts off the end, so the time left comes first here.
      self._bar.n = step
      self._bar.set_description_str(
        " · ".join([progress, *remaining, *numbers])
      )

  def restart(self, step: int) -> None:
    """Measures the pace from this step on: what was before was compiling."""
    self._since = time.monotonic(), step

  def message(self, text: str) -> None:
    """Prints a line above the bar, if there is one."""
    if self._bar is None:
      print(text, file=self._stream, flush=True)
    else:
      self._bar.write(text, file=self._stream)

  def close(self) -> None:
    """Ends the line of the bar."""
    if self._bar is not None:
      self._bar.close()

  def _remaining(self, step: int) -> list[str]:
    """The time left; nothing while the pace is unknown."""
    since, first = self._since
    if step <= first:
      return []
    pace = (time.monotonic() - since) / (step - first)
    return [f"{_duration(pace * max(self._total - step, 0))} left"]


def _has_room(stream: TextIO) -> bool:
  """Whether a bar is visible: some containers' terminals are 0 by 0."""
  try:
    return min(os.get_terminal_size(stream.fileno())) > 0
  except OSError:  # not a real file: its size is unknown
    return True


def _numbers(metrics: Mapping[str, Any]) -> list[str]:
  """The parts of the line that show metrics, in their order."""
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
