"""The sentences of a story, hidden among those of some prose."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nema_lc_jax.data.text.corpus import Document, corpus_fingerprint
from nema_lc_jax.data.text.prose import (
  LEAST_WORDS,
  SPECIAL,
  frequent,
  ids_of,
  prose,
)
from nema_lc_jax.data.types import SPLITS, DataError, Example, Examples

SAMPLE = 1000  # examples that the baselines are counted on


class Sentence(NamedTuple):
  """One sentence of a story."""

  words: str
  # Whether a question may need it.
  is_fact: bool
  # Numbers of the sentence that is needed for no question any more, and of the
  # newest one about the same person or object; -1: none.
  invalidates: int = -1
  updates: int = -1


class Haystack:
  """The prose of each split, in which stories are hidden.

  A text is a sentence per chunk, of `size` tokens with padding; the last one is
  the question.
  """

  def __init__(
    self,
    documents: Iterable[Document],
    story_words: Iterable[str],
    *,
    size: int,
    vocabulary: int,
  ):
    """Reads the prose.

    Args:
      documents: with their splits.
      story_words: all words of stories and questions, each of which has a
        token of its own.
      size: tokens of a sentence; longer ones of the prose are cut in pieces.
      vocabulary: words of the prose that have a token of their own, too: the
        most frequent ones of training.

    Raises:
      DataError: when a split has no prose.
    """
    documents = list(documents)
    self.identity = corpus_fingerprint(documents)
    found = prose(documents, size)
    if lacking := [split for split in SPLITS if not found.get(split)]:
      raise DataError(
        f"the prose for {lacking[0]} has no sentence of plain words, at least"
        f" {LEAST_WORDS} of them"
      )
    own = frequent(found["train"], vocabulary)
    self.token_names = (*SPECIAL, *sorted({*story_words, *own}))
    numbers = {word: i for i, word in enumerate(self.token_names)}
    encode = lambda words: ids_of(words, numbers, size)
    # [n, size] of each split, in the order of the text.
    self.prose = {
      split: np.stack([encode(words) for words in texts])
      for split, texts in found.items()
    }
    self.size = size
    self._sentence = functools.cache(lambda text: encode(text.split()))

  def hide(
    self,
    rng: np.random.Generator,
    split: str,
    length: int,
    sentences: Sequence[Sentence],
    question: str,
    sources: Sequence[int],
  ) -> Example:
    """An example without its label.

    Args:
      rng: draws the prose, and the places of the sentences.
      split: whose prose.
      length: tokens.
      sentences: of the story.
      question: its words.
      sources: numbers of the sentences that answer it, the newest first, as
        far as they are there. Their `ground_truth` is 2.
    """
    T = self.size
    N, lines = length // T, self.prose[split]
    # Consecutive prose from a random line on; after the last comes the first.
    inputs = lines[(rng.integers(len(lines)) + np.arange(N)) % len(lines)]
    places = np.sort(rng.permutation(N - 1)[: len(sentences)])
    fields = {
      "ground_truth": np.zeros((N, T), np.int8),
      "invalidates": np.full((N, T), -1, np.int32),
      "updates": np.full((N, T), -1, np.int32),
      "answer_position": np.full((N, T), -1, np.int32),
    }
    for n, (place, sentence) in enumerate(zip(places, sentences, strict=True)):
      inputs[place] = self._sentence(sentence.words)
      if sentence.is_fact:
        fields["ground_truth"][place] = 2 if n in sources else 1
      if sentence.invalidates >= 0:
        fields["invalidates"][place] = places[sentence.invalidates] * T
      if sentence.updates >= 0:
        fields["updates"][place] = places[sentence.updates] * T
    inputs[-1] = self._sentence(question)
    if sources:
      fields["answer_position"][-1] = places[sources[0]] * T
    mask = inputs > 0
    # Padding of a sentence says nothing.
    fields["ground_truth"] *= mask
    for name in ("invalidates", "updates", "answer_position"):
      fields[name][~mask] = -1
    return {
      "inputs": inputs.ravel(),
      "mask": mask.ravel(),
      **{name: value.ravel() for name, value in fields.items()},
    }


class Counted(NamedTuple):
  """What a sample of examples says about guesses."""

  majority: float  # share of the most frequent answer
  # How many sentences before the question the first one stands that it needs.
  ago: np.ndarray  # [n]

  def last_sentences(self, number: int) -> float:
    """The accuracy of one who sees the last `number` sentences alone.

    Who sees only a part of what a question needs guesses.
    """
    share = float((self.ago <= number).mean())
    return share + (1 - share) * self.majority


def count(examples: Examples, size: int) -> Counted:
  """Counts the first examples, whose sentences have `size` tokens."""
  answers, ago = Counter(), []
  for i in range(min(SAMPLE, len(examples))):
    example = examples[i]
    answers[int(example["label"])] += 1
    (sources,) = np.nonzero(example["ground_truth"] == 2)
    # What is not there stands before all others.
    first = sources[0] if len(sources) else -size
    ago.append(len(example["inputs"]) // size - 1 - first // size)
  return Counted(max(answers.values()) / answers.total(), np.array(ago))
