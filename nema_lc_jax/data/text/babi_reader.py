"""Reads bAbI files; errors name the line that is malformed.

A line is `<number> <sentence>`; or `<number> <question>`, the answer, and the
numbers of the supporting sentences, with tabs between these three columns.
Number 1 begins a story, and each further line adds 1 to the number.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nema_lc_jax.data.byte_text import read_lines
from nema_lc_jax.data.types import DataError

# Letters, digits and what joins them: dots and question marks are left out.
WORD = re.compile(r"\w+(?:['-]\w+)*")
COLUMNS = "question, answer, supporting numbers"


class Question(NamedTuple):
  """A question and its story; all texts are as `words` returns them."""

  story: Sequence[str]  # sentences; the question sees the first `before`
  before: int
  text: str
  answer: str
  support: tuple[int, ...]  # indices into the story


@functools.lru_cache(maxsize=2**14)
def words(text: str) -> str:
  """The words of a sentence, in lower case, with one space between them."""
  found = " ".join(WORD.findall(text.lower()))
  if not found:
    raise ValueError(f"expected a sentence, got {text[:40]!r}")
  return found


def read_stories(path: Path) -> list[list[Question]]:
  """The questions of each story of a file, in order.

  Raises:
    DataError: names the first malformed line, or the file if it is empty or has
      no question.
  """
  lines = read_lines(path)
  stories, story, number = [], _Story(), 0
  for place, line in enumerate(lines, 1):
    try:
      found, text = _number(line.removesuffix(b"\r").decode(), number)
      if found == 1:
        story = _Story()
        stories.append(story.questions)
      number = found
      story.add(number, text)
    except UnicodeDecodeError:
      raise DataError(f"{path}:{place}: the line is not UTF-8") from None
    except ValueError as error:
      raise DataError(f"{path}:{place}: {error}") from None
  stories = [questions for questions in stories if questions]
  if not stories:
    raise DataError(f"{path}: there is no question; expected tabs: {COLUMNS}")
  return stories


def _number(line: str, before: int) -> tuple[int, str]:
  """The number of a line, and its text."""
  digits, _, text = line.partition(" ")
  if not digits.isascii() or not digits.isdecimal():
    raise ValueError(f"expected a number, a space and text; got {line[:40]!r}")
  number = int(digits)
  if number != 1 and number != before + 1:
    expected = f"{before + 1}, or 1 for a new story" if before else "1"
    raise ValueError(f"expected number {expected}; got {number}")
  return number, text


class _Story:
  """The part of a story that has been read so far."""

  def __init__(self):
    self.sentences: list[str] = []
    self.questions: list[Question] = []
    self.index: dict[str, int] = {}  # of a sentence, by its number

  def add(self, number: int, text: str) -> None:
    """Adds the sentence or question of a line; ValueError if malformed."""
    columns = text.split("\t")
    if len(columns) == 1:
      self.index[str(number)] = len(self.sentences)
      self.sentences.append(words(text))
      return
    if len(columns) != 3:
      raise ValueError(
        f"expected a sentence, or columns between tabs: {COLUMNS}; got"
        f" {len(columns)} columns"
      )
    question, answer, support = columns
    answer = answer.strip().lower()
    if not answer:
      raise ValueError("the question has no answer")
    for name in support.split():
      if name not in self.index:
        raise ValueError(
          f"supporting number {name[:20]!r} is not that of a sentence before"
          " in the story"
        )
    self.questions.append(
      Question(
        story=self.sentences,
        before=len(self.sentences),
        text=words(question),
        answer=answer,
        support=tuple(self.index[name] for name in support.split()),
      )
    )
