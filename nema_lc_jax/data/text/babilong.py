"""bAbI facts hidden in prose, in the manner of BABILong.

The sentences of a bAbI story are scattered among those of a background, and the
question follows; each sentence is one chunk of words. BABILong (Kuratov et al.
2024, arXiv:2406.10149) differs: its background is PG-19, its lengths count
tokens of GPT-2, its models were pretrained, and they are not told where
sentences begin.
"""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from nema_lc_jax.data.lifecycle.synthetic import TRAIN_EXAMPLES
from nema_lc_jax.data.text import babi_files
from nema_lc_jax.data.text.babi_files import Row
from nema_lc_jax.data.text.background import (
  PYTHON,
  check_background,
  read_background,
)
from nema_lc_jax.data.text.haystack import MAX_WORDS
from nema_lc_jax.data.text.needles import Haystack, Sentence, count
from nema_lc_jax.data.types import (
  Dataset,
  Example,
  Examples,
  example_rng,
  fingerprint,
  require_at_least,
  require_sentences,
  require_split,
)

TASKS = range(1, 6)
FIELDS = {"inputs", "mask", "label", "task", "ground_truth"}
# Which facts are needed no more is known for task 1 alone.
TRUTH = {"invalidates", "updates", "answer_position"}


def load(
  *,
  seed: int = 0,
  dir: str | None = None,
  task: int | str = 1,
  background: str | None = None,
  length: int = 256,
  sentence_length: int = 8,
  vocabulary: int = 5000,
  num_eval: int = 1000,
  num_test: int | None = None,
) -> Dataset:
  """Tasks 1 to 5 of bAbI in prose.

  Training draws other prose around a story each time. The `ground_truth` of a
  sentence of the story is 1, or 2 if the question needs it. For task 1 it is
  known which facts are still needed, for the others not, so only task 1 has an
  oracle.

  Args:
    seed: of the prose and of the places of the facts.
    dir: the folder of bAbI's files, or one of those that the release nests it
      in.
    task: 1 to 5, or "joint".
    background: a folder of texts, split by file; None: the documentation of
      the Python standard library.
    length: tokens, a multiple of sentence_length. Of a story that is longer,
      the most recent sentences.
    sentence_length: tokens of a sentence, and so of a chunk of the model;
      longer sentences of the prose are cut in pieces.
    vocabulary: words of the prose that have a token of their own, the most
      frequent ones of training; the others share one.
    num_eval: validation examples at most.
    num_test: test examples at most; None: all.

  Raises:
    DataError: for options out of their range, and files that are missing or
      malformed.
  """
  require_at_least(
    8, most=MAX_WORDS, sentence_length=sentence_length, vocabulary=vocabulary
  )
  require_at_least(
    1, num_eval=num_eval, num_test=1 if num_test is None else num_test
  )
  check = functools.partial(
    require_sentences, "babilong", sentence_length=sentence_length
  )
  check(length)
  check_background(background)
  found = babi_files.read(
    dir, task, sentence_length=sentence_length, num_eval=num_eval, among=TASKS
  )
  rows = found.rows | {"test": found.rows["test"][:num_test]}
  sizes = {split: len(rows[split]) for split in rows} | {
    "train": TRAIN_EXAMPLES
  }
  words, answers = found.vocabulary()
  haystack = Haystack(
    read_background(background),
    words,
    size=sentence_length,
    vocabulary=vocabulary,
  )
  labels = {answer: i for i, answer in enumerate(answers)}
  fields = FIELDS | (TRUTH if found.chosen == [1] else set())

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    check(length)

    def draw(i: int) -> Example:
      row = rows[split][i % len(rows[split])]
      rng = example_rng(seed, split, i, length)
      example = _example(haystack, labels, rng, row, split, length)
      return {name: example[name] for name in fields}

    return Examples(sizes[split], draw)

  counted = functools.cache(
    lambda split, length: count(examples(split, length), sentence_length)
  )
  return Dataset(
    name="babilong",
    head="classify",
    vocab_size=len(haystack.token_names),
    num_classes=max(2, len(answers)),
    num_examples=sizes,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda split, _: babi_files.baselines(rows["train"], rows[split]),
    limits=lambda split, length, num_slots: {
      "last_sentences": counted(split, length).last_sentences(num_slots)
    },
    fingerprint=fingerprint(
      corpus=haystack.identity,
      files=found.checksums,
      tasks=found.chosen,
      sentence_length=sentence_length,
      vocabulary=vocabulary,
      sizes=sizes,
    ),
    description=(
      f"babilong: bAbI task {', '.join(map(str, found.chosen))} among sentences"
      f" of {background or PYTHON}"
    ),
    token_names=haystack.token_names,
    label_names=answers,
    sentence_length=sentence_length,
  )


def _example(
  haystack: Haystack,
  labels: dict[str, int],
  rng: np.random.Generator,
  row: Row,
  split: str,
  length: int,
) -> Example:
  """The example of a row, among prose that `rng` draws."""
  task, question = row
  first = max(0, question.before - (length // haystack.size - 1))
  texts = question.story[first : question.before]
  support = sorted(
    (i - first for i in question.support if i >= first), reverse=True
  )
  example = haystack.hide(
    rng, split, length, _sentences(texts), question.text, support
  )
  label = np.int32(labels[question.answer])
  return example | {"label": label, "task": np.int32(task)}


def _sentences(texts: Sequence[str]) -> list[Sentence]:
  """A story, of which the newest sentence about a person counts, as in task 1.

  The first word is the person.
  """
  last: dict[str, int] = {}
  sentences = []
  for n, text in enumerate(texts):
    person = text.split()[0]
    before = last.get(person, -1)
    sentences.append(Sentence(text, True, before, before))
    last[person] = n
  return sentences
