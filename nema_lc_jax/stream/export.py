"""Exporting streaming functions as StableHLO, to run without this package."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.files import json_text
from nema_lc_jax.stream.core import Streaming
from nema_lc_jax.training.trees import named_leaves
from nema_lc_jax.version import __version__

PLATFORMS = ("cpu", "cuda", "tpu")


def export(
  streaming: Streaming,
  params: Params,
  folder: str | Path,
  *,
  block: int,
  num_slots: int | None = None,
) -> list[Path]:
  """Writes push.bin and answer.bin, for `jax.export.deserialize`.

  Both contain the parameters. A state is a tuple of arrays: init.npz holds the
  initial one, and stream.json names the arrays.

    push(state, tokens [block] i32, length [] i32) -> state
    answer(state) -> logits [C]

  Args:
    streaming: from `make_stream`.
    params: of its model.
    folder: empty or missing.
    block: the largest number of tokens of one push.
    num_slots: overrides the model's own.

  Returns:
    The paths of the files.

  Raises:
    ConfigError: if the folder is not empty, or block is below 1.
  """
  folder = Path(folder)
  if block < 1:
    raise ConfigError(f"block must be at least 1 token, got {block}.")
  if folder.exists() and any(folder.iterdir()):
    raise ConfigError(f"{folder} is not empty.")
  initial = streaming.init(num_slots=num_slots)
  leaves, tree = jax.tree.flatten(initial)

  def push(state, tokens, length):
    state = jax.tree.unflatten(tree, state)
    state = streaming.push(params, state, tokens, length)
    return tuple(jax.tree.leaves(state))

  def answer(state):
    return streaming.answer(params, jax.tree.unflatten(tree, state))

  shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
  state = tuple(map(shape, leaves))
  length = jax.ShapeDtypeStruct((), jnp.int32)
  tokens = jax.ShapeDtypeStruct((block,), jnp.int32)
  programs = {
    "push.bin": (push, (state, tokens, length)),
    "answer.bin": (answer, (state,)),
  }
  folder.mkdir(parents=True, exist_ok=True)
  for name, (function, arguments) in programs.items():
    exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)
    (folder / name).write_bytes(exported(*arguments).serialize())
  names = list(named_leaves(initial))
  arrays = {f"{i:02d}": np.asarray(x) for i, x in enumerate(leaves)}
  np.savez(folder / "init.npz", **arrays)
  about = {"version": __version__, "block": block, "state": names}
  (folder / "stream.json").write_text(json_text(about, indent=1) + "\n")
  return sorted(folder.iterdir())
