"""How the workers of a tested sweep start."""

import time

from nema_lc_jax.sweep import pool
from nema_lc_jax.training.loop import TrainLoop
from tests.helpers import figures

LIMIT = 300  # seconds, of what takes one when the machine is idle
drawn = figures("overview")


def start(*args) -> None:
  """Prepares a worker, which draws one figure of each run."""
  pool._start(*args)
  drawn.__enter__()


def start_and_wait(*args) -> None:
  """Prepares one whose runs wait after a step until a signal stops them."""
  start(*args)
  log = TrainLoop._log

  def log_and_wait(self, *args):
    log(self, *args)
    deadline = time.monotonic() + LIMIT
    while not self.stopper.number:
      if time.monotonic() > deadline:
        raise TimeoutError("no signal has come")
      time.sleep(0.01)

  TrainLoop._log = log_and_wait
