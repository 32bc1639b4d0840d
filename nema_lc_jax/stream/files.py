"""A stream's state as one file: a line of JSON, then arrays as NumPy's npz."""

import hashlib
import io
import json
from pathlib import Path

import jax
import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import write_atomically
from nema_lc_jax.stream.core import StreamState
from nema_lc_jax.training.trees import named_leaves

FORMAT, VERSION = "nema_lc_jax stream", 1
LONGEST_HEADER = 65_536


def save(path: str | Path, state: StreamState, *, model: str = "") -> None:
  """Writes a state, of one stream or of a batch of them, whole or not at all.

  Args:
    path: of the file, which is replaced.
    state: leaves [...], or with leading axes.
    model: of the parameters it was made with; `load` asks for the same.
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
  first = json.dumps(header).encode() + b"\n"
  write_atomically(path, first + payload.getvalue())


def load(
  path: str | Path, template: StreamState, *, model: str = ""
) -> StreamState:
  """Reads a state.

  Args:
    path: what `save` wrote.
    template: a state of the same model, as `init` gives it.
    model: as it was saved.

  Returns:
    A state like the template; where it was saved of a batch, with that batch's
    axes in front.

  Raises:
    ConfigError: in one line, on a file that is none, damaged, of another
      version, of another model or of other sizes.
  """
  try:
    with Path(path).open("rb") as file:
      header = json.loads(file.readline(LONGEST_HEADER))
      payload = file.read()
    known = header["format"] == FORMAT
  except (ValueError, KeyError, TypeError, RecursionError):
    known = False
  if not known:
    raise ConfigError(f"{path} is no saved stream.")
  if header.get("version") != VERSION:
    raise ConfigError(
      f"{path} has version {header.get('version')!r} of the format; this"
      f" program reads {VERSION}."
    )
  if hashlib.sha256(payload).hexdigest() != header.get("sha256"):
    raise ConfigError(f"{path} is damaged: its checksum does not fit.")
  if header.get("model") != model:
    raise ConfigError(
      f"{path} is of another model ({header.get('model')!r}, here {model!r})."
    )
  with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
    found = dict(arrays)
  return _fill(path, template, found)


def _fill(path, template: StreamState, found: dict[str, np.ndarray]):
  wanted = named_leaves(template)
  lead = found["seen"].shape if "seen" in found else ()
  for name, leaf in wanted.items():
    shape, dtype = lead + leaf.shape, leaf.dtype
    here = found.get(name)
    if here is None or here.shape != shape or here.dtype != dtype:
      what = "missing" if here is None else f"{here.dtype}{list(here.shape)}"
      raise ConfigError(
        f"{path} does not fit the model: {name} is {what}, and must be"
        f" {dtype}{list(shape)}."
      )
  leaves = [jax.numpy.asarray(found[name]) for name in wanted]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)
