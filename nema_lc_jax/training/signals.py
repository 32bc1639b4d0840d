"""Records SIGTERM and Ctrl-C, so that the step in progress completes."""

import contextlib
import signal
import threading


class Stopper:
  """Records in `number` the signal that asks a run to stop; 0: none."""

  def __init__(self):
    self.number = 0

  def _note(self, number, frame):
    del frame
    self.number = int(number)

  @contextlib.contextmanager
  def listening(self):
    """Handles both signals within the block; only the main thread can."""
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
  """The name of a signal, such as SIGTERM."""
  return signal.Signals(number).name
