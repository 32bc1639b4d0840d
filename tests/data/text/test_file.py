import numpy as np
import pytest
from absl import logging

from nema_lc_jax import data
from nema_lc_jax.data.text import file


def save(path, **arrays):
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(path, **arrays)
  return str(path)


def load(path, **options):
  return data.load("file", path=str(path), **options)


def rows_of(dataset, split, length):
  source = dataset.evaluation(split, length)
  return [source[i] for i in range(len(source))]


def test_one_npz_is_split_by_the_seed(tmp_path):
  inputs = np.arange(1, 41).reshape(20, 2)
  path = save(tmp_path / "a.npz", inputs=inputs, labels=np.arange(20) % 3)
  dataset = load(path, seed=1)
  assert dataset.num_examples == {
    "train": 16,
    "validation": 2,
    "test": 2,
    "all": 20,
  }
  assert (dataset.head, dataset.vocab_size, dataset.num_classes) == (
    "classify",
    41,
    3,
  )
  seen = []
  for split in ("train", "validation", "test"):
    for row in rows_of(dataset, split, 2):
      index = (row["inputs"][0] - 1) // 2
      assert row["label"] == index % 3
      assert row["inputs"].tolist() == inputs[index].tolist()
      seen.append(int(index))
  assert sorted(seen) == list(range(20))
  again, other = load(path, seed=1), load(path, seed=2)
  assert again.fingerprint == dataset.fingerprint == other.fingerprint
  first, same, changed = (
    [r["inputs"][0] for r in rows_of(d, "train", 2)]
    for d in (dataset, again, other)
  )
  assert first == same != changed


@pytest.mark.parametrize("form", ["folder", "{split}.npz"])
def test_three_files_are_the_splits(tmp_path, form):
  for i, split in enumerate(("train", "validation", "test")):
    save(tmp_path / f"{split}.npz", inputs=[[5 + i, 0]], labels=[7 * i])
  dataset = load(tmp_path if form == "folder" else tmp_path / form)
  assert dataset.vocab_size == 8  # over all splits
  assert dataset.num_classes == 3
  assert dataset.label_names == ("0", "7", "14")
  for i, split in enumerate(("train", "validation", "test")):
    (row,) = rows_of(dataset, split, 3)
    assert row["inputs"].tolist() == [5 + i, 0, 0]
    assert row["mask"].tolist() == [True, False, False]
    assert row["label"] == i


def test_a_mask_makes_token_zero_a_token(tmp_path):
  mask = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]], bool)
  inputs = np.array([[0, 4, 9], [0, 9, 9], [1, 2, 3]])
  path = save(tmp_path / "a.npz", inputs=inputs, labels=[0, 1, 1], mask=mask)
  dataset = load(path)
  assert dataset.vocab_size == 5  # what is masked out does not count
  for split in ("train", "validation", "test"):
    for row in rows_of(dataset, split, 4):
      (index,) = np.flatnonzero((mask == row["mask"][:3]).all(1))
      expected = np.where(mask[index], inputs[index], 0)
      assert row["inputs"].tolist() == [*expected, 0]


def test_labels_per_token_predict_and_padding_is_not_asked(tmp_path):
  for split in ("train", "validation", "test"):
    save(
      tmp_path / f"{split}.npz",
      inputs=[[3, 4, 0], [5, 6, 7]],
      labels=[[-1, 2, 2], [1, -5, 2]],
    )
  dataset = load(tmp_path)
  assert (dataset.head, dataset.num_classes) == ("causal_lm", 3)
  first, second = rows_of(dataset, "test", 4)
  assert first["label"].tolist() == [-1, 2, -1, -1]
  assert second["label"].tolist() == [1, -1, 2, -1]
  assert second["label"].dtype == np.int32
  # Training has 2 most often, right in 2 of the 3 that are asked of the test:
  # the label on padding does not count.
  assert dataset.baselines("test", 4) == {"majority": pytest.approx(2 / 3)}
  # Of length 2, one label is 2 and one is 1.
  assert dataset.baselines("test", 2) == {"majority": pytest.approx(1 / 2)}


def test_two_texts_match(tmp_path):
  path = save(
    tmp_path / "a.npz",
    inputs=[[1], [2], [3]],
    inputs2=[[4, 4, 0], [5, 0, 0], [6, 6, 6]],
    labels=[0, 1, 0],
  )
  dataset = load(path)
  assert (dataset.head, dataset.num_classes) == ("match", 2)
  (row,) = rows_of(dataset, "test", 3)
  assert row["mask"].sum() == 1
  second = row["inputs2"][row["mask2"]]
  assert second.tolist() == [row["inputs"][0] + 3] * len(second)
  batch = next(iter(data.eval_batches(dataset, "test", batch_size=2, length=3)))
  assert batch["weight"].tolist() == [1, 0]


def test_tsv_bytes_are_tokens_and_labels_are_sorted(tmp_path):
  text = {"train": "no\tab\r\nyes\tb\n", "validation": "maybe\té\n"}
  text["test"] = "yes\tabc"
  for split, lines in text.items():
    (tmp_path / f"{split}.tsv").write_bytes(lines.encode())
  dataset = load(tmp_path)
  assert (dataset.head, dataset.vocab_size, dataset.num_classes) == (
    "classify",
    257,
    3,
  )
  no, yes = rows_of(dataset, "train", 4)
  assert no["inputs"].tolist() == [98, 99, 0, 0]  # without the \r
  (maybe,) = rows_of(dataset, "validation", 4)
  assert maybe["inputs"].tolist() == [0xC3 + 1, 0xA9 + 1, 0, 0]
  (test,) = rows_of(dataset, "test", 2)
  assert test["inputs"].tolist() == [98, 99]
  labels = [int(row["label"]) for row in (maybe, no, yes, test)]
  assert labels == [0, 1, 2, 2]
  assert dataset.baselines("test", 4) == {"majority": 0.0}


def test_tsv_of_two_texts(tmp_path):
  (tmp_path / "a.tsv").write_text("1\tab\tcd\n0\te\tf\n1\tg\th\n")
  dataset = load(tmp_path / "a.tsv")
  assert dataset.head == "match"
  (row,) = rows_of(dataset, "validation", 5)
  assert row["mask"].sum() == row["mask2"].sum()
  iterator = data.train_iterator(dataset, batch_size=1, seed=0, length=5)
  assert next(iterator)["inputs2"].shape == (1, 5)


def test_cutting_is_said_once(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *args: said.append(text % args)
  )
  path = save(
    tmp_path / "a.npz", inputs=np.arange(1, 55).reshape(9, 6), labels=[1] * 9
  )
  dataset = load(path)
  rows_of(dataset, "test", 6)
  assert not said
  assert len(rows_of(dataset, "test", 4)[0]["inputs"]) == 4
  rows_of(dataset, "train", 4)
  assert said == [f"{path} has rows of 6 tokens; they are cut to length 4"]


ONES = np.ones((4, 3), int)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"labels": None}, "no array 'labels'; found: inputs"),
    ({"inputs": None}, "no array 'inputs'; found: labels"),
    ({"input2": ONES}, "unknown key 'input2'; known: inputs, labels, inputs2"),
    ({"inputs": ONES * 1.0}, "inputs must be integers, got float64"),
    ({"labels": np.ones(4)}, "labels must be integers, got float64"),
    ({"inputs": np.ones(4, int)}, "inputs must be [n, L], got shape (4,)"),
    ({"inputs": ONES[:0]}, "inputs is empty, its shape is (0, 3)"),
    ({"inputs": -ONES}, "inputs must be in 0..1073741823, row 0 has -1"),
    ({"inputs": ONES * 2**31}, "in 0..1073741823, row 0 has 2147483648"),
    ({"labels": np.ones(3, int)}, "labels must be [n] or [n, L] with inputs"),
    ({"labels": np.ones((4, 2), int)}, "with inputs (4, 3), got shape (4, 2)"),
    ({"labels": np.array([0, -1, 1, 1])}, "not be negative, row 1 has -1"),
    ({"labels": -ONES}, "at least 0 where something is asked, and the large"),
    (
      {"labels": ONES * 2**31},
      "must be at most 2147483646, row 0 has 21474836",
    ),
    ({"inputs2": ONES[:3]}, "inputs has 4 rows, inputs2 has 3"),
    ({"inputs2": ONES, "labels": ONES}, "labels must be [n] when there is inp"),
    ({"mask": ONES[:, :2] > 0}, "mask must be booleans of the shape of inputs"),
    ({"mask": ONES * 0.5}, "(4, 3), got float64 (4, 3)"),
    ({"mask2": ONES}, "mask2 without inputs2"),
    ({"inputs": ONES * [[1], [1], [0], [1]]}, "row 2 of inputs is nothing but"),
    ({"labels": np.array(["a"] * 4)}, "labels must be integers, got <U1"),
    ({"labels": np.array([None] * 4)}, "not an npz file of arrays: Object"),
  ],
)
def test_a_wrong_npz_says_what_is_wrong(tmp_path, changes, message, error_of):
  path = tmp_path / "a.npz"
  arrays = {"inputs": ONES, "labels": np.ones(4, int)} | changes
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  found = error_of(load, path)
  assert found.startswith(f"{path}: ")
  assert message in found


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "a.tsv: the file is empty"),
    ("a\n", "a.tsv:1: expected columns between tabs: label, text or label, te"),
    ("a\tb\tc\td\n", "a.tsv:1: expected columns between tabs: label, text or"),
    ("a\tb\na\tb\tc\n", "a.tsv:2: expected columns between tabs: label, text;"),
    (
      "a\tb\tc\n\n",
      "a.tsv:2: expected columns between tabs: label, text1, tex",
    ),
    ("a\tb\na\t\n", "a.tsv:2: a text is empty"),
    ("text\tlabel\na\tb\tc\n", "a.tsv:2: expected columns between tabs: labe"),
    (
      "text\tid\tlabel\na\tb\tc\n",
      "a.tsv:1: the header must name the columns label, text; or label, text1,"
      " text2; or document, question, answer, and no others; got text, id, lab",
    ),
    ("a\tb\n\udcff\tb\n", "a.tsv:2: the label is not UTF-8"),
    ("a\tb\n \tb\n", "a.tsv:2: the label is empty"),
  ],
)
def test_a_wrong_tsv_says_which_line(tmp_path, text, message, error_of):
  path = tmp_path / "a.tsv"
  path.write_bytes(text.encode(errors="surrogateescape"))
  found = error_of(load, path)
  assert found.startswith(f"{path}:")
  assert message in found


def test_blanks_and_marks_around_a_label_make_no_class(tmp_path):
  path = tmp_path / "a.tsv"
  rows = ["\ufeffyes\ta", "yes \tb", "no\tc", "no\td"]
  path.write_text("\n".join(rows) + "\n")
  assert load(path).label_names == ("no", "yes")


def test_wrong_paths_say_what_was_expected(tmp_path, error_of):
  expected = "path is needed: a .npz, .tsv or .jsonl file, a path with {split}"
  assert expected in error_of(data.load, "file")
  assert "a.npz: no such file" in error_of(load, tmp_path / "a.npz")
  assert "a.csv: expected a name that ends in .npz, .tsv or .jsonl" in error_of(
    load, tmp_path / "a.csv"
  )
  assert "train.tsv: no such file" in error_of(load, tmp_path)
  save(tmp_path / "train.npz", inputs=ONES, labels=[0] * 4)
  (tmp_path / "train.jsonl").touch()
  message = error_of(load, tmp_path)
  assert "has train files of several kinds: .npz, .jsonl; choose" in message
  (tmp_path / "train.jsonl").unlink()
  assert "validation.npz: no such file" in error_of(
    load, tmp_path / "{split}.npz"
  )
  save(tmp_path / "validation.npz", inputs=ONES, labels=ONES)
  save(tmp_path / "test.npz", inputs=ONES, labels=[0] * 4)
  assert "the splits are of different kinds (train: classify, validation: " in (
    error_of(load, tmp_path)
  )
  (tmp_path / "junk.npz").write_bytes(b"junk")
  assert "junk.npz: not an npz file of arrays" in error_of(
    load, tmp_path / "junk.npz"
  )
  (tmp_path / "void.npz").write_bytes(b"")
  assert "void.npz: not an npz file of arrays" in error_of(
    load, tmp_path / "void.npz"
  )


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
  read = []

  def count(path, read_npz=file.READERS[".npz"]):
    read.append(path)
    return read_npz(path)

  monkeypatch.setitem(file.READERS, ".npz", count)
  path = save(tmp_path / "a.npz", inputs=np.eye(9, dtype=int), labels=[0] * 9)
  assert data.measure(path).rows == 7
  assert load(path).num_examples["all"] == 9
  assert len(read) == 1
  save(tmp_path / "a.npz", inputs=np.eye(8, dtype=int), labels=[0] * 8)
  assert load(path).num_examples["all"] == 8
  assert len(read) == 2


def test_what_cannot_be_split_is_not_measured(tmp_path):
  path = save(tmp_path / "a.npz", inputs=[[1], [2]], labels=[0, 1])
  with pytest.raises(data.DataError, match="can't be split in three"):
    data.measure(path)
