"""Facts of a short story, scattered among real sentences; then a question.

Each sentence is one chunk of words, the question is the last one. The story is
made by a small grammar (`story`), the other sentences are from the docstrings
and texts of the Python standard library, which every installation has, or of a
folder of one's own. Modules or files of validation and test are not those of
training.
"""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from nema_lc_jax.data.lifecycle.synthetic import TRAIN_EXAMPLES
from nema_lc_jax.data.text import story
from nema_lc_jax.data.text.background import (
  PYTHON,
  read_background,
)
from nema_lc_jax.data.text.needles import Haystack, Sentence, count
from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  Example,
  Examples,
  example_rng,
  fingerprint,
  require_at_least,
  require_sentences,
  require_split,
)

LONGEST = 8  # words of the longest sentence of a story, or question
MAX_WORDS = 2**14  # of a sentence, or with a token of their own
MOST_DRAWS = 1000  # stories, until something can be asked


def load(
  *,
  seed: int = 0,
  length: int = 256,
  sentence_length: int = LONGEST,
  kinds: Sequence[str] = ("where",),
  num_people: int = 4,
  num_objects: int = 3,
  min_facts: int = 6,
  max_facts: int = 12,
  vocabulary: int = 2000,
  background: str | None = None,
  num_eval: int = 1000,
  num_test: int = 2000,
) -> Dataset:
  """The task.

  A text of any length has as many facts: a longer one has more prose between
  them. `ground_truth` is 2 on the sentences that answer the question.

  Args:
    seed: of the examples.
    length: tokens, a multiple of sentence_length.
    sentence_length: tokens of a sentence, and so of a chunk of the model;
      longer sentences are cut in pieces.
    kinds: of questions, see `story`.
    num_people: who occur in a story, at most.
    num_objects: that occur in a story, at most, if a question may be about one.
    min_facts: the fewest sentences of a story.
    max_facts: the most.
    vocabulary: words of the prose that have a token of their own, the most
      frequent ones of training; the others share one.
    background: a folder of texts, split by file; None: the documentation of
      the Python standard library.
    num_eval: validation examples.
    num_test: test examples.

  Raises:
    DataError: for options out of their range.
  """
  require_at_least(1, num_eval=num_eval, num_test=num_test)
  texts = _Texts(
    background,
    length=length,
    kinds=kinds,
    num_people=num_people,
    num_objects=num_objects,
    facts=(min_facts, max_facts),
    sentence_length=sentence_length,
    vocabulary=vocabulary,
  )
  sizes = {"train": TRAIN_EXAMPLES, "validation": num_eval, "test": num_test}

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    texts.check_length(length)
    return Examples(
      sizes[split],
      lambda i: texts.draw(example_rng(seed, split, i, length), length, split),
    )

  # Baselines and limits are of the same texts, which are drawn once.
  counted = functools.cache(
    lambda split, length: count(examples(split, length), sentence_length)
  )

  return Dataset(
    name="haystack",
    head="classify",
    vocab_size=len(texts.haystack.token_names),
    num_classes=len(story.ANSWERS),
    num_examples=sizes,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda *at: {
      "majority": counted(*at).majority,
      "best_possible": 1.0,
    },
    limits=lambda split, length, num_slots: {
      "last_sentences": counted(split, length).last_sentences(num_slots)
    },
    fingerprint=fingerprint(
      corpus=texts.haystack.identity, sizes=sizes, options=texts.options
    ),
    description=(
      f"haystack: questions ({', '.join(kinds)}) about {min_facts} to"
      f" {max_facts} facts among sentences of {background or PYTHON}"
    ),
    token_names=texts.haystack.token_names,
    label_names=story.ANSWERS,
    sentence_length=sentence_length,
  )


class _Texts:
  """Draws examples from a grammar and the prose of each split."""

  def __init__(self, background: str | None, length: int, **options):
    self.options = options
    self._check()
    self.check_length(length)
    self.haystack = Haystack(
      read_background(background),
      story.WORDS,
      size=options["sentence_length"],
      vocabulary=options["vocabulary"],
    )
    self._labels = {answer: i for i, answer in enumerate(story.ANSWERS)}
    # Raises the error of a story that is too short for its questions.
    self.draw(np.random.default_rng(0), length, "train")

  def _check(self) -> None:
    """Raises DataError for options out of their range."""
    o, (least, most) = self.options, self.options["facts"]
    sizes = {name: o[name] for name in ("sentence_length", "vocabulary")}
    require_at_least(LONGEST, most=MAX_WORDS, **sizes)
    require_at_least(1, min_facts=least)
    require_at_least(least, max_facts=most)
    require_at_least(1, num_people=o["num_people"], most=len(story.PEOPLE))
    require_at_least(1, num_objects=o["num_objects"], most=len(story.OBJECTS))
    kinds, known = o["kinds"], ", ".join(story.KINDS)
    if not isinstance(kinds, list | tuple) or not kinds:
      raise DataError(
        f"kinds must be a tuple of some of {known}; got {kinds!r}"
      )
    o["kinds"] = tuple(kinds)
    for kind in kinds:
      if kind not in story.KINDS:
        raise DataError(f"kinds must be some of {known}; got {kind!r}")

  def check_length(self, length: int) -> None:
    """Raises DataError unless `length` is whole sentences, and enough."""
    most = self.options["facts"][1]
    require_sentences(
      "haystack",
      length,
      self.options["sentence_length"],
      least=most,
      what=f"for max_facts={most}",
    )

  def _story(
    self, rng: np.random.Generator
  ) -> tuple[list[Sentence], story.Asked]:
    """A story, and a question that it answers."""
    o = self.options
    for _ in range(MOST_DRAWS):
      told = story.Story(rng, o["kinds"], o["num_people"], o["num_objects"])
      for _ in range(rng.integers(o["facts"][0], o["facts"][1] + 1)):
        told.tell()
      if asked := told.ask():
        return told.sentences, asked
    raise DataError(
      f"haystack: in {MOST_DRAWS} stories nothing could be asked"
      f" (kinds={', '.join(o['kinds'])}); max_facts={o['facts'][1]} is too low"
    )

  def draw(self, rng: np.random.Generator, length: int, split: str) -> Example:
    """An example of a split."""
    sentences, asked = self._story(rng)
    example = self.haystack.hide(
      rng, split, length, sentences, asked.words, asked.sources
    )
    stale = np.full(len(story.ANSWERS), -1, np.int32)
    old = sorted(self._labels[answer] for answer in asked.stale)
    stale[: len(old)] = old
    label = np.int32(self._labels[asked.answer])
    return example | {"label": label, "stale": stale}
