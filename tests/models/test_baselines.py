"""The encoders that the memory is compared with, against plain recurrences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import POLICIES, ModelConfig
from nema_lc_jax.models.config import BASELINES
from nema_lc_jax.models.encoder import Block
from nema_lc_jax.models.linear_memory import (
  RULES,
  LinearMemory,
  RoutedSlots,
  delta_rule,
  initial_state,
  routed_slots,
)
from nema_lc_jax.models.recurrent import RecurrentChunk, scan_recurrent
from nema_lc_jax.models.ssm import STEPS, StateSpace, recur
from tests.models.tiny import (
  FIELDS,
  KEYS,
  LENGTH,
  B,
  D,
  T,
  applier,
  make_batch,
  params_of,
)

R = FIELDS["num_slots"]
close = functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5)


def config_of(**fields):
  return ModelConfig(**(FIELDS | fields))


def logits_of(batch, params, **fields):
  return applier(**fields)(params, KEYS, batch).logits


def test_a_baseline_is_never_taken_for_a_policy():
  assert set(BASELINES) & set(POLICIES) == set()


# The linear recurrence.


def loop(rate, inputs):
  """States of the recurrence, one after the other."""
  state, states = np.zeros(rate.shape, complex), []
  for u in inputs:
    state = rate * state + u
    states.append(state)
  return np.array(states)


def test_the_scan_is_the_recurrence():
  rng = np.random.default_rng(0)
  L, P = 13, 3
  rate = rng.uniform(0.5, 1.0, P) * np.exp(1j * rng.uniform(0, 3, P))
  inputs = rng.normal(size=(L, P)) + 1j * rng.normal(size=(L, P))
  close(recur(jnp.asarray(rate), jnp.asarray(inputs)), loop(rate, inputs))


def oracle(params, x, valid, *, both):
  """The layer in float64: the system integrated exactly over each step."""
  p = {name: np.asarray(value, float) for name, value in params.items()}
  eigenvalue = -np.exp(p["decay"]) + 1j * p["frequency"]
  step = np.exp(p["log_step"])
  # x' = eigenvalue x + u with u held: e^(lt) x + u int_0^t e^(ls) ds, here by
  # the midpoint rule.
  s = (np.arange(20_000)[:, None] + 0.5) / 20_000 * step
  gain = np.exp(eigenvalue * s).mean(0) * step
  matrix = p["input"][0] + 1j * p["input"][1]
  inputs = np.where(valid[:, None], (x @ matrix) * gain, 0.0)
  rate = np.exp(eigenvalue * step)
  states = [loop(rate, inputs)]
  if both:
    states.append(loop(rate, inputs[::-1])[::-1])
  out = p["output"][0] + 1j * p["output"][1]
  states = np.concatenate(states, axis=1)
  # Every state has its conjugate beside it.
  y = states @ out + states.conj() @ out.conj()
  return y.real + p["through"] * x


@pytest.mark.parametrize("head", ["classify", "causal_lm"])
def test_a_layer_is_the_continuous_system_held_between_tokens(head):
  module = StateSpace(config_of(head=head))
  rng = np.random.default_rng(1)
  x = rng.normal(size=(LENGTH, D))
  valid = np.arange(LENGTH) < LENGTH - 3
  arguments = jnp.asarray(x, jnp.float32), jnp.asarray(valid)
  params = module.init(jax.random.key(0), *arguments)["params"]
  found = module.apply({"params": params}, *arguments)
  close(found, oracle(params, x, valid, both=head != "causal_lm"), atol=1e-4)


def test_a_layer_starts_as_s4d_lin_and_stable():
  module = StateSpace(config_of(width=64, num_heads=4))
  x, valid = jnp.zeros((2, 64)), jnp.ones(2, bool)
  params = module.init(jax.random.key(0), x, valid)["params"]
  close(-jnp.exp(params["decay"]), np.full(32, -0.5))
  close(params["frequency"], np.pi * np.arange(32))
  step = np.exp(params["log_step"])
  assert STEPS[0] <= step.min() < 0.005 < 0.03 < step.max() <= STEPS[1]


@pytest.mark.parametrize("head", ["classify", "causal_lm"])
def test_a_linear_recurrence_knows_no_chunks(head):
  fields = {"encoder": "ssm", "head": head}
  batch, params = make_batch(), params_of(**fields)
  many = logits_of(batch, params, **fields)
  close(logits_of(batch, params, chunk_length=LENGTH, **fields), many)


def test_linear_recurrences_in_chunks_end_with_them():
  module = StateSpace(config_of(sequence_mixer="ssm"))
  x = jax.random.normal(jax.random.key(0), (3, T, D))
  valid = jnp.array([[1] * T, [1, 1, 0, 0], [0] * T], bool)
  params = module.init(jax.random.key(1), x, valid)
  alone = [module.apply(params, *chunk) for chunk in zip(x, valid, strict=True)]
  close(module.apply(params, x, valid), np.stack(alone))


@pytest.mark.parametrize("encoder", ["memory", "local"])
@pytest.mark.parametrize("head", ["classify", "causal_lm"])
def test_layers_of_a_memory_may_be_linear_recurrences(encoder, head):
  fields = {
    "encoder": encoder,
    "sequence_mixer": "ssm",
    "head": head,
    "pool": "mean",
  }
  batch, params = make_batch(valid=LENGTH - 2), params_of(**fields)
  found = logits_of(batch, params, **fields)
  close(logits_of(batch, params, chunk_batch_size=1, **fields), found)
  layers = [*params["encoder"]["layers"].values()]
  layers += params["decoder"]["layers"].values()
  assert layers
  assert all("ssm" in layer and "qkv" not in layer for layer in layers)
  if head == "causal_lm":
    # What a token sees ends with it.
    later = {**batch, "inputs": batch["inputs"].at[:, T + 1 :].set(1)}
    close(logits_of(later, params, **fields)[:, : T + 1], found[:, : T + 1])
  elif encoder == "local":
    # Chunks are read apart, whatever order they come in.
    turned = {
      name: jnp.roll(batch[name], T, axis=1) for name in ("inputs", "mask")
    }
    close(logits_of(batch | turned, params, **fields), found)


@pytest.mark.parametrize("encoder", ["full", "recurrent"])
def test_attention_over_texts_and_memory_tokens_stays_attention(encoder):
  fields = {"encoder": encoder, "num_slots": 3}
  assert jax.tree.map(jnp.shape, params_of(**fields)) == jax.tree.map(
    jnp.shape, params_of(**fields, sequence_mixer="ssm")
  )


# Recurrent memory tokens.


def unrolled(config, params, x, valid):
  """The recurrence, chunk by chunk, and the memory after each."""
  memory, outputs, memories = params["start"], [], []
  norm = params["chunk"]["norm_memory"]
  for chunk, here in zip(x, valid, strict=True):
    parts, seen = [memory, chunk], [np.ones(R, bool), here]
    if config.causal:
      parts, seen = [*parts, memory], [*seen, np.ones(R, bool)]
    h, seen = jnp.concatenate(parts), jnp.concatenate(seen)
    for i in range(config.num_layers + config.num_layers_after):
      layer = {"params": params["chunk"][f"layer_{i}"]}
      h = Block(config).apply(layer, h, seen, False)
    outputs.append(h[R : R + T])
    if here.any():
      h = np.asarray(h[R + T :] if config.causal else h[:R], float)
      h = (h - h.mean(1, keepdims=True)) / h.std(1, keepdims=True)
      memory = jnp.asarray(h * norm["scale"] + norm["bias"], jnp.float32)
    memories.append(memory)
  return np.stack(outputs), memories


@pytest.mark.parametrize("head", ["classify", "causal_lm"])
def test_the_scan_is_the_loop_over_chunks(head):
  fields = {"encoder": "recurrent", "head": head}
  config, params = config_of(**fields), params_of(**fields)["recurrent"]
  x = jax.random.normal(jax.random.key(1), (4, T, D))
  # The second chunk is half padding, the third all of it.
  valid = jnp.array([[1] * T, [1, 1, 0, 0], [0] * T, [1] * T], bool)
  module = RecurrentChunk(config)
  scan = functools.partial(scan_recurrent, module, params, jax.random.key(0))
  expected, memories = unrolled(config, params, x, valid)
  close(scan(x, valid, False), expected, atol=1e-4)
  assert np.array_equal(memories[2], memories[1])
  assert not np.allclose(memories[3], memories[2], atol=1e-2)


def test_there_are_as_many_memory_tokens_as_slots():
  params = params_of(encoder="recurrent", num_slots=5)
  assert params["recurrent"]["start"].shape == (5, D)
  assert set(params["recurrent"]["chunk"]) == {
    "layer_0",
    "layer_1",
    "norm_memory",
  }
  # All the layers are in the recurrence.
  assert "layers" not in params["encoder"]
  assert "layers" not in params["decoder"]


def test_one_chunk_is_read_with_the_first_memory_alone():
  fields = {"encoder": "recurrent", "head": "causal_lm"}
  batch, params = make_batch(), params_of(**fields)
  first = jax.tree.map(lambda x: x[:, :T], batch)
  many = logits_of(batch, params, **fields)
  close(logits_of(first, params, **fields), many[:, :T])


def stretched(batch):
  """The batch with a padded chunk after the first."""
  return {
    name: jnp.concatenate(
      [x[:, :T], jnp.zeros((B, T), x.dtype), x[:, T:]], axis=1
    )
    for name, x in batch.items()
  }


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_a_padded_chunk_between_others_changes_nothing(pool):
  fields = {"encoder": "recurrent", "pool": pool}
  batch, params = make_batch(valid=LENGTH - 2), params_of(encoder="recurrent")
  close(
    logits_of(stretched(batch), params, **fields),
    logits_of(batch, params, **fields),
  )


# Matrices in place of the memory.


def inputs_of(rule, *, length, width=6, slots=3):
  """Random inputs of a rule for one head, with pauses, in float64."""
  rng = np.random.default_rng(2)
  q, k, v = rng.normal(size=(3, length, width))
  here = rng.uniform(size=length) < 0.8
  decay = np.where(here, -rng.exponential(0.3, length), 0.0)
  if rule is delta_rule:
    rate = np.where(here, rng.uniform(size=length), 0.0)
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    return rng.normal(size=(width, width)), (q, k, v, decay, rate)
  routes = rng.uniform(size=(length, slots)) * (rng.uniform(size=slots) < 0.7)
  state = rng.normal(size=(slots, 2 * width))
  return state, (q, k, v, decay[:, None] * routes)


def token_by_token(rule, state, inputs):
  """The recurrences as their papers state them, and the state at the end."""
  reads, K = [], inputs[1].shape[1]
  for q, k, v, log_decay, *rate in zip(*inputs, strict=True):
    a = np.exp(log_decay)
    if rule is delta_rule:
      state = a * (state - rate[0] * np.outer(k, k @ state))
      state += rate[0] * np.outer(k, v)
      reads.append(q @ state)
    else:
      new = np.concatenate([k, v])
      state = a[:, None] * state + (1 - a)[:, None] * new
      weights = np.exp(state[:, :K] @ q)
      reads.append(weights / weights.sum() @ state[:, K:])
  return state, np.stack(reads)


@pytest.mark.parametrize("rule", [delta_rule, routed_slots])
def test_a_chunk_at_once_is_token_by_token(rule):
  state, inputs = inputs_of(rule, length=12)
  wanted, reads = token_by_token(rule, state, inputs)
  # In chunks of 5, 4 and 3 tokens.
  state, found = jnp.asarray(state, jnp.float32), []
  for start, end in ((0, 5), (5, 9), (9, 12)):
    part = (jnp.asarray(x[start:end], jnp.float32) for x in inputs)
    state, read = rule(state, *part)
    found.append(read)
  close(np.concatenate(found), reads, atol=1e-4)
  close(state, wanted, atol=1e-4)


def test_where_chunks_end_changes_no_slots():
  fields = {"encoder": "routed", "num_slots": 3}
  x = jax.random.normal(jax.random.key(0), (3, T, D))
  valid = jnp.arange(3 * T).reshape(3, T) < 3 * T - 5
  module = LinearMemory(config_of(**fields))
  params = module.init(jax.random.key(1), x, valid, False)
  found = module.apply(params, x, valid, False)
  whole = LinearMemory(config_of(**fields, chunk_length=3 * T)).apply(
    params, x.reshape(1, 3 * T, D), valid.reshape(1, -1), False
  )
  close(found.reshape(whole.shape), whole)


@pytest.mark.parametrize("encoder", RULES)
def test_padding_changes_no_matrix(encoder):
  x = jax.random.normal(jax.random.key(0), (3, T, D))
  # The second chunk is padding.
  valid = jnp.ones((3, T), bool).at[1].set(False)
  module = LinearMemory(config_of(encoder=encoder))
  params = module.init(jax.random.key(1), x, valid, False)
  found = module.apply(params, x, valid, False)
  without = module.apply(params, x[::2], valid[::2], False)
  close(found[::2], without)


@pytest.mark.parametrize("encoder", RULES)
def test_a_matrix_has_as_many_numbers_as_the_slots(encoder):
  config = config_of(encoder=encoder, num_slots=5)
  assert initial_state(config).size == 5 * D
  # And nothing else is carried: what a chunk writes depends on it alone.
  inputs = RULES[encoder][0](config)
  x = jax.random.normal(jax.random.key(0), (2, T, D))
  params = inputs.init(jax.random.key(1), x, False)
  for found, again in zip(
    inputs.apply(params, x, False),
    inputs.apply(params, x.at[0].set(7.0), False),
    strict=True,
  ):
    close(found[1], again[1])
    assert not np.allclose(found[0], again[0], atol=1e-3)


def test_a_token_writes_to_an_eighth_of_the_routed_slots():
  for slots, written in ((1, 1), (3, 2), (16, 2), (24, 3)):
    module = RoutedSlots(config_of(encoder="routed", num_slots=slots))
    x = jax.random.normal(jax.random.key(0), (2, T, D))
    params = module.init(jax.random.key(1), x, False)
    *_, log_decay = module.apply(params, x, False)
    assert log_decay.shape == (2, T, 2, slots)
    assert ((log_decay < 0).sum(-1) == written).all()
    # Exploration chooses others.
    *_, noisy = module.apply(
      params, x, True, rngs={"dropout": jax.random.key(2)}
    )
    assert ((noisy < 0).sum(-1) == written).all()
    assert ((noisy < 0) != (log_decay < 0)).any() == (slots > written)


@pytest.mark.parametrize("encoder", RULES)
def test_every_parameter_of_a_matrix_has_a_gradient(encoder):
  fields = {"encoder": encoder, "head": "causal_lm"}
  batch, params = make_batch(), params_of(**fields)

  def loss(params):
    return (logits_of(batch, params, **fields) ** 2).sum()

  for path, grad in jax.tree.leaves_with_path(jax.grad(loss)(params)[encoder]):
    assert jnp.abs(grad).max() > 1e-6, path


# All.


def test_pools_without_slots():
  batch, pools = make_batch(), ("last", "mean", "slots")
  found = {
    (encoder, pool): np.asarray(
      logits_of(batch, params_of(encoder=encoder), encoder=encoder, pool=pool)
    )
    for encoder in ("recurrent", "ssm")
    for pool in pools
  }
  for pool in pools:
    np.testing.assert_array_equal(found["ssm", pool], found["ssm", "mean"])
  last, mean, slots = (found["recurrent", pool] for pool in pools)
  np.testing.assert_array_equal(slots, mean)
  assert not np.allclose(last, mean, atol=1e-3)
