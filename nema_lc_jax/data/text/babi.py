"""bAbI: questions about short stories, sentence by sentence.

Each sentence is one chunk, the question is the last one, and padding follows.
Words are lower case; an answer such as "apple,football" is one class.

The folder `dir` has `qa<N>_*_train.txt` and `qa<N>_*_test.txt` of tasks 1 to
20. Words and answers are numbered in sorted order over all of these files, so
that a model of all tasks can be evaluated on one. Source: Weston et al. 2015,
"Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks".
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.text.babi_reader import Question, read_stories
from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  Example,
  Examples,
  checksum,
  fingerprint,
  require_at_least,
  require_split,
  shuffled,
)

JOINT = "joint"
TASKS = range(1, 21)
FILE = re.compile(r"qa(\d+)_.+_(train|test)\.txt")
# Where the files are below `dir`, as the release is unpacked.
FOLDERS = ("", "en-10k", "tasks_1-20_v1-2/en-10k")
VALIDATION_SHARE = 10  # one story in so many

Files = dict[int, dict[str, Path]]  # by task, of "train" and "test"


class Row(NamedTuple):
  """An example: a question of a task."""

  task: int
  question: Question


def load(
  *,
  dir: str | None = None,
  task: int | str = JOINT,
  length: int = 768,
  sentence_length: int = 12,
  num_eval: int | None = None,
) -> Dataset:
  """The questions of one task, or of all whose files are there.

  A question comes with the sentences before it in its story, without earlier
  questions; of a story that is longer than fits, the most recent sentences.
  Validation is a tenth of the training stories, the same ones for every seed.
  Examples have the number of their `task`, int32 [], and `ground_truth` 2 on
  the supporting sentences. The files do not say which other sentences an ideal
  memory keeps before it knows the question, so the write precision of a good
  memory is low, too.

  Args:
    dir: the folder of the files, or one of those that the release nests it in.
    task: 1 to 20, or "joint".
    length: the default length, whole sentences.
    sentence_length: tokens per sentence, and so per chunk of the model.
    num_eval: validation examples at most, drawn evenly; None: all.

  Raises:
    DataError: when files are missing or malformed; says which and where.
  """
  require_at_least(1, sentence_length=sentence_length)
  require_at_least(1, num_eval=1 if num_eval is None else num_eval)
  check = functools.partial(_check_length, sentence_length)
  check(length)
  files = find_files(dir)
  chosen, left_out = _choose(files, str(task), dir)
  stories = {
    path: read_stories(path)
    for kinds in files.values()
    for path in kinds.values()
  }
  rows = _splits({n: files[n] for n in chosen}, stories, num_eval)
  _check_sentences(rows, sentence_length)
  names, answers = _vocabulary(stories.values())
  encode = _Encoder(names, answers, sentence_length)
  warn_of_cut = functools.cache(functools.partial(_warn_of_cut, rows))

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    check(length)
    warn_of_cut(split, length // sentence_length - 1)
    return Examples(
      len(rows[split]), lambda i: encode.example(rows[split][i], length)
    )

  return Dataset(
    name="babi",
    head="classify",
    vocab_size=len(names),
    num_classes=max(2, len(answers)),
    num_examples={split: len(found) for split, found in rows.items()},
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda split, _: _baselines(rows["train"], rows[split]),
    fingerprint=fingerprint(
      files=[checksum(path) for path in stories],
      tasks=chosen,
      sentence_length=sentence_length,
      num_eval=num_eval,
    ),
    description=_describe(chosen, left_out, rows),
    token_names=names,
    label_names=answers,
  )


def find_files(directory: str | None) -> Files:
  """The files of each task, from the first folder that has any.

  Raises:
    DataError: when there are none, or two for the same.
  """
  if not directory:
    raise DataError(
      "babi: dir is needed: the folder of qa1_*_train.txt, qa1_*_test.txt and"
      " so on, such as tasks_1-20_v1-2/en-10k of the release"
    )
  root = Path(directory).expanduser()
  for folder in FOLDERS:
    files: Files = {}
    for path in sorted((root / folder).glob("qa*.txt")):
      name = FILE.fullmatch(path.name)
      if not name or int(name[1]) not in TASKS:
        continue
      kinds = files.setdefault(int(name[1]), {})
      if name[2] in kinds:
        raise DataError(
          f"babi: two {name[2]} files of task {name[1]}: {kinds[name[2]].name}"
          f" and {path.name} in {root / folder}"
        )
      kinds[name[2]] = path
    if files:
      return dict(sorted(files.items()))
  raise DataError(
    f"babi: no qa<N>_*_train.txt or qa<N>_*_test.txt in {root} or below it in"
    f" {', '.join(FOLDERS[1:])}"
  )


def _choose(
  files: Files, task: str, directory: str
) -> tuple[list[int], dict[int, str]]:
  """The chosen tasks; and those left out, with the reason."""
  lacks = {}
  for n in TASKS:
    missing = [k for k in ("train", "test") if k not in files.get(n, {})]
    if missing:
      lacks[n] = f"no {' and no '.join(missing)} file"
  if task == JOINT:
    chosen = [n for n in TASKS if n not in lacks]
    if not chosen:
      raise DataError(
        f"babi: no task in {directory} has both a train and a test file"
      )
    return chosen, lacks
  if task not in map(str, TASKS):
    raise DataError(f"babi: task must be joint or 1 to 20, got {task!r}")
  if int(task) in lacks:
    raise DataError(
      f"babi: task {task} has {lacks[int(task)]} in {directory};"
      f" qa{task}_*_train.txt and qa{task}_*_test.txt are needed"
    )
  return [int(task)], {}


def _splits(
  files: Files,
  stories: Mapping[Path, list[list[Question]]],
  num_eval: int | None,
) -> dict[str, list[Row]]:
  """The rows of each split; those of evaluation in a mixed, fixed order."""
  rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
  for n, kinds in files.items():
    train = stories[kinds["train"]]
    if len(train) < 2:
      raise DataError(
        f"{kinds['train']}: 1 story can't be split in training and validation,"
        " at least 2 are needed"
      )
    held_out = shuffled(len(train))[: max(1, len(train) // VALIDATION_SHARE)]
    held_out = set(held_out.tolist())
    for i, questions in enumerate(train):
      split = "validation" if i in held_out else "train"
      rows[split] += [Row(n, question) for question in questions]
    for questions in stories[kinds["test"]]:
      rows["test"] += [Row(n, question) for question in questions]
  # After this, the first so many rows are a fair sample of all tasks.
  for split in ("validation", "test"):
    rows[split] = [rows[split][i] for i in shuffled(len(rows[split]))]
  rows["validation"] = rows["validation"][:num_eval]
  return rows


def _vocabulary(
  files: Sequence[list[list[Question]]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """All words by token id, of which 0 is padding; and all answers by label."""
  questions = [q for stories in files for story in stories for q in story]
  texts = {q.text for q in questions}
  for question in questions:
    texts.update(question.story)
  known = {word for text in texts for word in text.split()}
  answers = sorted({question.answer for question in questions})
  return ("", *sorted(known)), tuple(answers)


class _Encoder:
  """Turns rows into examples."""

  def __init__(
    self, names: Sequence[str], answers: Sequence[str], sentence_length: int
  ):
    self._ids = {name: i for i, name in enumerate(names)}
    self._labels = {answer: i for i, answer in enumerate(answers)}
    self._size = sentence_length
    # Few sentences are distinct, so each is encoded once.
    self._sentence = functools.cache(self._padded)

  def _padded(self, text: str) -> np.ndarray:
    ids = [self._ids[word] for word in text.split()]
    return np.array(ids + [0] * (self._size - len(ids)), np.int32)

  def example(self, row: Row, length: int) -> Example:
    """The example of a row; the oldest sentences are cut if not all fit."""
    task, question = row
    chunks = length // self._size
    first = max(0, question.before - (chunks - 1))
    texts = [*question.story[first : question.before], question.text]
    inputs = np.zeros((chunks, self._size), np.int32)
    inputs[: len(texts)] = [self._sentence(text) for text in texts]
    truth = np.zeros((chunks, self._size), np.int8)
    truth[[i - first for i in question.support if i >= first]] = 2
    mask = inputs > 0
    return {
      "inputs": inputs.ravel(),
      "mask": mask.ravel(),
      "label": np.int32(self._labels[question.answer]),
      "ground_truth": (truth * mask).ravel(),
      "task": np.int32(task),
    }


def _check_length(sentence_length: int, length: int) -> None:
  if length % sentence_length or length < 2 * sentence_length:
    raise DataError(
      "babi needs a length that is a multiple of sentence_length="
      f"{sentence_length} and at least {2 * sentence_length}, a sentence and a"
      f" question; got {length}"
    )


def _check_sentences(
  rows: Mapping[str, Sequence[Row]], sentence_length: int
) -> None:
  """Raises DataError unless every sentence fits into its chunk."""
  texts = {
    text: row.task
    for found in rows.values()
    for row in found
    for text in (row.question.text, *row.question.story)
  }
  longest = max(texts, key=lambda text: len(text.split()))
  if (size := len(longest.split())) > sentence_length:
    raise DataError(
      f"babi: task {texts[longest]} has a sentence of {size} words"
      f" ({longest[:60]!r}); sentence_length must be at least that, got"
      f" {sentence_length}"
    )


def _warn_of_cut(
  rows: Mapping[str, Sequence[Row]], split: str, room: int
) -> None:
  """Logs how many stories are cut to the last `room` sentences."""
  cut = [q for _, q in rows[split] if q.before > room]
  lost = sum(min(q.support, default=q.before) < q.before - room for q in cut)
  if cut:
    logging.warning(
      "babi: %d of %d questions of %s have more than %d sentences before them;"
      " the most recent are kept, %d questions lose a supporting one",
      len(cut), len(rows[split]), split, room, lost,
    )  # fmt: skip


def _baselines(train: Sequence[Row], rows: Sequence[Row]) -> dict[str, float]:
  """Accuracy of three guesses, from what is answered in training.

  `majority` is the task's most frequent answer. `question_alone` is the most
  frequent answer to the same question, or the majority if the question is new.
  `last_named` is the last word of the story that is an answer of the task; some
  stories have none. In some tasks, models learn only one of these guesses.
  """
  answers: dict[int, Counter[str]] = {}
  alone: dict[tuple[int, str], Counter[str]] = {}
  for task, question in train:
    answers.setdefault(task, Counter())[question.answer] += 1
    alone.setdefault((task, question.text), Counter())[question.answer] += 1

  def guesses(row: Row) -> tuple[str | None, ...]:
    task, question = row
    story = " ".join(question.story[: question.before]).split()
    named = (word for word in reversed(story) if word in answers[task])
    majority = answers[task].most_common(1)[0][0]
    same = alone.get((task, question.text))
    by_question = same.most_common(1)[0][0] if same else majority
    return majority, by_question, next(named, None)

  right = [
    [guess == row.question.answer for guess in guesses(row)] for row in rows
  ]
  names = "majority", "question_alone", "last_named"
  return dict(zip(names, np.mean(right, axis=0).tolist(), strict=True))


def _describe(
  chosen: Sequence[int],
  left_out: Mapping[int, str],
  rows: Mapping[str, Sequence[Row]],
) -> str:
  longest = max(row.question.before for found in rows.values() for row in found)
  text = f"babi: task {', '.join(map(str, chosen))}"
  if left_out:
    lacks = ", ".join(f"{n} ({why})" for n, why in left_out.items())
    text += f"; left out: {lacks}"
  return f"{text}; up to {longest} sentences before a question"
