import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import attention, encoder
from nema_lc_jax.models.config import ModelConfig

FIELDS = {"head": "classify", "vocab_size": 9, "num_classes": 2, "width": 8}
FIELDS |= {"chunk_length": 6, "num_heads": 2}


def draw(shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def by_hand(q, k, v, valid, causal):
  """[T, H, d], a token at a time, in float64."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  out = np.zeros(q.shape)
  for t in range(len(q)):
    shown = np.asarray(valid) & ((np.arange(len(q)) <= t) | (not causal))
    for h in range(q.shape[1]):
      logits = k[shown, h] @ q[t, h] / q.shape[-1] ** 0.5
      weights = np.exp(logits - logits.max())
      out[t, h] = weights @ v[shown, h] / weights.sum()
  return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T", [12, 192])
def test_attention_is_what_it_is_by_hand_in_one_piece_and_in_blocks(T, causal):
  q, k, v = (draw((2, T, 2, 4), seed) for seed in range(3))
  valid = jnp.arange(T) < T - 5
  valid = jnp.stack([valid, jnp.ones_like(valid)])
  out = attention.attend(q, k, v, valid, causal=causal)
  for i in range(2):
    np.testing.assert_allclose(
      out[i], by_hand(q[i], k[i], v[i], valid[i], causal), atol=1e-5
    )


def test_gradients_in_blocks_are_those_of_one_piece(monkeypatch):
  q, k, v = (draw((128, 2, 4), seed) for seed in range(3))
  valid = jnp.arange(128) < 100
  weight = draw(q.shape, 3)

  def loss(q, k, v):
    return (weight * attention.attend(q, k, v, valid)).sum()

  blocks = jax.grad(loss, (0, 1, 2))(q, k, v)
  monkeypatch.setattr(attention, "BLOCK", 128)
  whole = jax.grad(loss, (0, 1, 2))(q, k, v)
  for a, b in zip(blocks, whole, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
  assert not blocks[1][100:].any()
  assert not blocks[2][100:].any()


def test_turned_products_depend_on_distances_alone():
  q, k = draw((1, 1, 8), 0), draw((1, 1, 8), 1)
  many = lambda x: attention.rotate(jnp.broadcast_to(x, (20, 1, 8)))[:, 0]
  products = many(q) @ many(k).T
  for distance in (-7, 0, 3):
    same = jnp.diagonal(products, distance)
    np.testing.assert_allclose(same, same[0], atol=1e-5)
  assert np.ptp(products[0]) > 0.1
  np.testing.assert_allclose(products[0, 0], (q[0] @ k[0].T)[0, 0], atol=1e-6)
  np.testing.assert_allclose(
    jnp.linalg.norm(many(q), axis=-1), jnp.linalg.norm(q), rtol=1e-5
  )


def encoded(tokens, **fields):
  config = ModelConfig(**FIELDS, num_layers=0, **fields)
  module = encoder.Encoder(config)
  valid = jnp.ones(tokens.shape, bool)
  params = module.init(jax.random.key(0), tokens, valid, False)
  return module.apply(params, tokens, valid, False)


@pytest.mark.parametrize("head", ["classify", "causal_lm"])
def test_a_convolution_sees_its_window_and_no_other_chunk(head):
  tokens = jnp.arange(12).reshape(2, 6) % 9
  change = tokens.at[0, 5].set(7)
  fields = {"conv_kernel_size": 3}
  config = dataclasses.replace(ModelConfig(**FIELDS), head=head)
  module = encoder.Encoder(dataclasses.replace(config, num_layers=0, **fields))
  valid = jnp.ones(tokens.shape, bool)
  params = module.init(jax.random.key(0), tokens, valid, False)
  before, after = (
    module.apply(params, x, valid, False) for x in (tokens, change)
  )
  differ = jnp.abs(before - after).max(-1) > 0
  first = [False] * 4 + [head == "classify", True]
  assert differ.tolist() == [first, [False] * 6]


def test_padding_is_nothing_to_a_convolution():
  tokens = jnp.array([[1, 2, 3, 0, 0, 0]])
  config = ModelConfig(**FIELDS, num_layers=0, conv_kernel_size=3)
  module = encoder.Encoder(config)
  valid = tokens > 0
  params = module.init(jax.random.key(0), tokens, valid, False)
  one = module.apply(params, tokens, valid, False)
  other = module.apply(params, tokens.at[0, 3:].set(5), valid, False)
  np.testing.assert_array_equal(one[0, :3], other[0, :3])


def test_with_rotary_positions_no_place_is_added():
  tokens = jnp.full((2, 6), 4)
  assert np.ptp(encoded(tokens, position_embedding="rotary"), axis=1).max() == 0
  assert np.ptp(encoded(tokens), axis=1).max() > 0


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"sequence_mixer": "lstm"}, "attention, ssm"),
    ({"sequence_mixer": "ssm", "pool": "slots"}, "slots have none: .*got 1"),
    ({"position_embedding": "sinus"}, "learned, rotary"),
    (
      {"conv_kernel_size": -1},
      "conv_kernel_size must be a whole number, at least 0 and at most 100",
    ),
    ({"position_embedding": "rotary", "width": 6}, "even width"),
  ],
)
def test_a_mistake_names_the_value(fields, words):
  with pytest.raises(ValueError, match=words):
    ModelConfig(**FIELDS | fields)


def test_gated_units_are_zero_where_their_gate_is():
  config = ModelConfig(**FIELDS, gated_mlp=True)
  block = encoder.Block(config)
  x, valid = draw((1, 6, 8)), jnp.ones((1, 6), bool)
  params = block.init(jax.random.key(0), x, valid, False)["params"]
  params["down"] = jax.tree.map(jnp.ones_like, params["down"])
  params["down"]["bias"] *= 0.0
  assert np.abs(block.apply({"params": params}, x, valid, False) - x).max() > 0
  params["gate"] = jax.tree.map(jnp.zeros_like, params["gate"])
  np.testing.assert_allclose(
    block.apply({"params": params}, x, valid, False), x, atol=1e-6
  )
