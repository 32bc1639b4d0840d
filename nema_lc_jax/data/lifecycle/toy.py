"""Which one of a few keys occurs in a long text of noise?

Token ids: 0 padding, then `num_classes` keys, then `noise_vocab` noise tokens.
"""

import numpy as np

from nema_lc_jax.data.lifecycle.synthetic import generated
from nema_lc_jax.data.types import (
  MAX_TOKENS,
  DataError,
  Dataset,
  Example,
  require_at_least,
)


def load(
  *,
  seed: int = 0,
  length: int = 256,
  num_classes: int = 4,
  noise_vocab: int = 32,
  num_eval: int = 1024,
  num_test: int = 2048,
) -> Dataset:
  """The task; the label is the key, which is in the first 3/4 of the text.

  Keys are uniform, so chance is 1/num_classes. A memory that holds the key over
  the last quarter has accuracy 1.
  """
  require_at_least(2, most=MAX_TOKENS, num_classes=num_classes)
  require_at_least(1, most=MAX_TOKENS, noise_vocab=noise_vocab)
  require_at_least(1, num_eval=num_eval, num_test=num_test)
  first_noise = 1 + num_classes
  vocab_size = first_noise + noise_vocab

  def check(length: int) -> None:
    if length < 4:
      raise DataError(f"toy needs a length of at least 4, got {length}")

  def draw(rng: np.random.Generator, length: int, _: bool) -> Example:
    inputs = rng.integers(first_noise, vocab_size, length, np.int32)
    label = rng.integers(num_classes)
    position = rng.integers(length * 3 // 4)
    inputs[position] = 1 + label
    truth = np.zeros(length, np.int8)
    truth[position] = 2
    return {
      "inputs": inputs,
      "mask": np.ones(length, bool),
      "label": np.int32(label),
      "ground_truth": truth,
    }

  check(length)
  return generated(
    draw,
    name="toy",
    seed=seed,
    options={"num_classes": num_classes, "noise_vocab": noise_vocab},
    vocab_size=vocab_size,
    num_classes=num_classes,
    sizes=(num_eval, num_test),
    check=check,
    chance=1 / num_classes,
    description=f"toy: which of {num_classes} keys stood in a text of noise",
  )
