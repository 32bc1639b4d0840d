"""The prose of the Python standard library: sentences of its documentation."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from nema_lc_jax.data.text.corpus import Document

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
# Texts of code: docstrings, and other strings that span lines.
STRING = re.compile(r'"""(.*?)"""', re.DOTALL)
PARAGRAPH = re.compile(r"\n\s*\n")
SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
# A plain word, with punctuation around it.
PLAIN = re.compile(r"""["'(]*[A-Za-z]+(?:'[a-z]+)?["')]*[,.;:!?]*""")
# The least words of a piece, and the least share of plain words in a sentence.
LEAST_WORDS, LEAST_PLAIN = 4, 0.9


def words_of(text: str) -> list[str]:
  """The words of a text, in lower case; all else separates words."""
  return WORD.findall(text.lower())


def sentences(document: Document) -> Iterator[list[str]]:
  """The words of each sentence of a document that is mostly plain words."""
  text = document.text.decode("utf-8", errors="replace")
  parts = STRING.findall(text) if document.name.endswith(".py") else [text]
  for part in parts:
    for paragraph in PARAGRAPH.split(part):
      for sentence in SENTENCE.split(" ".join(paragraph.split())):
        written = sentence.split()
        plain = sum(bool(PLAIN.fullmatch(word)) for word in written)
        if len(written) >= LEAST_WORDS and plain >= LEAST_PLAIN * len(written):
          yield words_of(sentence)


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
