"""The common part of tasks about facts in noise.

A text consists of blocks of `block` tokens. Each block holds at most one item:
a few tokens at a random offset, with noise around them. A question stands at
the end of the last block and, in some tasks, of earlier ones. A task subclasses
`Facts`; its method `write` draws the items and the questions.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from nema_lc_jax.data.lifecycle.synthetic import generated
from nema_lc_jax.data.types import (
  MAX_TOKENS,
  DataError,
  Dataset,
  Example,
  require_at_least,
)

# Texts on which the share of an answer is counted.
SAMPLE = 500


class Item(NamedTuple):
  """Consecutive tokens in one block."""

  block: int
  tokens: Sequence[int]
  # Whether an ideal memory writes it when it is read.
  is_fact: bool = False
  # The block of the fact that the item makes invalid; -1: none.
  invalidates: int = -1
  # The block of the newest fact about the same thing; -1: none.
  updates: int = -1


class Question(NamedTuple):
  """A question at the end of a block that holds no item."""

  block: int
  tokens: Sequence[int]
  label: int
  # As in `Script`.
  source: int
  stale: Sequence[int] = ()


class Script(NamedTuple):
  """The items of a text, its last question and the answer."""

  items: Sequence[Item]
  question: Sequence[int]
  label: int
  # The block of the fact that answers the question, the newest if there are
  # several; -1: there is none.
  source: int
  # Labels that were right earlier in the text; answering one is a stale read.
  stale: Sequence[int] = ()
  # Questions before the last one, of a task with `several_questions`.
  earlier: Sequence[Question] = ()

  @classmethod
  def asking(
    cls, items: Sequence[Item], questions: Sequence[Question]
  ) -> "Script":
    """The script of all its questions, the last of which ends the text."""
    *earlier, last = questions
    return cls(items, *last[1:], earlier=earlier)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """A task about facts; its fields are its options.

  Token ids: 0 is padding; then come the commands, the keys, the values and the
  noise, in this order. The length of a training text is drawn uniformly from
  the whole blocks in [min_length, length], and the text is padded at its end;
  texts of evaluation always have the full length.

  A subclass sets `name`, `summary`, `commands` and `min_blocks`, and defines
  `write`. One whose texts may ask more than once overrides `several_questions`.
  """

  seed: int = 0
  length: int = 128
  block: int = 8
  num_keys: int = 8
  num_values: int = 8
  noise_vocab: int = 16
  min_length: int | None = None
  num_eval: int = 1024
  num_test: int = 2048

  name: ClassVar[str]
  summary: ClassVar[str]  # one line
  commands: ClassVar[Sequence[str]]  # names of the command tokens
  longest: ClassVar[int] = 3  # tokens of the longest item

  @property
  def first_key(self) -> int:
    """The token id of key 0."""
    return 1 + len(self.commands)

  @property
  def first_value(self) -> int:
    """The token id of value 0."""
    return self.first_key + self.num_keys

  @property
  def num_value_ids(self) -> int:
    """The number of token ids of values."""
    return self.num_values

  @property
  def first_noise(self) -> int:
    """The lowest token id that is only noise."""
    return self.first_value + self.num_value_ids

  @property
  def noise_from(self) -> int:
    """Noise is drawn uniformly from this token id to the largest."""
    return self.first_noise

  @property
  def vocab_size(self) -> int:
    """The number of token ids."""
    return self.first_noise + self.noise_vocab

  @property
  def num_classes(self) -> int:
    """The number of labels: the values, and other answers of a task."""
    return self.num_value_ids

  @property
  def value_names(self) -> tuple[str, ...]:
    """How each value is written."""
    return tuple(f"v{i}" for i in range(self.num_value_ids))

  @property
  def token_names(self) -> tuple[str, ...]:
    """How each token id is written."""
    keys = (f"k{i}" for i in range(self.num_keys))
    noise = ["n"] * self.noise_vocab
    return ("pad", *self.commands, *keys, *self.value_names, *noise)

  @property
  def label_names(self) -> tuple[str, ...]:
    """How each label is written."""
    return self.value_names

  @property
  def chance(self) -> float:
    """The best accuracy without the text."""
    return 1 / self.num_values

  def chance_at(self, length: int) -> float:
    """The best accuracy without the text at a length, for most tasks at all."""
    del length
    return self.chance

  def majority(self, length: int) -> float:
    """The share of the most frequent answer in a sample of texts."""
    counts = np.zeros(self.num_classes, int)
    for seed in range(SAMPLE):
      example = self.draw(np.random.default_rng(seed), length, False)
      answers = example["label"][example["label"] >= 0]
      counts += np.bincount(answers, minlength=self.num_classes)
    return float(counts.max() / counts.sum())

  @property
  def several_questions(self) -> bool:
    """Whether a label stands at each token that asks, not at the text."""
    return False

  @property
  def min_blocks(self) -> int:
    """The fewest blocks that a text may have."""
    raise NotImplementedError

  def write(self, rng: np.random.Generator, blocks: int) -> Script:
    """Draws the items and the question of a text of so many blocks."""
    raise NotImplementedError

  def limits(self, split: str, length: int, num_slots: int) -> dict[str, float]:
    """As in `Dataset`."""
    del split, length, num_slots
    return {}

  def check(self) -> None:
    """Raises DataError for options out of their range."""
    require_at_least(self.longest, block=self.block)
    require_at_least(2, most=MAX_TOKENS, num_values=self.num_values)
    require_at_least(1, most=MAX_TOKENS, noise_vocab=self.noise_vocab)
    require_at_least(0, most=MAX_TOKENS, num_keys=self.num_keys)
    require_at_least(1, num_eval=self.num_eval, num_test=self.num_test)
    if self.min_length is not None:
      require_at_least(1, min_length=self.min_length)
      self.check_length(self.min_length, "min_length")

  def check_live(self, num_live: int) -> None:
    """Raises DataError unless there are keys for `num_live` things."""
    require_at_least(1, num_live=num_live)
    if self.num_keys < num_live:
      raise DataError(f"num_live {num_live} is above num_keys {self.num_keys}")

  def check_length(self, length: int, name: str = "length") -> None:
    """Raises DataError unless `length` is whole blocks, and enough of them."""
    least = self.min_blocks * self.block
    if length % self.block or length < least:
      raise DataError(
        f"{self.name} needs a {name} that is a multiple of block={self.block}"
        f" and at least {least}, {self.min_blocks} blocks; got {length}"
      )
    if name == "length" and self.min_length and self.min_length > length:
      raise DataError(f"min_length {self.min_length} is above length {length}")

  def draw(
    self, rng: np.random.Generator, length: int, training: bool
  ) -> Example:
    """One example of `length` tokens; a training text may end in padding."""
    T, blocks = self.block, length // self.block
    if training and self.min_length is not None:
      blocks = int(rng.integers(self.min_length // T, blocks + 1))
    script = self.write(rng, blocks)
    size = blocks * T
    inputs = np.zeros(length, np.int32)
    inputs[:size] = rng.integers(self.noise_from, self.vocab_size, size)
    truth = np.zeros(length, np.int8)
    invalidates = np.full(length, -1, np.int32)
    updates = np.full(length, -1, np.int32)
    offsets = rng.random(len(script.items))
    sources = {script.source, *(q.source for q in script.earlier)}
    for item, offset in zip(script.items, offsets, strict=True):
      start = item.block * T + int(offset * (T - len(item.tokens) + 1))
      at = slice(start, start + len(item.tokens))
      inputs[at] = item.tokens
      if item.is_fact:
        truth[at] = 2 if item.block in sources else 1
      if item.invalidates >= 0:
        invalidates[at] = item.invalidates * T
      if item.updates >= 0:
        updates[at] = item.updates * T
    last = Question(blocks - 1, *script[1:5])
    return {
      "inputs": inputs,
      "mask": np.arange(length) < size,
      "ground_truth": truth,
      "invalidates": invalidates,
      "updates": updates,
      **self._ask(inputs, (*script.earlier, last)),
    }

  def _ask(self, inputs: np.ndarray, questions: Sequence[Question]) -> Example:
    """Writes the questions into `inputs`; their labels and sources."""
    T = self.block
    answers = np.full(len(inputs), -1, np.int32)
    source = np.full(len(inputs), -1, np.int32)
    several = self.several_questions
    rows = len(inputs) if several else 1
    stale = np.full((rows, self.num_classes), -1, np.int32)
    for question in questions:
      end = (question.block + 1) * T
      at = slice(end - len(question.tokens), end)
      inputs[at] = question.tokens
      if question.source >= 0:
        source[at] = question.source * T
      answers[end - 1] = question.label
      at = end - 1 if several else 0
      stale[at, : len(question.stale)] = question.stale
    if not several:
      answers, stale = answers[end - 1], stale[0]
    return {"label": answers, "answer_position": source, "stale": stale}

  def dataset(self) -> Dataset:
    """The data set of these options.

    Raises:
      DataError: for options out of their range.
    """
    self.check()
    self.check_length(self.length)
    apart = {"seed", "length", "num_eval", "num_test"}
    options = {
      k: v for k, v in dataclasses.asdict(self).items() if k not in apart
    }
    return generated(
      self.draw,
      name=self.name,
      seed=self.seed,
      options=options,
      vocab_size=self.vocab_size,
      num_classes=self.num_classes,
      sizes=(self.num_eval, self.num_test),
      check=self.check_length,
      chance=self.chance_at,
      head="causal_lm" if self.several_questions else "classify",
      description=f"{self.name}: {self.summary}",
      token_names=self.token_names,
      label_names=self.label_names,
      limits=self.limits,
    )


def loader(task: type[Facts]) -> Callable[..., Dataset]:
  """The function `load` of a task, whose keywords are the task's options."""

  def load(**options) -> Dataset:
    return task(**options).dataset()

  functools.update_wrapper(load, task, updated=())
  load.__signature__ = inspect.signature(task)
  return load
