"""How the page writes the tokens and labels of each data set."""

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.inspect.names import names_of


@pytest.mark.parametrize(
  ("name", "options", "ids", "text"),
  [
    ("recall", {}, (0, 1, 2, 3, 10, 11, 18, 19), "pad MARK ASK k0 k7 v0 v7 n"),
    ("rebind", {}, (0, 1, 2, 3, 10, 11, 18, 34), "pad MARK ASK k0 k7 v0 v7 n"),
    ("revoke", {}, (1, 2, 3, 4, 12, 20), "MARK ASK REVOKE k0 v0 n"),
    ("pressure", {}, (1, 2, 5, 6, 14, 22), "ASK P0 P3 k0 v0 n"),
    ("delayed_qa", {}, (1, 2, 3, 12, 13), "MARK ASK v0 v9 n"),
    # Of an odd vocabulary of pairs, the last id is never used.
    (
      "mqar",
      {"num_pairs": 4, "pair_vocab": 21},
      (0, 1, 9, 10, 19, 20, 36),
      "pad k0 k8 v0 v9 n n",
    ),
    ("forgetting_mqar", {}, (1, 4095, 4096, 8191, 8192), "k0 k4094 v0 v4095 n"),
    ("toy", {}, (0, 1, 36), "0 1 36"),
    # Grey values are bytes, but no text.
    ("pathfinder", {}, (1, 256), "1 256"),
  ],
)
def test_tokens_have_the_names_of_their_data_set(name, options, ids, text):
  dataset = data.load(name, **options)
  assert names_of(dataset).text(np.array(ids, np.int32)) == text
  if dataset.token_names:
    assert len(dataset.token_names) == dataset.vocab_size
    assert len(dataset.label_names) == dataset.num_classes


@pytest.mark.parametrize(
  ("name", "label", "text"),
  [
    ("recall", 7, "v7"),
    ("revoke", 7, "v7"),
    ("revoke", 8, "none"),
    ("mqar", 4095, "v4095"),
    ("toy", 3, "3"),
    # A model of more classes than the data set has.
    ("recall", 8, "8"),
  ],
)
def test_labels_have_the_names_of_their_data_set(name, label, text):
  assert names_of(data.load(name)).label(label) == text


def test_bytes_are_written_as_text(tmp_path):
  names = names_of(data.load("pytext", length=64))
  assert names.text(np.array([104, 106, 0, 0])) == "gi"
  assert [names.label(i) for i in (0, 1)] == ["different files", "same file"]
  path = tmp_path / "{split}.tsv"
  for split in data.SPLITS:
    path.with_name(f"{split}.tsv").write_text("b\tA\na\tB\n")
  names = names_of(data.load("file", path=str(path)))
  assert (names.text(np.array([66, 67])), names.label(0)) == ("AB", "a")


def test_arrays_of_the_user_are_written_as_numbers(tmp_path):
  path = tmp_path / "mine.npz"
  np.savez(path, inputs=np.full((4, 3), 66), labels=np.arange(4))
  names = names_of(data.load("file", path=str(path)))
  assert names.text(np.array([66, 67])) == "66 67"
  assert names.label(2) == "2"
