"""What a model makes of reads, and of pairs, before it has learned anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import ModelConfig, encoder
from tests.models.tiny import (
  FIELDS,
  KEYS,
  D,
  T,
  applier,
  make_batch,
  params_of,
)

MATCH = {"head": "match", "pool": "mean"}
close = np.testing.assert_allclose


def read_kernel(**fields):
  """As `init` draws it."""
  decoder = encoder.Decoder(ModelConfig(**(FIELDS | fields)))
  x, valid = jnp.zeros((1, T, D)), jnp.ones((1, T), bool)
  params = decoder.init(jax.random.key(0), x, x, valid, False)["params"]
  return params["read"]["kernel"]


def test_the_first_projection_of_reads_has_the_size_that_was_asked_for():
  close(read_kernel(read_gain=0.25), 0.25 * read_kernel(), rtol=1e-5)
  assert not read_kernel(read_gain=0.0).any()
  # Pooled slots are all that there is.
  silent = read_kernel(pool="slots", read_gain=0.0)
  close(silent, read_kernel(pool="slots"))


def test_at_first_a_silent_read_is_a_memory_that_is_off_and_then_it_learns():
  batch, params, run = make_batch(), params_of(), applier()
  decoder = params["decoder"] | {"read": {"kernel": jnp.zeros((D, D))}}
  params = params | {"decoder": decoder}
  off = applier(static=(("budget", 0),))
  np.testing.assert_array_equal(
    run(params, KEYS, batch).logits, off(params, KEYS, batch).logits
  )

  def loss(params):
    return (run(params, KEYS, batch).logits[:, 0]).sum()

  grad = jax.grad(loss)(params)
  assert np.abs(grad["decoder"]["read"]["kernel"]).max() > 1e-3
  # Until the projection has moved, nothing before it does.
  assert not any(x.any() for x in jax.tree.leaves(grad["policy"]))


def pairs(inputs2):
  batch = make_batch()
  return batch | {"inputs2": inputs2, "mask2": batch["mask"]}


def test_equal_texts_get_the_scale_and_others_less():
  batch, params = make_batch(), params_of(**MATCH)
  head = jax.tree.map(jnp.zeros_like, params["head"])
  head["cosine"] = jnp.array([-0.5, 0.25, 1.0])
  params = params | {"head": head}
  logits = applier(**MATCH)(params, KEYS, pairs(batch["inputs"])).logits
  expected = encoder.COSINE_SCALE * head["cosine"]
  close(logits, np.tile(expected, (len(logits), 1)), rtol=1e-4)
  other = jnp.roll(batch["inputs"], 1, axis=0)
  less = applier(**MATCH)(params, KEYS, pairs(other)).logits
  assert (less[:, -1] < logits[:, -1] - 0.01).all()


def test_at_first_the_last_class_is_that_of_similar_texts():
  head = encoder.Head(2, hidden=3, cosine=True)
  params = head.init(jax.random.key(0), jnp.zeros(4 * D))["params"]
  close(params["cosine"], [-0.5, 0.5])


@pytest.mark.parametrize(
  ("x1", "x2", "expected"),
  [
    ([1, 2, 3], [10, 20, 30], 1),
    ([1, 2, 3], [12, 11, 10], -1),
    ([1, 0, -1], [1, -2, 1], 0),
    # Centred: (-1, 0, 1) and (-1, 1, 0), whose cosine is 1 / 2.
    ([1, 2, 3], [0, 2, 1], 0.5),
    ([5, 5, 5], [1, 2, 3], 0),
  ],
)
def test_the_cosine_by_hand(x1, x2, expected):
  found = encoder.centred_cosine(jnp.array(x1, float), jnp.array(x2, float))
  close(found, [expected], atol=1e-5)
  grad = jax.grad(lambda x: encoder.centred_cosine(x, x).sum())
  assert np.isfinite(grad(jnp.zeros(D))).all()


@pytest.mark.parametrize(
  "fields", [{}, MATCH | {"cosine": False}, {"head": "causal_lm"}]
)
def test_only_pairs_are_compared(fields):
  assert "cosine" in params_of(**MATCH)["head"]
  assert "cosine" not in params_of(**fields)["head"]
