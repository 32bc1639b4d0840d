"""Saving a stream's state in a file: a line of JSON, then arrays as npz."""

import hashlib
import io
import json
from pathlib import Path

import jax
import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import json_text, write_atomically
from nema_lc_jax.stream.core import StreamState
from nema_lc_jax.training.trees import named_leaves

FORMAT, VERSION = "nema_lc_jax stream", 1
LONGEST_HEADER = 65_536


def save(path: str | Path, state: StreamState, *, model: str = "") -> None:
  """Saves the state of one stream, or of a batch of streams, atomically.

  Args:
    path: of the file; an existing one is replaced.
    state: may have leading batch axes.
    model: identifies the parameters; `load` requires the same.
  """
  payload = io.BytesIO()
  np.savez(
    payload, **{k: np.asarray(x) for k, x in named_leaves(state).items()}
  )
  header = {
    "format": FORMAT,
    "version": VERSION,
    "sha256": hashlib.sha256(payload.getvalue()).hexdigest(),
    "model": model,
  }
  first = json_text(header, indent=None).encode() + b"\n"
  write_atomically(path, first + payload.getvalue())


def load(
  path: str | Path, template: StreamState, *, model: str = ""
) -> StreamState:
  """Loads a state.

  Args:
    path: of a file that `save` wrote.
    template: a state of the same model, from `init`.
    model: as given to `save`.

  Returns:
    A state like the template, with the batch axes that were saved.

  Raises:
    ConfigError: in one line, if the file is no saved state, is damaged, or is
      of another version, model or size.
  """
  try:
    with Path(path).open("rb") as file:
      header = json.loads(file.readline(LONGEST_HEADER))
      payload = file.read()
    valid = header["format"] == FORMAT
  except (ValueError, KeyError, TypeError, RecursionError):
    valid = False
  if not valid:
    raise ConfigError(f"{path} is no saved stream.")
  if header.get("version") != VERSION:
    raise ConfigError(
      f"{path} has version {header.get('version')!r} of the format; this"
      f" program reads {VERSION}."
    )
  if hashlib.sha256(payload).hexdigest() != header.get("sha256"):
    raise ConfigError(f"{path} is damaged: its checksum is wrong.")
  if header.get("model") != model:
    raise ConfigError(
      f"{path} is of another model ({header.get('model')!r}, here {model!r})."
    )
  with np.load(io.BytesIO(payload), allow_pickle=False) as file:
    arrays = dict(file)
  return _restore(path, template, arrays)


def _restore(path, template: StreamState, arrays: dict[str, np.ndarray]):
  leaves = named_leaves(template)
  batch = arrays["seen"].shape if "seen" in arrays else ()
  for name, leaf in leaves.items():
    shape, dtype = batch + leaf.shape, leaf.dtype
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != dtype:
      saved = (
        "missing" if array is None else f"{array.dtype}{list(array.shape)}"
      )
      raise ConfigError(
        f"{path} does not fit the model: {name} is {saved}, and must be"
        f" {dtype}{list(shape)}."
      )
  leaves = [jax.numpy.asarray(arrays[name]) for name in leaves]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)
