"""Checkpoints: the latest ones to resume from, and the best one to evaluate.

The two have separate Orbax managers, since one manager with a best_fn may drop
the newest step. Orbax raises on a truncated file, but restores a flipped byte
silently. Every checkpoint therefore has a manifest of SHA-256 sums, and a run
resumes from the newest checkpoint that is intact. Several processes save into
one folder and make every call here together; the first one writes and reads the
manifests.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grain
import orbax.checkpoint as ocp
from absl import logging

from nema_lc_jax.errors import RunError
from nema_lc_jax.runs.files import CHECKPOINTS, json_text, write_atomically
from nema_lc_jax.training import distributed
from nema_lc_jax.training.trees import named_leaves

LATEST = "latest"
# Of the file with the checksums of a whole checkpoint, after its step.
MANIFEST = ".sha256.json"
BEST = "best"


def _sums(folder: Path) -> dict[str, str]:
  """SHA-256 of every file below `folder`, by relative path."""
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  return {
    path.relative_to(folder).as_posix(): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for path in files
  }


class Restored(NamedTuple):
  """The contents of a checkpoint."""

  state: Any
  info: dict[str, Any]
  data: grain.DatasetIterator | None


def begun(workdir: str | os.PathLike, kind: str = LATEST) -> bool:
  """Whether a run has a finished checkpoint of a kind."""
  folder = Path(workdir) / CHECKPOINTS / kind
  return any(folder.glob(f"*{MANIFEST}"))


class Checkpoints:
  """The checkpoints of a run below `<workdir>/checkpoints/<kind>/`."""

  def __init__(self, workdir: str | os.PathLike, kind: str, *, keep: int):
    """`kind` is LATEST or BEST; the `keep` newest ones are kept."""
    self._folder = Path(workdir).absolute() / CHECKPOINTS / kind
    self._manager = ocp.CheckpointManager(
      self._folder, options=ocp.CheckpointManagerOptions(max_to_keep=keep)
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *unused) -> None:
    # This waits for unfinished writes.
    self._manager.close()

  def save(
    self,
    step: int,
    state: Any,
    *,
    info: dict[str, Any],
    data: grain.DatasetIterator | None = None,
  ) -> None:
    """Writes a checkpoint atomically.

    Args:
      step: its number; an intact checkpoint of this step is not rewritten.
      state: a pytree of arrays.
      info: values that JSON can hold.
      data: the iterator whose position is saved with the state.
    """
    if step in self._manager.all_steps():
      if distributed.broadcast_from_first(self._whole(step)):
        return
      self._manager.delete(step)  # Its manifest is missing or differs.
    items = {
      "state": ocp.args.StandardSave(state),
      "info": ocp.args.JsonSave(info),
    }
    if data is not None:
      # One position holds for all processes; grain would save one for each.
      items["data"] = ocp.args.JsonSave(data.get_state())
    self._manager.save(step, args=ocp.args.Composite(**items))
    self._manager.wait_until_finished()
    if distributed.is_first():
      self._write_manifest(step)

  def restore(
    self,
    template: Any,
    *,
    data: Callable[[int], grain.DatasetIterator] | None = None,
  ) -> Restored | None:
    """Restores the newest intact checkpoint; None if none was ever finished.

    Args:
      template: the abstract arrays of `state`, with their shardings.
      data: maps a step to a new iterator, whose position is then set.

    Raises:
      RunError: if all finished checkpoints are damaged, or if the arrays of the
        newest one differ from `template`.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    for step in steps:
      if not distributed.broadcast_from_first(self._whole(step)):
        logging.warning(
          "checkpoint %s is damaged, trying an older one",
          self._folder / str(step),
        )
        continue
      items = {
        "state": ocp.args.StandardRestore(template),
        "info": ocp.args.JsonRestore(),
      }
      if data is not None:
        items["data"] = ocp.args.JsonRestore()
      if differing := self._differing(step, template):
        raise RunError(
          f"checkpoint {self._folder / str(step)} is of a model with other"
          f" parameters; arrays that differ: {len(differing)}, such as"
          f" {min(differing, key=len)}. Use the version of the code and the"
          " config that wrote it; a finished run's summary.json names both."
        )
      restored = self._manager.restore(step, args=ocp.args.Composite(**items))
      iterator = None
      if data is not None:
        iterator = data(step)
        iterator.set_state(restored["data"])
      # Training from here saves the later steps again.
      for later in (s for s in steps if s > step):
        self._manager.delete(later)
      return Restored(restored["state"], restored["info"], iterator)
    if any(self._manifest(step).exists() for step in steps):
      raise RunError(
        f"no checkpoint in {self._folder} is intact; to start again, choose"
        " another --workdir or use --force."
      )
    return None

  def _differing(self, step: int, template: Any) -> list[str]:
    """Names of arrays that are missing, surplus or of another shape."""
    folder = self._folder / str(step) / "state"
    saved = ocp.StandardCheckpointHandler().metadata(folder).tree
    shapes = [
      {name: tuple(leaf.shape) for name, leaf in named_leaves(tree).items()}
      for tree in (saved, template)
    ]
    return sorted(dict(shapes[0].items() ^ shapes[1].items()))

  def _manifest(self, step: int) -> Path:
    return self._folder / f"{step}{MANIFEST}"

  def _write_manifest(self, step: int) -> None:
    sums = _sums(self._folder / str(step))
    write_atomically(self._manifest(step), json_text(sums, indent=1))
    kept = {self._manifest(s) for s in self._manager.all_steps()}
    for old in set(self._folder.glob(f"*{MANIFEST}")) - kept:
      old.unlink()

  def _whole(self, step: int) -> bool:
    try:
      expected = json.loads(self._manifest(step).read_text())
    except (OSError, ValueError):
      return False  # Killed before the manifest was written.
    return expected == _sums(self._folder / str(step))
