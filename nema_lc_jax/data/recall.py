"""Facts among noise: the value of the asked key, despite near misses.

The text is blocks of `block` tokens, each holding at most one item, at a random
offset, within noise:

  a fact        [MARK, key, value]   with a key of its own
  a distractor  [key, value]         with a fact's key and a wrong value
  the question  [ASK, key]           at the end of the last block

Token ids, all ranges disjoint: 0 padding, 1 MARK, 2 ASK, then the keys, the
values and the noise tokens. `Layout` knows where each range starts.
"""

import dataclasses

import numpy as np

from nema_lc_jax.data.synthetic import generated
from nema_lc_jax.data.types import DataError, Dataset, Example, require_at_least

MARK = 1
ASK = 2


@dataclasses.dataclass(frozen=True)
class Layout:
  """Sizes of the task and the first token id of each range."""

  block: int
  num_facts: int
  num_keys: int
  num_values: int
  num_distractors: int
  distractor_rate: float | None  # per free block; replaces num_distractors
  noise_vocab: int
  min_length: int | None  # training lengths are uniform in [min_length, length]

  @property
  def first_key(self) -> int:
    """The id of key 0."""
    return 3

  @property
  def first_value(self) -> int:
    """The id of value 0."""
    return self.first_key + self.num_keys

  @property
  def first_noise(self) -> int:
    """The id of the first noise token."""
    return self.first_value + self.num_values

  @property
  def vocab_size(self) -> int:
    """One more than the largest id."""
    return self.first_noise + self.noise_vocab

  @property
  def min_blocks(self) -> int:
    """Blocks for one item each, and the question."""
    sure = self.num_distractors if self.distractor_rate is None else 0
    return self.num_facts + sure + 1

  def check(self, length: int, name: str = "length") -> None:
    """Raises DataError unless whole blocks with room for all items fit."""
    if length % self.block or length < self.min_blocks * self.block:
      raise DataError(
        f"recall needs a {name} that is a multiple of block={self.block} and "
        f"at least {self.min_blocks * self.block}, one block for each item and "
        f"one for the question; got {length}"
      )


def load(
  *,
  seed: int = 0,
  length: int = 192,
  block: int = 8,
  num_facts: int = 3,
  num_keys: int = 8,
  num_values: int = 8,
  num_distractors: int = 6,
  distractor_rate: float | None = None,
  noise_vocab: int = 16,
  min_length: int | None = None,
  num_eval: int = 1024,
  num_test: int = 2048,
) -> Dataset:
  """The task; the label is the number of the value of the asked key.

  Values are uniform and independent of all else, so chance is 1/num_values.
  The asked key has exactly one marked fact, so reading it gives accuracy 1.

  With `min_length`, training examples draw a length uniformly, in whole blocks,
  and are padded at the end; evaluation always has the full length.
  """
  layout = Layout(
    block=block,
    num_facts=num_facts,
    num_keys=num_keys,
    num_values=num_values,
    num_distractors=num_distractors,
    distractor_rate=distractor_rate,
    noise_vocab=noise_vocab,
    min_length=min_length,
  )
  _check_options(layout)
  require_at_least(1, num_eval=num_eval, num_test=num_test)

  def check(length: int) -> None:
    layout.check(length)
    if min_length is not None and min_length > length:
      raise DataError(f"min_length {min_length} is above length {length}")

  check(length)
  return generated(
    lambda rng, length, training: _draw(layout, rng, length, training),
    name="recall",
    seed=seed,
    options=dataclasses.asdict(layout),
    vocab_size=layout.vocab_size,
    num_classes=num_values,
    sizes=(num_eval, num_test),
    check=check,
    description=(
      f"recall: the value of one of {num_facts} marked facts among noise and "
      "unmarked near misses"
    ),
  )


def _check_options(layout: Layout) -> None:
  require_at_least(3, block=layout.block)
  require_at_least(2, num_values=layout.num_values)
  require_at_least(1, num_facts=layout.num_facts)
  require_at_least(1, noise_vocab=layout.noise_vocab)
  require_at_least(0, num_distractors=layout.num_distractors)
  if layout.num_keys < layout.num_facts:
    raise DataError(
      f"num_facts {layout.num_facts} is above num_keys {layout.num_keys}; "
      "every fact has a key of its own"
    )
  rate = layout.distractor_rate
  if rate is not None and not (
    isinstance(rate, int | float) and 0 <= rate <= 1
  ):
    raise DataError(f"distractor_rate must be in [0, 1] or None, got {rate!r}")
  if layout.min_length is not None:
    require_at_least(1, min_length=layout.min_length)
    layout.check(layout.min_length, "min_length")


def _draw(
  layout: Layout, rng: np.random.Generator, length: int, training: bool
) -> Example:
  """One example of `length` tokens, of which the text may be a first part."""
  F, T = layout.num_facts, layout.block
  blocks = length // T
  if training and layout.min_length is not None:
    blocks = rng.integers(layout.min_length // T, blocks + 1)
  noise = layout.first_noise, layout.vocab_size
  text = rng.integers(*noise, blocks * T, np.int32)

  free = blocks - 1 - F  # blocks without a fact, before the question
  D = layout.num_distractors
  if layout.distractor_rate is not None:
    D = rng.binomial(free, layout.distractor_rate)
  starts = rng.permutation(blocks - 1)[: F + D] * T

  keys = rng.permutation(layout.num_keys)[:F]
  values = rng.integers(layout.num_values, size=F)
  fact_at = starts[:F] + rng.integers(T - 2, size=F)
  text[fact_at] = MARK
  text[fact_at + 1] = layout.first_key + keys
  text[fact_at + 2] = layout.first_value + values

  of = rng.integers(F, size=D)  # the fact that each distractor contradicts
  wrong = rng.integers(1, layout.num_values, size=D)
  distractor_at = starts[F:] + rng.integers(T - 1, size=D)
  text[distractor_at] = layout.first_key + keys[of]
  text[distractor_at + 1] = (
    layout.first_value + (values[of] + wrong) % layout.num_values
  )

  asked = rng.integers(F)
  text[-2:] = ASK, layout.first_key + keys[asked]

  truth = np.zeros(length, np.int8)
  for token in range(3):
    truth[fact_at + token] = 1
    truth[fact_at[asked] + token] = 2
  inputs = np.zeros(length, np.int32)
  inputs[: len(text)] = text
  return {
    "inputs": inputs,
    "mask": np.arange(length) < len(text),
    "label": np.int32(values[asked]),
    "truth": truth,
  }
