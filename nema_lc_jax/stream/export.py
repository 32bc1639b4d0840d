"""A stream's functions as StableHLO, to be run without this package's code."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
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
  """Writes push.bin and answer.bin, which `jax.export.deserialize` reads.

  The parameters are in them. A state is a tuple of arrays: the first one is in
  init.npz, and stream.json says what each is.

    push(state, tokens [block] i32, length [] i32) -> state
    answer(state) -> logits [C]

  Args:
    streaming: of `make_stream`.
    params: of its model.
    folder: to be made, or empty.
    block: tokens of one push, at most.
    num_slots: in place of the model's own.

  Returns:
    The files.

  Raises:
    ConfigError: if there is something in the folder, or a block below 1.
  """
  folder = Path(folder)
  if block < 1:
    raise ConfigError(f"a block must have at least 1 token, got {block}.")
  if folder.exists() and any(folder.iterdir()):
    raise ConfigError(f"{folder} is not empty.")
  first = streaming.init(num_slots=num_slots)
  leaves, tree = jax.tree.flatten(first)

  def push(state, tokens, length):
    state = jax.tree.unflatten(tree, state)
    after = streaming.push(params, state, tokens, length)
    return tuple(jax.tree.leaves(after))

  def answer(state):
    return streaming.answer(params, jax.tree.unflatten(tree, state))

  shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
  state = tuple(map(shape, leaves))
  number = jax.ShapeDtypeStruct((), jnp.int32)
  tokens = jax.ShapeDtypeStruct((block,), jnp.int32)
  programs = {"push.bin": (push, (state, tokens, number))}
  programs["answer.bin"] = (answer, (state,))
  folder.mkdir(parents=True, exist_ok=True)
  for name, (function, arguments) in programs.items():
    exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)
    (folder / name).write_bytes(exported(*arguments).serialize())
  names = list(named_leaves(first))
  arrays = {f"{i:02d}": np.asarray(x) for i, x in enumerate(leaves)}
  np.savez(folder / "init.npz", **arrays)
  about = {"version": __version__, "block": block, "state": names}
  (folder / "stream.json").write_text(json.dumps(about, indent=1) + "\n")
  return sorted(folder.iterdir())
