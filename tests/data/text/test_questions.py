"""Questions about documents, from files of one's own."""

import json

import numpy as np
import pytest
from absl import logging

from tests.data.text.test_file import load, rows_of

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
  # Other documents, so that splits share none.
  for split in ("train", "validation"):
    rows = [(f"{split}.", question, answer) for _, question, answer in ROWS]
    write_questions(tmp_path / f"{split}{suffix}", rows, end=end)
  write_questions(tmp_path / f"test{suffix}", end=end)
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
    "a.jsonl: the question 'What did it do?' has 16 bytes with its line feed,"
    " and is not cut; length must be at least 17, got 16"
  )


def test_questions_about_one_document_stay_together(tmp_path):
  rows = [(f"text {i % 20}", f"q{i}", f"a{i}") for i in range(100)]
  dataset = load(write_questions(tmp_path / "a.jsonl", rows), seed=3)
  assert dataset.num_examples == {
    "train": 80,
    "validation": 10,
    "test": 10,
    "all": 100,
  }
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
  rows_of(dataset, "train", 30)
  assert said[:1] == [
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
    ("a.tsv", HEADER, "a.tsv: there is no row after the header"),
    (
      "a.tsv",
      "document\tquestion\tanswer\tid\na\tb\tc\t1\n",
      "and no others; got document, question, answer, id",
    ),
    (
      "a.tsv",
      "document\tquestion\na\tb\n",
      "a.tsv:1: the header must name the",
    ),
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


def test_questions_are_not_mixed_with_other_texts(tmp_path, error_of):
  for split in ("train", "validation"):
    write_questions(tmp_path / f"{split}.tsv")
  (tmp_path / "test.tsv").write_text("cat\ttext\n")
  assert (
    "train: classify questions, validation: classify questions, test: c"
    in (error_of(load, tmp_path))
  )
