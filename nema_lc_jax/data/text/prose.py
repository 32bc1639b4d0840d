"""The prose of the Python standard library: sentences of its documentation."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from nema_lc_jax.data.text.corpus import Document
from nema_lc_jax.data.types import UNKNOWN_WORD

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
# Texts of code: docstrings, and other strings that span lines.
STRING = re.compile(r'"""(.*?)"""', re.DOTALL)
PARAGRAPH = re.compile(r"\n\s*\n")
SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
# A plain word, with punctuation around it.
PLAIN = re.compile(r"""["'(]*[A-Za-z]+(?:'[a-z]+)?["')]*[,.;:!?]*""")
# The least words of a piece, and the least share of plain words in a sentence.
LEAST_WORDS, LEAST_PLAIN = 4, 0.9
# Token ids of padding, and of words without one of their own; their names.
PAD_ID, UNKNOWN_ID = 0, 1
SPECIAL = ("", UNKNOWN_WORD)


def words_of(text: str) -> list[str]:
  """The words of a text, in lower case; all else separates words."""
  return WORD.findall(text.lower())


def sentences(document: Document) -> Iterator[list[str]]:
  """The words of each sentence of a document that is mostly plain words."""
  text = document.text.decode("utf-8", errors="replace")
  parts = STRING.findall(text) if document.name.endswith(".py") else [text]
  for sentence in itertools.chain.from_iterable(map(split, parts)):
    written = sentence.split()
    plain = sum(bool(PLAIN.fullmatch(word)) for word in written)
    if len(written) >= LEAST_WORDS and plain >= LEAST_PLAIN * len(written):
      yield words_of(sentence)


def split(text: str) -> Iterator[str]:
  """The sentences of a text; a paragraph ends one, too."""
  for paragraph in PARAGRAPH.split(text):
    yield from SENTENCE.split(" ".join(paragraph.split()))


def pieces(words: Sequence[str], most: int) -> Iterator[Sequence[str]]:
  """A sentence in as few pieces of at most `most` words as possible.

  They are about equally long.
  """
  count = -(-len(words) // most)
  for i in range(count):
    yield words[i * len(words) // count : (i + 1) * len(words) // count]


def prose(
  documents: Iterable[Document], most: int
) -> dict[str, list[Sequence[str]]]:
  """The pieces of all sentences of each split, in the order of the text.

  Each is there once, in the first split that has it.
  """
  found: dict[str, list[Sequence[str]]] = {}
  seen = set()
  for document in documents:
    kept = found.setdefault(document.split, [])
    for sentence in sentences(document):
      if tuple(sentence) in seen:
        continue
      seen.add(tuple(sentence))
      kept += [p for p in pieces(sentence, most) if len(p) >= LEAST_WORDS]
  return found


def frequent(texts: Iterable[Sequence[str]], number: int) -> list[str]:
  """The most frequent words, ties in alphabetical order."""
  counts = Counter(word for text in texts for word in text)
  return sorted(counts, key=lambda word: (-counts[word], word))[:number]


def ids_of(
  words: Sequence[str], numbers: Mapping[str, int], size: int
) -> np.ndarray:
  """Token ids int32 [size] of at most so many words, padded."""
  ids = [numbers.get(word, UNKNOWN_ID) for word in words]
  return np.array(ids + [PAD_ID] * (size - len(ids)), np.int32)


def encode(text: str, names: Sequence[str], size: int) -> np.ndarray:
  """Token ids int32 [n * size] of a text, `size` for each piece of a sentence.

  Args:
    text: any; what is no word of Latin letters is left out.
    names: of the token ids, the first of which are SPECIAL.
    size: tokens per piece.
  """
  numbers = {name: i for i, name in enumerate(names)}
  found = [
    ids_of(piece, numbers, size)
    for sentence in split(text)
    for piece in pieces(words_of(sentence), size)
  ]
  return np.concatenate([np.zeros(0, np.int32), *found])
