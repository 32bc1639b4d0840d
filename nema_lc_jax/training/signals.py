"""SIGTERM and Ctrl-C as numbers, so that a training step is never torn."""

import contextlib
import signal
import threading


class Stopper:
  """Notes the signal that asks a run to stop: `number`, or 0."""

  def __init__(self):
    """Nothing has been asked for."""
    self.number = 0

  def _note(self, number, frame):
    del frame
    self.number = int(number)

  @contextlib.contextmanager
  def listening(self):
    """Handles both signals inside the block; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
      yield self
      return
    before = {
      number: signal.signal(number, self._note)
      for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
      yield self
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def name(number: int) -> str:
  """What a signal is called."""
  return signal.Signals(number).name
