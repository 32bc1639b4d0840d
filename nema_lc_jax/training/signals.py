"""Records SIGTERM and Ctrl-C, so that the step in progress completes."""

import contextlib
import os
import signal
import threading


class Stopper:
  """Records in `number` the signal that asks a run to stop; 0: none.

  Ctrl-C is not recorded, but handled as before, while there is nothing to save,
  and when it comes a second time.
  """

  def __init__(self):
    self.number = 0
    # Whether steps were trained that are to be saved.
    self.worth_saving = False
    self._before = {}

  def _note(self, number, frame):
    before = self._before[number]
    first = self.worth_saving and not self.number
    if number == signal.SIGINT and not first and callable(before):
      signal.signal(number, before)
      before(number, frame)
      return
    self.number = int(number)
    if number == signal.SIGINT and first:
      # Not by print: this may have interrupted one.
      os.write(2, b"SIGINT: saving after this step; again, to stop at once\n")

  @contextlib.contextmanager
  def listening(self):
    """Handles both signals within the block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
      yield self
      return
    for number in (signal.SIGTERM, signal.SIGINT):
      self._before[number] = signal.signal(number, self._note)
    try:
      yield self
    finally:
      for number, handler in self._before.items():
        if signal.getsignal(number) == self._note:
          signal.signal(number, handler)


def name(number: int) -> str:
  """The name of a signal, such as SIGTERM."""
  return signal.Signals(number).name
