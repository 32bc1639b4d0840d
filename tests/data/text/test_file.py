import json

import numpy as np
import pytest
from absl import logging

from nema_lc_jax import data


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
  assert dataset.num_examples == {"train": 16, "validation": 2, "test": 2}
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
  assert dataset.num_classes == 15  # gaps between labels are fine
  for i, split in enumerate(("train", "validation", "test")):
    (row,) = rows_of(dataset, split, 3)
    assert row["inputs"].tolist() == [5 + i, 0, 0]
    assert row["mask"].tolist() == [True, False, False]
    assert row["label"] == 7 * i


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
  assert second["label"].tolist() == [1, -5, 2, -1]
  assert second["label"].dtype == np.int32
  # Training has 2 most often: right in 4 of the 6 labels that are asked.
  assert dataset.baselines("test", 4) == {"majority": pytest.approx(3 / 4)}


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
  path = save(tmp_path / "a.npz", inputs=np.ones((9, 6), int), labels=[1] * 9)
  dataset = load(path)
  rows_of(dataset, "test", 6)
  assert not said
  assert rows_of(dataset, "test", 4)[0]["inputs"].tolist() == [1] * 4
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
    ({"inputs": -ONES}, "inputs must be in 0..2147483646, got values from -1"),
    ({"inputs": ONES * 2**31}, "inputs must be in 0..2147483646"),
    ({"labels": np.ones(3, int)}, "labels must be [n] or [n, L] with inputs"),
    ({"labels": np.ones((4, 2), int)}, "with inputs (4, 3), got shape (4, 2)"),
    ({"labels": np.array([0, -1, 1, 1])}, "not be negative, row 1 has -1"),
    ({"labels": -ONES}, "labels need a largest value in 0..2147483646"),
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
    ("a\tb\n\udcff\tb\n", "a.tsv:2: the label is not UTF-8"),
    ("a\tb\n \tb\n", "a.tsv:2: the label is empty"),
    ("a\tb\na\tb\n", "a.tsv: 2 rows can't be split in three"),
  ],
)
def test_a_wrong_tsv_says_which_line(tmp_path, text, message, error_of):
  path = tmp_path / "a.tsv"
  path.write_bytes(text.encode(errors="surrogateescape"))
  found = error_of(load, path)
  assert found.startswith(f"{path}:")
  assert message in found


# Questions about documents.

ROWS = [
  ("The cat sat.", "Who sat?", "cat"),
  ("The cat sat.", "What did it do?", "sit"),
  ("A dog ran away.", "Who ran?", "dog"),
  ("Fog.", "What?", "fog"),
]
HEADER = "document\tquestion\tanswer\n"


def write_questions(path, rows=ROWS, end="\n"):
  if path.suffix == ".jsonl":
    names = HEADER.split()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    lines = [json.dumps({"id": 1} | row) + end for row in found]
  else:
    lines = [HEADER, *("\t".join(row) + end for row in rows)]
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(lines), newline="")
  return path


def read_back(example):
  """The text of an example, with a dot for padding."""
  ids = example["inputs"]
  assert ((ids > 0) == example["mask"]).all()
  return bytes((np.where(ids > 0, ids, ord(".") + 1) - 1).tolist()).decode()


@pytest.mark.parametrize("suffix", [".jsonl", ".tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_question_is_at_the_very_end_and_the_document_at_the_beginning(
  tmp_path, suffix, end, monkeypatch
):
  said = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *args: said.append(text % args)
  )
  for split in ("train", "validation", "test"):
    write_questions(tmp_path / f"{split}{suffix}", end=end)
  dataset = load(tmp_path)
  assert (dataset.head, dataset.vocab_size) == ("classify", 257)
  assert dataset.label_names == ("cat", "dog", "fog", "sit")
  rows = rows_of(dataset, "test", 28)
  assert [read_back(row) for row in rows] == [
    "The cat sat........\nWho sat?",
    "The cat sat.\nWhat did it do?",
    "A dog ran away.....\nWho ran?",
    "Fog...................\nWhat?",
  ]
  assert [dataset.label_names[row["label"]] for row in rows] == [
    answer for _, _, answer in ROWS
  ]
  assert not said
  # What is cut is the end of the document, and never the question.
  assert [read_back(row) for row in rows_of(dataset, "test", 18)] == [
    "The cat s\nWho sat?",
    "Th\nWhat did it do?",
    "A dog ran\nWho ran?",
    "Fog.........\nWhat?",
  ]
  assert said == [
    f"{tmp_path} has rows of 28 tokens; they are cut to length 18"
  ]


def test_questions_longer_than_the_length_are_an_error(tmp_path, error_of):
  dataset = load(write_questions(tmp_path / "a.jsonl"))
  rows_of(dataset, "train", 17)
  assert error_of(dataset.evaluation, "train", 16).endswith(
    "a.jsonl: a question has 16 bytes with its line feed, and is not cut;"
    " length must be at least 17, got 16"
  )


def test_questions_about_one_document_stay_together(tmp_path):
  rows = [(f"text {i % 20}", f"q{i}", f"a{i}") for i in range(100)]
  dataset = load(write_questions(tmp_path / "a.jsonl", rows), seed=3)
  assert dataset.num_examples == {"train": 80, "validation": 10, "test": 10}
  seen = {
    split: {read_back(row)[:7] for row in rows_of(dataset, split, 20)}
    for split in ("train", "validation", "test")
  }
  assert [len(texts) for texts in seen.values()] == [16, 2, 2]
  assert len(set().union(*seen.values())) == 20


def test_an_answer_that_training_has_not_is_said_and_never_right(
  tmp_path, monkeypatch
):
  said = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *args: said.append(text % args)
  )
  write_questions(tmp_path / "train.jsonl", ROWS[:2])
  write_questions(tmp_path / "validation.jsonl", ROWS[:2])
  write_questions(tmp_path / "test.jsonl", ROWS[1:])
  dataset = load(tmp_path)
  assert said == [
    f"{tmp_path}: 2 of 3 labels of test are none of training's, such as 'dog';"
    " an answer to them can only be wrong"
  ]
  taught = {int(row["label"]) for row in rows_of(dataset, "train", 30)}
  asked = [int(row["label"]) for row in rows_of(dataset, "test", 30)]
  assert [label in taught for label in asked] == [True, False, False]
  assert max(asked) < dataset.num_classes


QUESTION = '{"document": "a", "question": "b", "answer": "c"}\n'


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    ("a.jsonl", "", "a.jsonl: the file is empty"),
    ("a.jsonl", QUESTION + "{\n", 'a.jsonl:2: expected a JSON object {"docume'),
    ("a.jsonl", QUESTION + "\n" + QUESTION, "a.jsonl:2: expected a JSON obje"),
    ("a.jsonl", QUESTION.replace("answer", "x"), "a.jsonl:1: expected a JSON"),
    ("a.jsonl", QUESTION.replace('"c"', "3"), "of strings; got '{\"document"),
    ("a.jsonl", "[1]\n", "a.jsonl:1: expected a JSON object"),
    ("a.jsonl", '"document"\n', "a.jsonl:1: expected a JSON object"),
    ("a.jsonl", "[" * 20_000, "a.jsonl:1: expected a JSON object"),
    ("a.jsonl", QUESTION.replace("b", "\udcff"), "a.jsonl:1: expected a JSON"),
    ("a.jsonl", QUESTION.replace('"b"', '" "'), "a.jsonl:1: the question is e"),
    ("a.jsonl", QUESTION * 3, "a.jsonl: 1 documents can't be split in three"),
    ("a.tsv", HEADER, "a.tsv: there is no row after the header"),
    ("a.tsv", HEADER + "a\tb\n", "a.tsv:2: expected columns between tabs: doc"),
    ("a.tsv", HEADER + "a\tb\tc\na\tb\t\n", "a.tsv:3: the answer is empty"),
    ("a.tsv", HEADER + "a\tb\t\udcff\n", "a.tsv:2: the label is not UTF-8"),
  ],
)
def test_a_wrong_question_says_which_line(
  tmp_path, name, text, message, error_of
):
  path = tmp_path / name
  path.write_bytes(text.encode(errors="surrogateescape"))
  assert message in error_of(load, path)


@pytest.mark.parametrize(
  "header",
  ["\ufeffDocument\tQuestion \tAnswer", "answer\tdocument\tquestion"],
)
def test_the_header_may_be_written_in_other_ways(tmp_path, header):
  expected = load(write_questions(tmp_path / "a.tsv"))
  names = [name.strip("\ufeff ").lower() for name in header.split("\t")]
  order = [HEADER.split().index(name) for name in names]
  rows = ["\t".join(row[i] for i in order) for row in ROWS]
  path = tmp_path / "b.tsv"
  path.write_text("\n".join([header, *rows]) + "\n")
  found = load(path)
  assert found.label_names == expected.label_names
  for a, b in zip(
    rows_of(found, "train", 40), rows_of(expected, "train", 40), strict=True
  ):
    np.testing.assert_array_equal(a["inputs"], b["inputs"])


def test_blanks_and_marks_around_a_label_make_no_class(tmp_path):
  path = tmp_path / "a.tsv"
  rows = ["\ufeffyes\ta", "yes \tb", "no\tc", "no\td"]
  path.write_text("\n".join(rows) + "\n")
  assert load(path).label_names == ("no", "yes")


def test_questions_are_not_mixed_with_other_texts(tmp_path, error_of):
  for split in ("train", "validation"):
    write_questions(tmp_path / f"{split}.tsv")
  (tmp_path / "test.tsv").write_text("cat\ttext\n")
  assert (
    "train: classify questions, validation: classify questions, test: c"
    in (error_of(load, tmp_path))
  )


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
