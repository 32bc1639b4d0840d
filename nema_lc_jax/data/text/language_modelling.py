"""Language modelling of a data set's texts: the labels are tokens.

Source of the idea: Amos, Berant and Gupta 2024, "Never Train from Scratch".
"""

import dataclasses

import grain
import numpy as np

from nema_lc_jax.data.types import (
  DataError,
  Dataset,
  Example,
  Examples,
  example_rng,
  fingerprint,
)

OBJECTIVES = ("masked_lm", "causal_lm")
NOT_ASKED = -1
PADDING = 0


def language_modelling(
  dataset: Dataset, objective: str, *, mask_rate: float, seed: int
) -> Dataset:
  """The texts of a data set with their own tokens as labels [L].

  "masked_lm" masks each token with probability `mask_rate` and predicts the
  masked ones. A masked token has the id 0 of padding, but is valid. No other
  valid token has this id, so the vocabulary does not grow. "causal_lm" predicts
  the next token at every token. Of a pair of texts, one is chosen at random.
  The data set's own labels are not used.

  Args:
    dataset: whose texts.
    objective: "masked_lm" or "causal_lm".
    mask_rate: of "masked_lm".
    seed: of the masks and choices in evaluation.

  Raises:
    DataError: for an unknown objective, or a rate outside of (0, 1].
  """
  if objective not in OBJECTIVES:
    raise DataError(
      f"objective must be one of {', '.join(OBJECTIVES)}; got {objective!r}"
    )
  if not 0 < mask_rate <= 1:
    raise DataError(f"mask_rate must be above 0, at most 1; got {mask_rate!r}")

  def make(example: Example, rng: np.random.Generator) -> Example:
    two = "inputs2" in example
    suffix = "2" if two and rng.random() < 0.5 else ""
    tokens, valid = example["inputs" + suffix], example["mask" + suffix]
    if objective == "causal_lm":
      label = np.append(tokens[1:], PADDING)
      asked = valid & np.append(valid[1:], False)
      inputs = tokens
    else:
      label, asked = tokens, valid & (rng.random(tokens.shape) < mask_rate)
      inputs = np.where(asked, PADDING, tokens)
    label = np.where(asked, label, NOT_ASKED).astype(np.int32)
    return {"inputs": inputs, "mask": valid, "label": label}

  def train(length: int, order: int) -> grain.MapDataset:
    return dataset.train(length, order).seed(order).random_map(make)

  def evaluation(split: str, length: int) -> Examples:
    examples = dataset.evaluation(split, length)
    return Examples(
      len(examples),
      lambda i: make(examples[i], example_rng(seed, split, i, length)),
    )

  return dataclasses.replace(
    dataset,
    name=f"{dataset.name}-{objective}",
    head=objective,
    num_classes=dataset.vocab_size,
    train=train,
    evaluation=evaluation,
    streams=None,
    baselines=lambda *_: {},
    fingerprint=fingerprint(
      of=dataset.fingerprint, objective=objective, mask_rate=mask_rate
    ),
    description=f"{objective} of {dataset.name}",
    label_names=dataset.token_names,
  )
