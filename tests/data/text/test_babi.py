import os
import re

import numpy as np
import pytest
from absl import logging

from nema_lc_jax import data

# The unpacked release; tests of the real data are skipped without it.
REAL = os.environ.get("NEMA_LC_JAX_DATA")

STORIES = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary?\tbathroom\t1
4 Mary got the milk there.
5 Where is the milk?\tBathroom\t4 1
1 John took the apple.
2 What is John carrying?\tapple,football\t1
"""


def write(folder, number=1, train=STORIES, test=STORIES):
  folder.mkdir(parents=True, exist_ok=True)
  for kind, text in (("train", train), ("test", test)):
    if text is not None:
      path = folder / f"qa{number}_some-task_{kind}.txt"
      path.write_bytes(text.encode(errors="surrogateescape"))
  return folder


def load(folder, **options):
  options = {"length": 24, "sentence_length": 6} | options
  return data.load("babi", dir=str(folder), **options)


def shown(dataset, split, length=24):
  """Each example as sentences, support, answer and task."""
  source = dataset.evaluation(split, length)
  found = []
  for i in range(len(source)):
    x = source[i]
    chunks = x["inputs"].reshape(-1, 6)
    texts = [" ".join(dataset.token_names[t] for t in c if t) for c in chunks]
    support = np.flatnonzero(x["ground_truth"].reshape(-1, 6).max(1)).tolist()
    label = dataset.label_names[x["label"]]
    found.append((texts, support, label, int(x["task"])))
  return sorted(found)


@pytest.fixture
def said(monkeypatch):
  lines = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *args: lines.append(text % args)
  )
  return lines


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_question_comes_after_its_story_without_earlier_questions(
  tmp_path, end, said
):
  text = STORIES.replace("\n", end)
  dataset = load(write(tmp_path, test=text), task=1)
  mary, john = "mary moved to the bathroom", "john went to the hallway"
  milk, apple = "mary got the milk there", "john took the apple"
  assert shown(dataset, "test") == [
    ([apple, "what is john carrying", "", ""], [0], "apple,football", 1),
    ([mary, john, milk, "where is the milk"], [0, 2], "bathroom", 1),
    ([mary, john, "where is mary", ""], [0], "bathroom", 1),
  ]
  assert said == []
  assert dataset.label_names == ("apple,football", "bathroom")
  words = dataset.token_names
  assert words[0] == ""
  assert list(words) == sorted(set(words))
  assert (dataset.vocab_size, dataset.num_classes) == (len(words), 2)
  assert (dataset.head, dataset.num_examples["test"]) == ("classify", 3)


def test_tokens_are_padded_inside_chunks_and_at_the_end(tmp_path):
  dataset = load(write(tmp_path))
  source = dataset.evaluation("test", 36)
  for i in range(3):
    x = source[i]
    assert {k: (v.dtype, v.shape) for k, v in x.items()} == {
      "inputs": (np.int32, (36,)),
      "mask": (bool, (36,)),
      "label": (np.int32, ()),
      "ground_truth": (np.int8, (36,)),
      "task": (np.int32, ()),
    }
    assert ((x["inputs"] > 0) == x["mask"]).all()
    assert set(x["ground_truth"][x["mask"]].tolist()) == {0, 2}
    assert not x["ground_truth"][~x["mask"]].any()
    chunks = x["mask"].reshape(-1, 6)
    sizes = chunks.sum(1)
    assert (chunks == (np.arange(6) < sizes[:, None])).all()
    last = np.flatnonzero(sizes)[-1]
    assert (sizes[: last + 1] > 0).all()
    assert not sizes[last + 1 :].any()


def test_of_a_long_story_the_most_recent_sentences_are_kept(tmp_path, said):
  dataset = load(write(tmp_path))
  *_, (texts, support, answer, _) = sorted(
    shown(dataset, "test", 18), key=lambda row: "where is the milk" in row[0]
  )
  assert texts == [
    "john went to the hallway",
    "mary got the milk there",
    "where is the milk",
  ]
  assert (support, answer) == ([1], "bathroom")  # of two, one is lost
  assert said == [
    "babi: 1 of 3 questions of test have more than 2 sentences before them; the"
    " most recent are kept, 1 questions lose a supporting one"
  ]
  shown(dataset, "test", 18)
  assert len(said) == 1


def story(i, questions=2):
  lines = [f"1 fact{i} one."]
  lines += [f"{n + 2} which{n}?\tanswer{i % 3}\t1" for n in range(questions)]
  return "\n".join(lines) + "\n"


def test_a_tenth_of_the_stories_is_held_out_whole_whatever_the_seed(tmp_path):
  write(tmp_path, train="".join(map(story, range(40))))
  dataset = load(tmp_path)
  assert dataset.num_examples == {"train": 72, "validation": 8, "test": 3}
  firsts = [
    {texts[0] for texts, *_ in shown(dataset, split)}
    for split in ("train", "validation")
  ]
  assert (len(firsts[0]), len(firsts[1])) == (36, 4)
  assert not firsts[0] & firsts[1]
  other = load(tmp_path, seed=7)
  assert shown(other, "validation") == shown(dataset, "validation")
  assert other.fingerprint == dataset.fingerprint
  few = load(tmp_path, num_eval=3)
  assert few.num_examples["validation"] == 3
  rows = shown(few, "validation")
  assert all(row in shown(dataset, "validation") for row in rows)
  assert few.fingerprint != dataset.fingerprint


def test_joint_is_all_tasks_that_have_both_files(tmp_path):
  write(tmp_path)
  write(tmp_path, 4, test=story(3) + story(4))
  write(tmp_path, 3, train=None, test=story(9))
  write(tmp_path, 21)  # no task of the data set
  joint = load(tmp_path)
  assert joint.description.startswith(
    "babi: task 1, 4; left out: 2 (no train and no test file), 3 (no train"
    " file), 5 (no train"
  )
  assert {row[3] for row in shown(joint, "test")} == {1, 4}
  assert joint.num_examples["test"] == 3 + 4
  # Ids and labels are the same for one task as for all.
  one = load(tmp_path, task=4)
  assert (one.token_names, one.label_names) == (
    joint.token_names,
    joint.label_names,
  )
  assert "fact9" in one.token_names
  assert "left out" not in one.description
  assert shown(one, "test") == [r for r in shown(joint, "test") if r[3] == 4]


def test_baselines_are_of_each_task(tmp_path):
  # Enough stories that it is the same one whatever is held out.
  write(tmp_path, train=STORIES * 9)  # twice "bathroom", once the other
  write(tmp_path, 4, train=story(2, 1) * 9 + story(1, 1), test=story(2))
  joint = load(tmp_path)
  assert joint.baselines("test", 24)["majority"] == pytest.approx(4 / 5)
  for task, share in ((1, 2 / 3), (4, 1)):
    found = load(tmp_path, task=task).baselines("test", 24)
    assert found["majority"] == pytest.approx(share)


def test_baselines_know_no_more_than_a_question_or_the_last_word(tmp_path):
  text = """1 Ann went to the hall.
2 Where is Ann?\thall\t1
3 Bob went to the den.
4 Where is Ann?\thall\t1
5 Bob took Ann to the attic by the den door.
6 Where is Bob?\tden\t5
7 Is Ann here?\thall\t1
"""
  asked_anew = "1 Ann went to the den.\n2 Where is she?\tden\t1\n"
  write(tmp_path, train=text * 9, test=text + asked_anew)
  found = load(tmp_path, length=48, sentence_length=12).baselines("test", 48)
  # Nobody is ever asked for in the attic, so what counts there is the den.
  assert found == {
    "majority": 3 / 5,
    "question_alone": 4 / 5,
    "last_named": 3 / 5,
  }


@pytest.mark.parametrize("folder", ["", "en-10k", "tasks_1-20_v1-2/en-10k"])
def test_files_are_found_as_the_release_nests_them(tmp_path, folder):
  write(tmp_path / folder)
  assert load(tmp_path).num_examples["test"] == 3


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "the file is empty"),
    ("1 Mary left.\n", "there is no question; expected tabs: question, answer"),
    ("1 Mary left.\n\n", ":2: expected a number, a space and text; got ''"),
    ("Mary left.\n", ":1: expected a number, a space and text; got 'Mary le"),
    ("\u00b2 Mary left.\n", ":1: expected a number, a space and text"),
    ("1 ...\n", ":1: expected a sentence, got '...'"),
    ("1\n", ":1: expected a sentence, got ''"),
    ("2 Mary left.\n", ":1: expected number 1; got 2"),
    ("1 A b.\n3 C d.\n", ":2: expected number 2, or 1 for a new story; got 3"),
    ("1 A b.\n2 C d.\n2 E f.\n", ":3: expected number 3, or 1 for a new story"),
    (
      "1 A b.\n2 C?\td\n",
      ":2: expected a sentence, or columns between tabs: q",
    ),
    ("1 A b.\n2 C?\td\t1\t1\n", "question, answer, supporting numbers; got 4"),
    ("1 A b.\n2 C?\t \t1\n", ":2: the question has no answer"),
    ("1 A b.\n2 ?\td\t1\n", ":2: expected a sentence, got '?'"),
    ("1 A b.\n2 C?\td\t3\n", ":2: supporting number '3' is not that of a sent"),
    ("1 A b.\n2 C?\td\tx\n", ":2: supporting number 'x' is not that of a sent"),
    ("1 A.\n2 C?\td\t1\n3 E?\tf\t2\n", ":3: supporting number '2' is not"),
    ("1 A.\n1 B.\n2 C?\td\t2\n", ":3: supporting number '2' is not that of"),
    ("1 A b.\n2 \udcff.\n", ":2: the line is not UTF-8"),
  ],
)
def test_a_wrong_line_is_named(tmp_path, text, message, error_of):
  # Also where it is not of the task that is asked for.
  write(tmp_path)
  write(tmp_path, 2, test=text)
  found = error_of(load, tmp_path, task=1)
  assert found.startswith(str(tmp_path / "qa2_some-task_test.txt"))
  assert message in found


def test_wrong_options_say_what_is_allowed(tmp_path, error_of):
  assert "dir is needed: the folder of qa1_*_train.txt" in error_of(
    data.load, "babi"
  )
  assert f"babi: no qa<N>_*_train.txt or qa<N>_*_test.txt in {tmp_path}" in (
    error_of(load, tmp_path)
  )
  write(tmp_path, 3, train=None)
  assert f"babi: task 3 has no train file in {tmp_path}; qa3_*" in error_of(
    load, tmp_path, task=3
  )
  assert "task 2 has no train and no test file" in error_of(
    load, tmp_path, task="2"
  )
  assert "has both a train and a test file" in error_of(load, tmp_path)
  write(tmp_path)
  for task in (0, 21, "all", 1.5):
    assert f"task must be joint or 1 to 20, got '{task}'" in error_of(
      load, tmp_path, task=task
    )
  assert "multiple of sentence_length=6 and at least 12, a sentence" in (
    error_of(load, tmp_path, length=25)
  )
  assert "got 6" in error_of(load, tmp_path, length=6)
  assert "task 1 has a sentence of 5 words (" in error_of(
    load, tmp_path, sentence_length=4
  )
  assert "num_eval must be an integer of at least 1" in error_of(
    load, tmp_path, num_eval=0
  )
  write(tmp_path, 4, train=story(1))
  assert "1 story can't be split in training and validation" in error_of(
    load, tmp_path, task=4
  )
  (tmp_path / "qa1_other_train.txt").write_text(STORIES)
  assert "two train files of task 1: qa1_other_train.txt and qa1_some-" in (
    error_of(load, tmp_path)
  )


def places_by_truth(dataset, split, length):
  """Whether the place in the supporting sentence is the answer, by example."""
  source = dataset.evaluation(split, length)
  for i in range(len(source)):
    x = source[i]
    told = x["inputs"][x["ground_truth"] == 2]
    yield dataset.token_names[told[-1]] == dataset.label_names[x["label"]]


def test_a_solver_that_reads_the_truth_is_always_right(tmp_path):
  rng = np.random.default_rng(0)
  places = ["garden", "office", "hallway", "kitchen"]

  def random_story():
    lines, at = [], {}
    for number in range(1, 16):
      if number % 3:
        who, place = rng.choice(["Mary", "John"]), rng.choice(places)
        at[who] = place, number
        lines.append(f"{number} {who} went to the {place}.")
      else:
        who = rng.choice(list(at))
        lines.append(f"{number} Where is {who}?\t{at[who][0]}\t{at[who][1]}")
    return "\n".join(lines) + "\n"

  text = "".join(random_story() for _ in range(20))
  dataset = load(write(tmp_path, train=text, test=text), length=66)
  for split in ("train", "validation", "test"):
    right = list(places_by_truth(dataset, split, 66))
    assert len(right) == dataset.num_examples[split] > 0
    assert all(right)


@pytest.mark.skipif(not REAL, reason="NEMA_LC_JAX_DATA names no folder")
def test_the_real_data():
  joint = data.load("babi", dir=REAL, num_eval=1000)
  tasks = re.findall(r"\d+", joint.description.split(";")[0])
  assert joint.num_examples["test"] == 1000 * len(tasks)
  assert joint.num_examples["train"] == pytest.approx(9000 * len(tasks), 0.001)
  one = data.load(
    "babi", dir=REAL, task=1, length=88, sentence_length=8, num_eval=1000
  )
  assert (one.vocab_size, one.num_classes) == (
    joint.vocab_size,
    joint.num_classes,
  )
  # Who went where: the last word of the supporting sentence, always.
  assert all(places_by_truth(one, "test", 88))
  found = one.baselines("test", 88)
  assert found["majority"] < 0.2 < found["last_named"] < 0.6
