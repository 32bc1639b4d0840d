"""A run whose disk is full after its second checkpoint.

It is a process of its own: of a write that failed, the storage library leaves
coroutines behind, which complain whenever they are collected.

  python -m tests.training.full_disk WORKDIR ON_SAVE_ERROR
"""

import resource
import sys

from nema_lc_jax.errors import RunError
from nema_lc_jax.training import checkpoint
from tests.helpers import run, tiny_config

LIMIT = 2048  # Bytes: no file may become larger.


class SmallDisk(checkpoint.Checkpoints):
  """The third of the latest checkpoints, and only it, meets the limit."""

  saved = 0

  def save(self, step, *args, **kwargs):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    latest = "latest" in str(self._folder)
    if latest and self.saved == 2:
      resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    try:
      super().save(step, *args, **kwargs)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if latest:
      SmallDisk.saved += 1
      print(f"saved step {step}")


if __name__ == "__main__":
  checkpoint.Checkpoints = SmallDisk
  try:
    run(tiny_config(on_save_error=sys.argv[2]), sys.argv[1])
  except RunError as error:
    sys.exit(f"stopped: {error}")
