"""Self-supervised labels of a data set's own texts."""

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data import eval_batches, language_modelling, train_iterator


@pytest.fixture(scope="module")
def plain():
  return data.load("toy", length=64, num_eval=50, num_test=10)


def validation(dataset, length=64):
  return next(eval_batches(dataset, "validation", batch_size=50, length=length))


def test_masked_asks_for_what_is_hidden_and_for_nothing_else(plain):
  before = validation(plain)
  after = validation(
    language_modelling(plain, "masked_lm", mask_rate=0.25, seed=3)
  )
  asked = after["label"] >= 0
  np.testing.assert_array_equal(after["label"][asked], before["inputs"][asked])
  assert not after["inputs"][asked].any()
  np.testing.assert_array_equal(
    after["inputs"][~asked], before["inputs"][~asked]
  )
  np.testing.assert_array_equal(after["mask"], before["mask"])
  assert not (asked & ~after["mask"]).any()
  # 3,200 tokens: five standard deviations are 0.04.
  assert abs(asked[after["mask"]].mean() - 0.25) < 0.04


def test_next_asks_for_the_token_that_follows(plain):
  before = validation(plain)
  after = validation(
    language_modelling(plain, "causal_lm", mask_rate=0.1, seed=3)
  )
  np.testing.assert_array_equal(after["inputs"], before["inputs"])
  for tokens, valid, label in zip(
    before["inputs"], before["mask"], after["label"], strict=True
  ):
    length = valid.sum()
    np.testing.assert_array_equal(label[: length - 1], tokens[1:length])
    assert (label[length - 1 :] == -1).all()


def test_evaluation_is_the_same_each_time_and_differs_by_seed(plain):
  first, again, other = (
    validation(
      language_modelling(plain, "masked_lm", mask_rate=0.5, seed=seed)
    )["label"]
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_training_hides_other_tokens_of_a_text_in_every_epoch(tmp_path):
  rng = np.random.default_rng(0)
  path = tmp_path / "texts.npz"
  np.savez(path, inputs=rng.integers(1, 9, (20, 16)), labels=np.arange(20) % 2)
  own = data.load("file", path=str(path))
  hidden = language_modelling(own, "masked_lm", mask_rate=0.5, seed=0)
  size = own.num_examples["train"]
  batches = train_iterator(hidden, batch_size=size, seed=5, length=16)

  def epoch():
    batch = next(batches)
    whole = np.where(batch["label"] >= 0, batch["label"], batch["inputs"])
    order = np.lexsort(whole.T)
    return whole[order], batch["label"][order]

  (texts1, labels1), (texts2, labels2) = epoch(), epoch()
  np.testing.assert_array_equal(texts1, texts2)
  assert (labels1 != labels2).any()


def test_either_of_two_texts_is_taken_and_no_label_looked_at(tmp_path):
  ones, twos = np.full((40, 8), 1), np.full((40, 8), 2)
  ones[:, 7] = twos[:, 7] = np.arange(3, 43)  # Equal texts would be one group.
  path = tmp_path / "pairs.npz"
  np.savez(path, inputs=ones, inputs2=twos, labels=np.arange(40) % 2)
  own = data.load("file", path=str(path))
  batch = next(
    train_iterator(
      language_modelling(own, "causal_lm", mask_rate=0.1, seed=0),
      batch_size=32,
      seed=0,
      length=8,
    )
  )
  assert set(batch) == {"inputs", "mask", "label"}
  assert set(batch["inputs"][:, 0]) == {1, 2}


@pytest.mark.parametrize(
  ("objective", "rate", "message"),
  [
    (
      "maskd",
      0.1,
      "objective must be one of masked_lm, causal_lm; got 'maskd'",
    ),
    ("masked_lm", 0, "mask_rate must be above 0, at most 1; got 0"),
    ("masked_lm", 1.5, "mask_rate must be above 0, at most 1; got 1.5"),
  ],
)
def test_what_cannot_be(plain, objective, rate, message):
  with pytest.raises(data.DataError, match=message):
    language_modelling(plain, objective, mask_rate=rate, seed=0)
