"""Data sets of generated examples."""

from collections.abc import Callable, Sequence

import grain
import numpy as np

from nema_lc_jax.data.types import (
  Dataset,
  Example,
  Examples,
  example_rng,
  fingerprint,
  require_split,
)

# A nominal size, so large that training never repeats an example.
TRAIN_EXAMPLES = 2**30

# (generator, length, training) -> example
Draw = Callable[[np.random.Generator, int, bool], Example]


def generated(
  draw: Draw,
  *,
  name: str,
  seed: int,
  options: dict,
  vocab_size: int,
  num_classes: int,
  sizes: tuple[int, int],
  check: Callable[[int], None],
  chance: float | Callable[[int], float],
  description: str,
  head: str = "classify",
  token_names: Sequence[str] = (),
  label_names: Sequence[str] = (),
  limits: Callable[[str, int, int], dict[str, float]] = lambda *_: {},
) -> Dataset:
  """A data set whose examples are drawn, each by a generator of its own.

  Example i of a split is a pure function of (seed, split, i, length), and no
  two examples share random numbers.

  Args:
    draw: makes an example.
    name: of the data set.
    seed: of all examples; no part of the fingerprint.
    options: what else determines the examples; part of the fingerprint.
    vocab_size: number of token ids.
    num_classes: number of labels.
    sizes: number of validation and of test examples.
    check: raises DataError for a length that an example does not fit into.
    chance: the best accuracy without the text, or a function of the length. The
      label must follow from the text, so that the best possible accuracy is 1.
    description: one line.
    head: as in `Dataset`.
    token_names: as in `Dataset`.
    label_names: as in `Dataset`.
    limits: as in `Dataset`.
  """
  num_examples = dict(
    zip(("train", "validation", "test"), (TRAIN_EXAMPLES, *sizes), strict=True)
  )

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    check(length)
    return Examples(
      num_examples[split],
      lambda i: draw(
        example_rng(seed, split, i, length), length, split == "train"
      ),
    )

  return Dataset(
    name=name,
    head=head,
    vocab_size=vocab_size,
    num_classes=num_classes,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda _, length: {
      "chance": chance(length) if callable(chance) else chance,
      "best_possible": 1.0,
    },
    fingerprint=fingerprint(name=name, sizes=sizes, **options),
    description=description,
    token_names=token_names,
    label_names=label_names,
    limits=limits,
  )
