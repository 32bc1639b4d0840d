"""Every head and encoder: types, causality, padding, gradients."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models.config import BASELINES, ModelConfig
from nema_lc_jax.models.encoder import pair_features
from tests.models.tiny import (
  FIELDS,
  KEYS,
  LENGTH,
  B,
  C,
  D,
  T,
  V,
  applier,
  make_batch,
  model_of,
  padded,
  params_of,
)

HEADS = ("classify", "match", "causal_lm")
ENCODERS = ("memory", *BASELINES)
# Logits of the same text computed in another shape.
close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5)


def logits_of(batch, static=(), *, params=None, keys=KEYS, **fields):
  params = params_of(**fields) if params is None else params
  return applier(static, **fields)(params, keys, batch).logits


# Shapes and types.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("head", HEADS)
def test_shapes_and_types(head, encoder, dtype):
  model = model_of(head=head, encoder=encoder, dtype=dtype)
  params = jax.eval_shape(model.init, jax.random.key(0))
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  out = jax.eval_shape(model.apply, params, KEYS, make_batch())
  shape = (B, LENGTH, C) if head == "causal_lm" else (B, C)
  assert (out.logits.shape, out.logits.dtype) == (shape, jnp.float32)
  if encoder != "memory":
    assert out.steps is None
    assert "policy" not in params
    return
  texts = 2 * B if head == "match" else B
  assert out.steps.writes.shape == (texts, LENGTH // T)
  assert out.steps.strength.shape == (texts, LENGTH // T, FIELDS["num_slots"])
  assert out.steps.strength.dtype == jnp.float32


def test_every_policy_makes_a_model(policy):
  model = model_of(policy=policy)
  params = jax.eval_shape(model.init, jax.random.key(0))
  out = jax.eval_shape(model.apply, params, KEYS, make_batch())
  assert out.logits.shape == (B, C)


def test_bfloat16_is_near_float32():
  batch, params = make_batch(), params_of()
  half = logits_of(batch, params=params, dtype="bfloat16")
  full = logits_of(batch, params=params)
  assert not np.array_equal(half, full)
  np.testing.assert_allclose(half, full, atol=0.2)


# Causality.


@pytest.mark.parametrize("encoder", ENCODERS)
def test_prediction_sees_no_later_token(encoder):
  fields = {"head": "causal_lm", "encoder": encoder}
  batch = make_batch()
  before = logits_of(batch, **fields)
  for t in (0, 2, T - 1, T, 2 * T - 1, 2 * T + 1):
    later = jnp.arange(LENGTH) > t
    changed = jnp.where(later, (batch["inputs"] + 1) % V, batch["inputs"])
    after = logits_of(batch | {"inputs": changed}, **fields)
    np.testing.assert_array_equal(after[:, : t + 1], before[:, : t + 1])
    assert (after[:, t + 1 :] != before[:, t + 1 :]).any(-1).all()


@pytest.mark.parametrize(
  ("encoder", "static", "sees"),
  [
    ("memory", (), True),
    ("memory", (("budget", 0),), False),
    ("local", (), False),
    ("full", (), True),
    ("recurrent", (), True),
    ("ssm", (), True),
    ("delta", (), True),
    ("routed", (), True),
  ],
)
def test_later_chunks_know_of_earlier_ones_unless_local_or_memory_off(
  encoder, static, sees
):
  fields = {"head": "causal_lm", "encoder": encoder}
  batch = make_batch()
  first = jnp.arange(LENGTH) < T
  changed = jnp.where(first, (batch["inputs"] + 1) % V, batch["inputs"])
  before = logits_of(batch, static, **fields)
  after = logits_of(batch | {"inputs": changed}, static, **fields)
  assert (before[:, :T] != after[:, :T]).any()
  assert (before[:, T:] != after[:, T:]).any() == sees


@pytest.mark.parametrize("static", [(), (("budget", 0),)])
def test_the_last_chunk_knows_of_earlier_ones_by_memory_only(static):
  batch = make_batch()
  first = jnp.arange(LENGTH) < 2 * T
  changed = jnp.where(first, (batch["inputs"] + 1) % V, batch["inputs"])
  before = logits_of(batch, static)
  after = logits_of(batch | {"inputs": changed}, static)
  assert np.array_equal(before, after) == bool(static)


# Padding.


@pytest.mark.parametrize(
  ("encoder", "pool"),
  [
    ("memory", "last"),
    ("local", "last"),
    ("local", "mean"),
    ("full", "mean"),
    ("recurrent", "last"),
    ("recurrent", "mean"),
    ("ssm", "mean"),
    ("delta", "last"),
    ("routed", "mean"),
  ],
)
def test_padded_chunks_change_nothing(encoder, pool):
  fields = {"encoder": encoder, "pool": pool}
  batch = make_batch(valid=LENGTH - 2)
  short = logits_of(batch, **fields)
  close(logits_of(padded(batch, 2), **fields), short)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_padding_holds_changes_nothing(encoder):
  fields = {"encoder": encoder}
  batch = make_batch(valid=LENGTH - 2)
  other = batch | {"inputs": jnp.where(batch["mask"], batch["inputs"], 7)}
  close(logits_of(other, **fields), logits_of(batch, **fields))


# Without a memory, and with more of it.


def test_memory_off_equals_the_policy_none():
  batch, params = make_batch(), params_of()
  off = applier((("budget", 0),))(params, KEYS, batch)
  none = applier(policy="none")(params | {"policy": ()}, KEYS, batch)
  np.testing.assert_array_equal(off.logits, none.logits)
  assert not off.steps.writes.any()
  assert not none.steps.writes.any()


def test_free_slots_more_than_trained_with_change_nothing():
  batch, params = make_batch(), params_of()
  few = applier()(params, KEYS, batch)
  many = applier((("num_slots", 16),))(params, KEYS, batch)
  assert many.steps.strength.shape == (B, LENGTH // T, 16)
  # Three chunks of one candidate fill three slots and evict nothing.
  assert many.steps.writes.any()
  close(many.logits, few.logits)


@pytest.mark.parametrize(
  ("name", "slots", "train", "expected"),
  [
    ("learned", 2, True, 4),
    ("write_gate", 2, True, 4),
    ("learned", 2, False, 2),  # what is tested has only what there is to be
    ("learned", 3, True, 3),  # a slot for each of 3 chunks: nothing to fade
    ("fifo", 2, True, 2),  # cannot fade
  ],
)
def test_spare_slots_are_for_training_what_fades(name, slots, train, expected):
  model = model_of(policy=name, num_slots=slots, overprovisioned_slots=2)
  params = jax.eval_shape(model.init, jax.random.key(0))
  apply = functools.partial(model.apply, train=train)
  state = jax.eval_shape(apply, params, KEYS, make_batch()).state
  assert state.strength.shape == (B, expected)


def test_a_budget_given_to_the_call_is_kept():
  batch = make_batch()
  fields = {"num_candidates": 2}
  static = (("budget", 1),)
  steps = applier(static, **fields)(params_of(**fields), KEYS, batch).steps
  assert (steps.writes + steps.updates + steps.forgets).max() == 1


# Matching.


def test_matching_all_pairs_contains_the_given_pairs_and_the_others():
  batch, params = make_batch(), params_of(head="match")
  alone = logits_of(batch, params=params, head="match")
  static = (("all_pairs", True),)
  pairs = logits_of(batch, static, params=params, head="match")
  assert pairs.shape == (B, B, C)
  close(jnp.diagonal(pairs).T, alone)
  # Row i with the second text of the row before it.
  shifted = batch | {"inputs2": jnp.roll(batch["inputs2"], 1, axis=0)}
  shifted = logits_of(shifted, params=params, head="match")
  close(pairs[jnp.arange(B), jnp.arange(B) - 1], shifted)


def test_both_texts_go_through_one_encoder_and_memory():
  batch, params = make_batch(), params_of(head="match")
  swapped = batch | {"inputs": batch["inputs2"], "inputs2": batch["inputs"]}
  steps = applier(head="match")(params, KEYS, batch).steps
  other = applier(head="match")(params, KEYS, swapped).steps
  close(steps.write_strength[:B], other.write_strength[B:])
  close(steps.write_strength[B:], other.write_strength[:B])
  assert not np.allclose(
    steps.write_strength[:B], steps.write_strength[B:], atol=1e-4
  )


def test_the_order_of_the_two_texts_matters_to_the_head_alone():
  batch = make_batch()
  same = batch | {"inputs2": batch["inputs"]}
  mine = logits_of(same, head="match")
  assert not np.allclose(mine, logits_of(batch, head="match"), atol=1e-4)


# Keys.


def test_dropout_acts_in_training_only():
  fields, batch = {"dropout": 0.5, "encoder": "local"}, make_batch()
  other = jax.random.split(jax.random.key(6), B)
  evaluate = functools.partial(logits_of, batch, **fields)
  np.testing.assert_array_equal(evaluate(), evaluate(keys=other))
  train = functools.partial(logits_of, batch, (("train", True),), **fields)
  assert (train() != train(keys=other)).any(-1).all()
  np.testing.assert_array_equal(train(), train())


def test_examples_use_their_own_key():
  fields, batch = {"dropout": 0.5, "encoder": "local"}, make_batch()
  train = functools.partial(logits_of, static=(("train", True),), **fields)
  backwards = jax.tree.map(lambda x: x[::-1], batch)
  close(train(backwards, keys=KEYS[::-1])[::-1], train(batch))


# Gradients.


def noisy(params, scale=0.3):
  """Far from the start, so that memory policies do all they can do."""
  rng = np.random.default_rng(1)
  noise = lambda x: (scale * rng.normal(size=x.shape)).astype(np.float32)
  return jax.tree.map(lambda x: np.asarray(x) + noise(x), params)


@functools.cache
def slope_of(**fields):
  weights = jax.random.normal(jax.random.key(3), (ROWS, C))
  keys = jax.random.split(jax.random.key(2), ROWS)

  def loss(params, batch):
    out = model_of(**fields).apply(params, keys, batch, train=True)
    return jnp.einsum("b...c,bc->", out.logits, weights)

  return jax.jit(jax.grad(loss))


ROWS = 8
long_batch = functools.partial(make_batch, length=6 * T, rows=ROWS)


@pytest.mark.parametrize("encoder", ["memory", "recurrent", "ssm"])
def test_every_parameter_learns_from_the_task_alone(encoder):
  fields = {"encoder": encoder}
  # With much noise one slot is updated in each step, and never grows old.
  grads = slope_of(**fields)(noisy(params_of(**fields), 0.1), long_batch())
  chex.assert_tree_all_finite(grads)
  leaves, _ = jax.tree.flatten_with_path(grads)
  still = [jax.tree_util.keystr(path) for path, x in leaves if not x.any()]
  assert still == []


@pytest.mark.parametrize("encoder", ["memory", "recurrent", "ssm"])
def test_texts_of_padding_only_give_finite_gradients(encoder):
  fields = {"encoder": encoder}
  grads = slope_of(**fields)(params_of(**fields), long_batch(valid=0))
  chex.assert_tree_all_finite(grads)
  # The head's last bias is all that such a text can teach.
  assert grads["head"]["logits"]["bias"].any()
  assert not any(x.any() for x in jax.tree.leaves(grads["encoder"]))


@pytest.mark.parametrize("encoder", ["memory", "recurrent"])
def test_remat_changes_no_gradient(encoder):
  fields = {"encoder": encoder}
  batch, params = long_batch(), params_of(**fields)
  plain = slope_of(**fields)(params, batch)
  remat = slope_of(**fields, remat=True)(params, batch)
  chex.assert_trees_all_close(remat, plain, atol=1e-5)


@pytest.mark.parametrize(
  "fields",
  [
    {"pool": "mean"},
    {"head": "causal_lm", "conv_kernel_size": 3},
    {"encoder": "local", "pool": "mean"},
  ],
  ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_chunks_by_turns_change_no_gradient(fields):
  batch, params = long_batch(), noisy(params_of(**fields))
  plain = slope_of(**fields)(params, batch)
  # Of six chunks, the last turn of four is of two. Turns of one are apart.
  for turn in (1, 4):
    turns = slope_of(**fields, chunk_batch_size=turn)(params, batch)
    chex.assert_trees_all_close(turns, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["full", "ssm", "recurrent"])
def test_what_sees_other_chunks_takes_no_turns(encoder):
  fields = {"encoder": encoder, "chunk_batch_size": 1}
  assert ModelConfig(**(FIELDS | fields)).chunks_per_call == 0


def test_by_turns_less_is_kept():
  batch = make_batch(length=32 * T, rows=ROWS)
  fields = {"encoder": "local", "pool": "mean"}
  params = params_of(**fields)
  kept = [
    slope_of(**fields, chunk_batch_size=turn)
    .lower(params, batch)
    .compile()
    .memory_analysis()
    .temp_size_in_bytes
    for turn in (0, 1)
  ]
  assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("encoder", ["memory", "recurrent"])
def test_the_gradient_of_an_early_token_passes_through_the_memory(encoder):
  # Only the first chunk holds token 10: its embedding learns by the memory.
  batch = long_batch()
  text = jnp.where(batch["inputs"] == 10, 9, batch["inputs"])
  batch |= {"inputs": text.at[:, 1].set(10)}
  for fields, learns in (({}, True), ({"bptt_chunks": 1}, False)):
    fields |= {"encoder": encoder}
    grads = slope_of(**fields)(params_of(encoder=encoder), batch)
    row = grads["encoder"]["embedding"]["token"]["embedding"][10]
    assert row.shape == (D,)
    assert row.any() == learns


def test_before_training_a_token_reads_the_chunks_that_have_it():
  N, wide = 4, {"width": 64, "num_layers": 0, "num_slots": 4}
  model = model_of(**wide, policy="fifo")
  params = jax.jit(model.init)(jax.random.key(0))
  params["interface"]["age_bias"] = -20.0  # by content alone
  # Chunk n holds the tokens 2n+1 and 2n+2; the last asks for one of them.
  texts = np.repeat(np.arange(1, 2 * N + 1).reshape(N, 2), T // 2, axis=1)
  asked = np.arange(1, 2 * N + 1)
  inputs = np.zeros((len(asked), (N + 1) * T), np.int32)
  inputs[:, : N * T] = texts.reshape(-1)
  inputs[:, N * T] = asked
  mask = inputs > 0
  keys = jax.random.split(jax.random.key(1), len(asked))
  batch = {"inputs": inputs, "mask": mask}
  out = jax.jit(model.apply)(params, keys, batch)
  # In each text the slot of the chunk with its token.
  most = np.asarray(out.steps.attention)[:, N].argmax(-1)
  np.testing.assert_array_equal(most, (asked - 1) // 2)


def test_the_features_of_a_pair_are_both_their_product_and_difference():
  found = pair_features(jnp.array([1.0, 2.0]), jnp.array([[3.0, 5.0]]))
  np.testing.assert_array_equal(found, [[1, 2, 3, 5, 3, 10, -2, -3]])
