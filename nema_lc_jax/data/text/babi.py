"""bAbI: questions about short stories, sentence by sentence.

Each sentence is one chunk, the question is the last one, and padding follows.
Words are lower case; an answer such as "apple,football" is one class.

The folder `dir` has `qa<N>_*_train.txt` and `qa<N>_*_test.txt` of tasks 1 to
20. Words and answers are numbered in sorted order over all of these files, so
that a model of all tasks can be evaluated on one. Source: Weston et al. 2015,
"Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks".
"""

import functools
from collections.abc import Mapping, Sequence

import grain
import numpy as np
from absl import logging

from nema_lc_jax.data.text import babi_files
from nema_lc_jax.data.text.babi_files import JOINT, Row, baselines
from nema_lc_jax.data.types import (
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_at_least,
  require_sentences,
  require_split,
)


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
  check = functools.partial(
    require_sentences, "babi", sentence_length=sentence_length
  )
  check(length)
  found = babi_files.read(
    dir, task, sentence_length=sentence_length, num_eval=num_eval
  )
  rows = found.rows
  words, answers = found.vocabulary()
  names = ("", *words)  # 0 is padding
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
    num_examples={split: len(rows[split]) for split in rows},
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda split, _: baselines(rows["train"], rows[split]),
    fingerprint=fingerprint(
      files=found.checksums,
      tasks=found.chosen,
      sentence_length=sentence_length,
      num_eval=num_eval,
    ),
    description=_describe(found.chosen, found.left_out, rows),
    token_names=names,
    label_names=answers,
  )


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
