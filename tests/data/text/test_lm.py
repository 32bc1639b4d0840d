"""Windows of documents, and their next bytes."""

import collections

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.byte_text import decode, encode

# Of each split: two documents of 30 bytes, and one of 2.
PARTS = {
  "train": ("abcdefghij", "0123456789", "xy"),
  "validation": ("klmnopqrst", "KLMNOPQRST", "XY"),
  "test": ("ABCDEFGHIJ", "<=>?@[]^_`", "uv"),
}
TEXTS = {
  split: {"a.txt": a * 3, "b.txt": b * 3, "c.txt": c}
  for split, (a, b, c) in PARTS.items()
}


@pytest.fixture
def folder(tmp_path):
  for split in data.SPLITS:
    (tmp_path / split).mkdir()
    for name, text in TEXTS[split].items():
      (tmp_path / split / name).write_text(text)
  return tmp_path


def rows_of(dataset, split, length):
  source = (
    dataset.train(length, 0)
    if split == "train"
    else dataset.evaluation(split, length)
  )
  return [source[i] for i in range(min(len(source), 60))]


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
    (name,) = (n for n, whole in TEXTS[split].items() if text in whole)
    seen.add(name)
    asked = row["label"] >= 0
    # Every byte has a next one, but for the last one of the document.
    assert asked[: size - 1].all()
    np.testing.assert_array_equal(
      row["label"][: size - 1], row["inputs"][1:size]
    )
    if asked[size - 1]:
      after = text + chr(int(row["label"][size - 1]) - 1)
      assert after in TEXTS[split][name]
    else:
      assert TEXTS[split][name].endswith(text)
    if split == "train":
      assert size == min(length, len(TEXTS[split][name]))
  assert seen == set(TEXTS[split])


def test_windows_of_training_are_at_uniform_places(folder):
  source = data.load("lm", path=str(folder)).train(20, 0)
  rows = [source[i] for i in range(3000)]
  found = collections.Counter(decode(row["inputs"]) for row in rows)
  assert found == collections.Counter(decode(row["inputs"]) for row in rows)
  # Documents of 30, 30 and 2 bytes. A window of 20 whose last byte has a next
  # one has 10 places.
  short = found.pop("xy") / 3000
  assert short == pytest.approx(2 / 62, abs=0.015)
  places = {
    TEXTS["train"][name][n : n + 20] for name in ("a.txt", "b.txt")
    for n in range(10)
  }  # fmt: skip
  assert set(found) == places
  for count in found.values():
    assert count / 3000 == pytest.approx(30 / 62 / 10, abs=0.02)


@pytest.mark.parametrize("length", [4, 7, 64])
def test_every_byte_of_evaluation_is_predicted_once(folder, length):
  rows = data.load("lm", path=str(folder)).evaluation("test", length)
  predicted = []
  for i in range(len(rows)):
    row = rows[i]
    for position in np.flatnonzero(row["label"] >= 0):
      predicted.append(int(row["label"][position]))
  # All but the first byte of each document.
  wanted = encode("".join(t[1:] for t in TEXTS["test"].values()).encode())
  assert sorted(predicted) == sorted(wanted)


def test_evaluation_is_the_same_again(folder):
  first, again = (data.load("lm", path=str(folder), num_test=3) for _ in "12")
  rows = [d.evaluation("test", 4) for d in (first, again)]
  assert len(rows[0]) == 3
  for i in range(3):
    np.testing.assert_array_equal(rows[0][i]["inputs"], rows[1][i]["inputs"])
  assert first.fingerprint == again.fingerprint


def test_copies_of_a_document_are_left_out(folder, caplog):
  (folder / "test" / "again.txt").write_text(TEXTS["train"]["a.txt"])
  assert "9 documents" in data.load("lm", path=str(folder)).description
  assert "1 files" in caplog.text
  assert "copies of others" in caplog.text


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
  train = encode("".join(TEXTS["train"].values()).encode())
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


@pytest.mark.parametrize("rows", [1, 2, 3, 40])
@pytest.mark.parametrize("length", [4, 7, 29])
def test_the_rows_of_streams_read_documents_from_start_to_end(
  folder, rows, length
):
  source = data.load("lm", path=str(folder)).streams(length, 5, rows)
  whole = [text.encode() for text in TEXTS["train"].values()]
  heads = collections.Counter()
  for row in range(rows):
    before = None
    for step in range(40):
      example = source[step * rows + row]
      size = int(example["mask"].sum())
      text = decode(example["inputs"][:size]).encode()
      (document,) = (w for w in whole if text in w)
      if example["continues"]:
        assert document == before[0]
        # Windows are distinct there, as no byte of ten repeats within 10.
        assert before[1] + text in document * 2
      else:
        heads[document] += 1
      before = document, text
      np.testing.assert_array_equal(
        example["label"][: size - 1], example["inputs"][1:size]
      )
  assert set(heads) == set(whole)
  one, other = (
    [source[i]["inputs"].tolist() for i in range(40)] for _ in range(2)
  )
  assert one == other  # epochs are made anew


def test_streams_differ_by_seed_and_by_epoch(folder):
  dataset = data.load("lm", path=str(folder))
  windows = lambda seed, steps: [
    decode(dataset.streams(7, seed, 1)[i]["inputs"]) for i in steps
  ]
  assert windows(1, range(8)) != windows(2, range(8))
  epoch = 4 + 4 + 1  # windows
  epochs = {
    tuple(windows(1, range(e * epoch, (e + 1) * epoch))) for e in range(6)
  }
  assert len(epochs) > 2
