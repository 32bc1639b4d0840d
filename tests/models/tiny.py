"""Small models and batches for the model tests; compiled functions shared."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nema_lc_jax.models import build_model

V, C, T, D, B = 11, 3, 4, 8, 3
LENGTH = 3 * T
FIELDS = {
  "head": "classify",
  "vocab_size": V,
  "num_classes": C,
  "chunk_length": T,
  "width": D,
  "num_layers": 1,
  "num_layers_after": 1,
  "num_heads": 2,
  "num_slots": 3,
  "num_candidates": 1,
}
KEYS = jax.random.split(jax.random.key(5), B)


@functools.cache
def model_of(**fields):
  return build_model(**(FIELDS | fields))


# Where a policy starts, but that updates are frequent; all other biases are 0
# and scales 1.
STARTS = {
  "['policy']['gate']['logit']['bias']": [1.0],
  "['policy']['slots']['logits']['bias']": [3.0, 0.0],
  "['policy']['updates']['match']['scale']": 12.0,
  "['interface']['age_bias']": -2.0,
}


@functools.cache
def params_of(**fields):
  return draw_params(model_of(**fields))


def draw_params(model):
  """Much like model.init, without compiling it: that is as slow as a model."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name = jax.tree_util.keystr(path)
    if name in STARTS:
      return jnp.asarray(STARTS[name], leaf.dtype)
    if name.endswith(("['bias']", "['scale']")):
      return jnp.full(leaf.shape, float("scale" in name), leaf.dtype)
    fan_in = leaf.shape[0] if name.endswith("['kernel']") else 1
    values = rng.normal(size=leaf.shape) * fan_in**-0.5
    return jnp.asarray(values, leaf.dtype)

  shapes = jax.eval_shape(model.init, jax.random.key(0))
  return jax.tree.map_with_path(draw, shapes)


@functools.cache
def applier(static=(), **fields):
  """Jitted (params, keys, batch) -> ModelOutput."""
  apply = model_of(**fields).apply
  return jax.jit(functools.partial(apply, **dict(static)))


def make_batch(seed=0, *, length=LENGTH, valid=None, rows=B):
  """`valid`: how many tokens of each text are not padding."""
  rng = np.random.default_rng(seed)
  valid = length if valid is None else valid
  mask = np.tile(np.arange(length) < valid, (rows, 1))
  texts = rng.integers(1, V, (2, rows, length), dtype=np.int32)
  texts = jnp.asarray(np.where(mask, texts, 0))
  mask = jnp.asarray(mask)
  return {
    "inputs": texts[0],
    "mask": mask,
    "inputs2": texts[1],
    "mask2": mask,
    "ground_truth": jnp.zeros((rows, length), jnp.int32),
  }


def padded(batch, chunks):
  """The batch with so many padded chunks after every text."""
  return {
    name: jnp.pad(x, ((0, 0), (0, chunks * T))) for name, x in batch.items()
  }
