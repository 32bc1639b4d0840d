"""What the generated tasks share: examples as a function of their number."""

from collections.abc import Callable, Sequence

import grain
import numpy as np

from nema_lc_jax.data.types import (
  Dataset,
  Example,
  Examples,
  fingerprint,
  require_split,
  stream,
)

# A nominal size: training never comes back to the same example.
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
  chance: float,
  description: str,
  head: str = "classify",
  token_names: Sequence[str] = (),
  label_names: Sequence[str] = (),
) -> Dataset:
  """A data set that draws example i from its own stream.

  Example i of a split is a pure function of (seed, split, i, length), so the
  splits are disjoint as random streams. `check(length)` raises DataError where
  an example does not fit. `chance` is the best accuracy without the text; the
  labels follow from the text, hence a best possible accuracy of 1.
  """
  num_examples = dict(
    zip(("train", "validation", "test"), (TRAIN_EXAMPLES, *sizes), strict=True)
  )

  def examples(split: str, length: int) -> Examples:
    require_split(split)
    check(length)
    return Examples(
      num_examples[split],
      lambda i: draw(stream(seed, split, i, length), length, split == "train"),
    )

  return Dataset(
    name=name,
    head=head,
    vocab_size=vocab_size,
    num_classes=num_classes,
    num_examples=num_examples,
    train=lambda length, _: grain.MapDataset.source(examples("train", length)),
    evaluation=examples,
    baselines=lambda *_: {"chance": chance, "best_possible": 1.0},
    fingerprint=fingerprint(name=name, sizes=sizes, **options),
    description=description,
    token_names=token_names,
    label_names=label_names,
  )
