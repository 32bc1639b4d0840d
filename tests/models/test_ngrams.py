"""Hashed n-grams: which rows they have, and what a model makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import ModelConfig
from nema_lc_jax.models.encoder import Embedding
from nema_lc_jax.models.ngrams import MIX, ngram_rows
from tests.models.tiny import (
  FIELDS,
  KEYS,
  D,
  T,
  V,
  applier,
  make_batch,
  params_of,
)

ROWS = 64
GRAMS = {"ngram_sizes": (2, 3), "ngram_rows": ROWS}


def row_of(ngram, rows):
  """The hash of one n-gram, the newest token first, in Python's integers."""
  code = len(ngram)
  for token in ngram:
    code = (code ^ token) * MIX[0] % 2**32
    code ^= code >> 15
  for multiplier in MIX[1:]:
    code = code * multiplier % 2**32
    code ^= code >> 13
  return code % rows


@pytest.mark.parametrize("size", [2, 3, 5])
def test_rows_are_those_of_the_ngrams_that_end_at_each_token(size):
  rng = np.random.default_rng(size)
  tokens = rng.integers(0, 300, (2, 7))
  found = np.asarray(ngram_rows(jnp.asarray(tokens), size, 1000))
  for n, chunk in enumerate(tokens):
    for t in range(7):
      ngram = [chunk[t - ago] if ago <= t else 0 for ago in range(size)]
      assert found[n, t] == row_of([int(token) for token in ngram], 1000)


@pytest.mark.parametrize("rows", [1, 3, 2**14])
def test_rows_spread_over_the_table(rows):
  words = np.random.default_rng(0).integers(97, 123, (5000, 4))
  found = np.asarray(ngram_rows(jnp.asarray(words), 4, rows))[:, -1]
  counts = np.bincount(found, minlength=rows)
  assert len(counts) == rows
  # As many as if drawn at random, within five deviations.
  expected = rows * (1 - (1 - 1 / rows) ** len(np.unique(words, axis=0)))
  assert (counts > 0).sum() == pytest.approx(expected, abs=5 * rows**0.5)


def test_order_and_size_make_a_difference():
  rows = lambda *tokens: int(
    ngram_rows(jnp.array(tokens), len(tokens), 2**20)[-1]
  )
  assert len({rows(1, 2), rows(2, 1), rows(0, 1, 2), rows(1, 2, 0)}) == 4


def test_embeddings_of_ngrams_are_added_to_those_of_tokens():
  module = Embedding(ModelConfig(**(FIELDS | GRAMS)))
  tokens = jax.random.randint(jax.random.key(0), (2, T), 0, V)
  params = module.init(jax.random.key(1), tokens)["params"]
  table = params["ngrams"]["table"]
  assert table.shape == (2, ROWS, D)
  grams = params.pop("ngrams")
  plain = Embedding(ModelConfig(**FIELDS)).apply({"params": params}, tokens)
  found = module.apply({"params": params | {"ngrams": grams}}, tokens)
  added = sum(
    table[i, ngram_rows(tokens, size, ROWS)] for i, size in enumerate((2, 3))
  )
  np.testing.assert_allclose(found, plain + added, rtol=1e-6)


def test_without_sizes_there_is_no_table():
  assert "ngrams" not in params_of()["encoder"]["embedding"]


@pytest.mark.parametrize("encoder", ["memory", "full", "recurrent"])
def test_every_encoder_reads_them_within_chunks(encoder):
  fields = GRAMS | {"encoder": encoder, "head": "causal_lm"}
  batch, params = make_batch(), params_of(**fields)
  without = jax.tree.map(
    jnp.zeros_like, params["encoder"]["embedding"]["ngrams"]
  )
  embedding = params["encoder"]["embedding"] | {"ngrams": without}
  silent = params | {"encoder": params["encoder"] | {"embedding": embedding}}
  apply = applier(**fields)
  a, b = (apply(p, KEYS, batch).logits for p in (params, silent))
  assert not np.allclose(a, b, atol=1e-3)


def test_training_moves_the_rows_that_occur_and_no_others():
  batch, params = make_batch(), params_of(**GRAMS)

  def loss(params):
    return (applier(**GRAMS)(params, KEYS, batch).logits ** 2).sum()

  grad = jax.grad(loss)(params)["encoder"]["embedding"]["ngrams"]["table"]
  chunks = batch["inputs"].reshape(-1, T)
  for i, size in enumerate(GRAMS["ngram_sizes"]):
    seen = np.unique(ngram_rows(chunks, size, ROWS))
    moved = np.flatnonzero(np.abs(grad[i]).max(1))
    assert set(moved) <= set(seen)
    assert len(moved) > 3


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"ngram_sizes": (1,)}, "config.model.ngram_sizes must be"),
    ({"ngram_sizes": (3, 101)}, "at most 100, got 101"),
    ({"ngram_sizes": 3}, r"must be a tuple such as \(3, 4\), got 3"),
    ({"ngram_rows": 0}, "config.model.ngram_rows must be"),
  ],
)
def test_sizes_out_of_range_are_refused(fields, words):
  with pytest.raises(ValueError, match=words):
    ModelConfig(**(FIELDS | fields))
