"""The files of bAbI, and the questions of each split."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nema_lc_jax.data.text.babi_reader import Question, read_stories
from nema_lc_jax.data.types import DataError, checksum, shuffled

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


class Babi(NamedTuple):
  """Tasks of bAbI."""

  rows: dict[str, list[Row]]  # of each split
  # The questions of each story, by file; also of tasks that are not chosen.
  stories: dict[Path, list[list[Question]]]
  checksums: list[str]  # of the files
  chosen: list[int]
  left_out: dict[int, str]  # with the reason

  def vocabulary(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All words, and all answers, of all files, each in sorted order."""
    found = [q for file in self.stories.values() for qs in file for q in qs]
    texts = {q.text for q in found}
    for question in found:
      texts.update(question.story)
    words = sorted({word for text in texts for word in text.split()})
    return tuple(words), tuple(sorted({question.answer for question in found}))


def read(
  directory: str | None,
  task: int | str,
  *,
  sentence_length: int,
  num_eval: int | None,
  among: Sequence[int] = TASKS,
) -> Babi:
  """Reads the files of a folder.

  Args:
    directory: the folder, or one of those that the release nests it in.
    task: the number of one, or "joint" for all `among` whose files are there.
    sentence_length: words of the longest sentence that is allowed.
    num_eval: validation examples at most; None: all.
    among: the tasks to choose from.

  Raises:
    DataError: when files are missing or malformed; says which and where.
  """
  files = {
    n: kinds for n, kinds in _find_files(directory).items() if n in among
  }
  chosen, left_out = _choose(files, str(task), directory, among)
  stories = {
    path: read_stories(path)
    for kinds in files.values()
    for path in kinds.values()
  }
  rows = _splits({n: files[n] for n in chosen}, stories, num_eval)
  _check_sentences(rows, sentence_length)
  return Babi(rows, stories, [checksum(p) for p in stories], chosen, left_out)


def _find_files(directory: str | None) -> Files:
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
  files: Files, task: str, directory: str | None, among: Sequence[int]
) -> tuple[list[int], dict[int, str]]:
  """The chosen tasks; and those left out, with the reason."""
  lacks = {}
  for n in among:
    missing = [k for k in ("train", "test") if k not in files.get(n, {})]
    if missing:
      lacks[n] = f"no {' and no '.join(missing)} file"
  if task == JOINT:
    chosen = [n for n in among if n not in lacks]
    if not chosen:
      raise DataError(
        f"babi: no task in {directory} has both a train and a test file"
      )
    return chosen, lacks
  if task not in map(str, among):
    raise DataError(
      f"babi: task must be joint or {among[0]} to {among[-1]}, got {task!r}"
    )
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


def baselines(train: Sequence[Row], rows: Sequence[Row]) -> dict[str, float]:
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
