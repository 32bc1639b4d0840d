"""Windows of documents, and their next bytes."""

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.byte_text import decode, encode

TEXTS = {"a.txt": "abcdefghij" * 3, "b.txt": "0123456789" * 3, "c.txt": "xy"}


@pytest.fixture
def folder(tmp_path):
  for split in data.SPLITS:
    (tmp_path / split).mkdir()
    for name, text in TEXTS.items():
      (tmp_path / split / name).write_text(f"{text}")
  return tmp_path


def rows_of(dataset, split, length):
  source = (
    dataset.train(length, 0)
    if split == "train"
    else dataset.evaluation(split, length)
  )
  return [source[i] for i in range(60)]


@pytest.mark.parametrize("split", data.SPLITS)
@pytest.mark.parametrize("length", [4, 29, 64])
def test_a_window_is_of_one_document_and_labels_are_its_next_bytes(
  folder, split, length
):
  dataset = data.load("lm", path=str(folder), num_eval=60, num_test=60)
  seen = set()
  for row in rows_of(dataset, split, length):
    size = int(row["mask"].sum())
    assert row["mask"][:size].all()
    text = decode(row["inputs"][:size])
    assert not row["inputs"][size:].any()
    (name,) = (n for n, whole in TEXTS.items() if text in whole)
    seen.add(name)
    asked = row["label"] >= 0
    # Every byte has a next one, but for the last one of the document.
    assert asked[: size - 1].all()
    np.testing.assert_array_equal(
      row["label"][: size - 1], row["inputs"][1:size]
    )
    if asked[size - 1]:
      after = text + chr(int(row["label"][size - 1]) - 1)
      assert after in TEXTS[name]
    else:
      assert TEXTS[name].endswith(text)
    assert size == min(length, len(TEXTS[name]))
  assert seen == set(TEXTS)


def test_places_are_uniform_over_bytes(folder):
  dataset = data.load("lm", path=str(folder))
  found = [decode(row["inputs"]) for row in rows_of(dataset, "train", 4) * 1]
  # A document of 30 bytes is drawn fifteen times as often as one of 2.
  assert sum("xy" in text for text in found) < 12
  assert len({text for text in found if text[0] in "abcdefghij"}) > 5


def test_evaluation_is_the_same_again_and_for_each_split_its_own(folder):
  first, again = (data.load("lm", path=str(folder)) for _ in range(2))
  other = data.load("lm", path=str(folder), seed=1)
  inputs = lambda d, s: np.stack([r["inputs"] for r in rows_of(d, s, 4)])
  for split in ("validation", "test"):
    np.testing.assert_array_equal(inputs(first, split), inputs(again, split))
    assert (inputs(first, split) != inputs(other, split)).any()
  assert (inputs(first, "validation") != inputs(first, "test")).any()
  assert first.fingerprint == again.fingerprint


def test_a_file_is_cut_by_position(tmp_path):
  text = "".join(chr(33 + i % 90) for i in range(1000))
  path = tmp_path / "mine.txt"
  path.write_text(text)
  dataset = data.load("lm", path=str(path), num_eval=60, num_test=60)
  parts = {"train": text[:700], "validation": text[700:800], "test": text[800:]}
  for split, part in parts.items():
    for row in rows_of(dataset, split, 12):
      assert decode(row["inputs"]) in part


def test_the_baseline_is_the_most_frequent_byte_of_training(folder):
  dataset = data.load("lm", path=str(folder), num_eval=60)
  rows = rows_of(dataset, "validation", 8)
  labels = np.concatenate([row["label"] for row in rows])
  labels = labels[labels >= 0]
  train = encode("".join(TEXTS.values()).encode())
  best = np.bincount(train).argmax()
  found = dataset.baselines("validation", 8)
  assert found == {"most_frequent_byte": pytest.approx((labels == best).mean())}


def test_the_default_is_the_standard_library():
  dataset = data.load("lm", num_eval=3)
  assert dataset.num_examples["train"] > 2**20
  assert data.load("lm", num_eval=3).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda p: p / "nothing", "neither a file nor a folder"),
    (lambda p: p, "text files, none of them for"),
    (lambda p: (p / "one").write_bytes(b"x") and p / "one", "2 bytes or more"),
  ],
)
def test_too_little_text_is_one_line(tmp_path, make, words, error_of):
  (tmp_path / "a").mkdir(exist_ok=True)
  place = make(tmp_path)
  assert words in error_of(data.load, "lm", path=str(place))


def test_binary_and_other_encodings(tmp_path, folder, caplog):
  (folder / "train" / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
  (folder / "train" / "image").write_bytes(b"\0\1\2")
  data.load("lm", path=str(folder))
  assert "1 files" in caplog.text
  assert "binary" in caplog.text
  assert "not UTF-8" in caplog.text
