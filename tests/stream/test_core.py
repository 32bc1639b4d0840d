"""Streams against the model on the whole text at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nema_lc_jax.models import build_model
from nema_lc_jax.stream import make_stream
from tests.models.tiny import draw_params

T, V = 4, 11
FIELDS = {
  "head": "classify", "vocab_size": V, "num_classes": 3, "chunk_length": T,
  "width": 8, "num_layers": 1, "num_layers_after": 1, "num_heads": 2,
  "num_slots": 3, "num_candidates": 2, "policy": "learned",
}  # fmt: skip
MODELS = {
  "last": {"pool": "last"},
  "mean": {"pool": "mean"},
  "slots": {"pool": "slots"},
  "reads": {"pool": "last", "num_hops": 2},
  "random": {"pool": "last", "policy": "random"},
  "causal_lm": {"head": "causal_lm", "num_classes": V},
}


@functools.cache
def parts_of(name):
  fields = FIELDS | MODELS[name]
  model, stream = build_model(**fields), make_stream(**fields)
  return (
    draw_params(model),
    jax.jit(model.apply),
    stream,
    jax.jit(stream.push),
    jax.jit(stream.answer),
  )


def text(n, seed=0):
  return np.random.default_rng(seed).integers(1, V, n).astype(np.int32)


def at_once(name, *pieces):
  """Logits to pieces that each fill chunks of their own, and the memory."""
  params, apply = parts_of(name)[:2]
  padded = [np.pad(p, (0, -len(p) % T)) for p in pieces]
  valid = [
    np.arange(len(q)) < len(p) for p, q in zip(pieces, padded, strict=True)
  ]
  tokens, mask = np.concatenate(padded), np.concatenate(valid)
  # One shape for all lengths, so that one program is compiled.
  more = 10 * T - len(tokens)
  batch = {"inputs": np.pad(tokens, (0, more)), "mask": np.pad(mask, (0, more))}
  batch = {k: x[None] for k, x in batch.items()}
  out = apply(params, jax.random.key(0)[None], batch)
  logits = out.logits[0]
  if name == "causal_lm":
    logits = logits[np.flatnonzero(mask)[-1]]
  return np.asarray(logits), jax.tree.map(lambda x: x[0], out.state)


def push_all(name, tokens, cuts, room=9):
  """Pushes the pieces between cuts, through programs of one shape."""
  params, _, stream, push, _ = parts_of(name)
  state = stream.init()
  for piece in np.split(tokens, sorted(cuts)):
    for start in range(0, len(piece), room):
      part = piece[start : start + room]
      padded = np.pad(part, (0, room - len(part)), constant_values=7)
      state = push(params, state, padded, len(part))
  return state


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 8 * T), st.lists(st.integers(0, 8 * T), max_size=5))
def test_any_split_answers_as_the_model_does_at_once(name, n, cuts):
  tokens = text(n, seed=n)
  state = push_all(name, tokens, [min(cut, n) for cut in cuts])
  params, *_, answer = parts_of(name)
  logits, _ = at_once(name, tokens)
  np.testing.assert_allclose(answer(params, state), logits, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n", [5, 8])
def test_a_query_is_read_after_the_text_and_leaves_no_trace(name, n):
  params, _, _, push, answer = parts_of(name)
  state = push_all(name, text(n), [])
  before = jax.tree.map(np.array, state)
  query = text(6, seed=9)
  logits, _ = at_once(name, text(n), query)
  np.testing.assert_allclose(answer(params, state, query), logits, atol=2e-5)
  jax.tree.map(np.testing.assert_array_equal, before, state)
  on = push(params, state, np.pad(text(3, seed=4), (0, 6)), 3)
  logits, _ = at_once(name, np.concatenate([text(n), text(3, seed=4)]))
  np.testing.assert_allclose(answer(params, on), logits, atol=2e-5)


def test_the_memory_is_that_of_all_chunks_but_the_last():
  state = push_all("last", text(3 * T), [5])
  assert (int(state.chunks), int(state.filled)) == (2, T)
  _, memory = at_once("last", text(3 * T)[: 2 * T])
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5),
    state.memory,
    memory,
  )


def test_nothing_pushed_changes_nothing():
  params, _, stream, push, answer = parts_of("mean")
  state = stream.init()
  after = push(params, state, np.full(9, 5, np.int32), 0)
  jax.tree.map(np.testing.assert_array_equal, state, after)
  assert np.isfinite(answer(params, state)).all()


def test_a_thousand_streams_of_different_lengths_at_once():
  params, _, stream, _, answer = parts_of("last")
  rows, n = 1000, 3 * T
  tokens = np.stack([text(n, seed) for seed in range(rows)])
  lengths = np.random.default_rng(0).integers(1, n + 1, rows)
  state = jax.vmap(lambda _: stream.init())(jnp.arange(rows))
  state = jax.jit(jax.vmap(stream.push, (None, 0, 0, 0)))(
    params, state, tokens, lengths
  )
  logits = jax.jit(jax.vmap(stream.answer, (None, 0)))(params, state)
  for row in (0, 17, 999):
    alone = push_all("last", tokens[row, : lengths[row]], [])
    np.testing.assert_allclose(logits[row], answer(params, alone), atol=2e-5)


def test_a_state_does_not_grow():
  sizes = {
    sum(x.size for x in jax.tree.leaves(push_all("mean", text(n), [])))
    for n in (1, 100)
  }
  assert len(sizes) == 1


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"encoder": "full"}, "config.model.encoder='full' does not stream"),
    ({"head": "match", "num_classes": 2}, "'match' does not stream"),
    ({"head": "masked_lm"}, "'masked_lm' does not stream"),
  ],
)
def test_what_does_not_stream_says_so(fields, words):
  with pytest.raises(ValueError, match=words):
    make_stream(**FIELDS | fields)
