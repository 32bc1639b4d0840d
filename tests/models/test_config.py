"""Mistakes in a model's configuration: one line, naming value and remedy."""

import jax
import pytest

from nema_lc_jax.models import POLICIES, build_model
from tests.models.tiny import FIELDS, KEYS, T, make_batch, model_of


def error_of(**fields):
  with pytest.raises(ValueError, match=r"\S") as error:
    build_model(**(FIELDS | fields))
  text = str(error.value)
  assert "\n" not in text
  return text


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"num_heads": 3}, ["num_heads=3", "divide", "width=8"]),
    ({"encoder": "big"}, ["encoder='big'", "memory", "local", "full"]),
    ({"head": "rank"}, ["head='rank'", "classify", "match", "causal_lm"]),
    ({"pool": "max"}, ["pool='max'", "last", "mean"]),
    ({"dtype": "int8"}, ["dtype='int8'", "float32", "bfloat16"]),
    ({"budget": -1}, ["memory.budget", "at least 0", "-1"]),
    ({"num_slots": 0}, ["memory.num_slots", "at least 1", "0"]),
    ({"num_candidates": 0}, ["memory.num_candidates", "at least 1", "0"]),
    ({"chunk_length": 0}, ["model.chunk_length", "at least 1", "0"]),
    ({"num_layers": -1}, ["model.num_layers", "at least 0", "-1"]),
    ({"num_hops": 0}, ["model.num_hops", "at least 1", "0"]),
    ({"num_hops": 2, "pool": "mean"}, ["num_hops=2", "'last'", "'mean'"]),
    ({"num_hops": 2, "head": "causal_lm"}, ["num_hops=2", "'causal_lm'"]),
    ({"num_heads": 0}, ["model.num_heads", "at least 1", "0"]),
    ({"dropout": 1.5}, ["model.dropout", "at least 0 and below 1", "1.5"]),
    ({"dropout": -0.1}, ["model.dropout", "at least 0 and below 1", "-0.1"]),
    ({"dropout": 1.0}, ["model.dropout", "at least 0 and below 1", "1.0"]),
    (
      {"bptt_chunks": 0},
      ["model.bptt_chunks", "None or a whole number, at least 1", "0"],
    ),
    ({"policy": "lfru"}, ["'lfru'", *POLICIES]),
    (
      {"controller": {"nois": 1}},
      ["memory.controller", "'nois'", "noise", "max_decay", "write_threshold"],
    ),
    ({"controller": {"eviction": "newest"}}, ["'newest'", "strength", "fifo"]),
    ({"vocab_size": 0}, ["vocab_size", "at least 1", "0"]),
    ({"num_classes": 0}, ["num_classes", "at least 1", "0"]),
    ({"mlp_ratio": -1.0}, ["mlp_ratio", "-1.0"]),
  ],
  ids=str,
)
def test_a_mistake_names_the_value_and_what_is_allowed(fields, words):
  text = error_of(**fields)
  assert [word for word in words if word not in text] == []


def test_the_controllers_options_are_checked_whatever_the_policy_is():
  text = error_of(policy="fifo", controller={"nois": 1})
  assert "'nois'" in text


def test_options_of_the_learned_policies_do_not_disturb_the_others():
  def shapes(policy, **fields):
    model = build_model(**(FIELDS | {"policy": policy} | fields))
    return jax.eval_shape(model.init, jax.random.key(0))

  disturbed = {
    policy
    for policy in POLICIES
    if shapes(policy) != shapes(policy, controller={"hidden": 4})
  }
  assert disturbed == {"write_gate", "write_gate_lru", "learned"}


def test_a_text_that_chunks_do_not_cover_is_an_error():
  model = model_of()
  params = jax.eval_shape(model.init, jax.random.key(0))
  with pytest.raises(ValueError, match="chunk_length=4: it must be") as error:
    jax.eval_shape(model.apply, params, KEYS, make_batch(length=3 * T - 2))
  assert "length=10" in str(error.value)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("option", "message"),
  [
    ({"num_slots": 0}, "num_slots must be at least 1, got 0"),
    ({"budget": -1}, "budget must be at least 0, got -1"),
  ],
)
def test_a_mistake_in_a_call_is_an_error_too(option, message):
  model = model_of()
  params = jax.eval_shape(model.init, jax.random.key(0))
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      lambda p: model.apply(p, KEYS, make_batch(), **option).logits, params
    )
