"""Texts for token ids and labels on the page of an example."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nema_lc_jax.data import Dataset
from nema_lc_jax.data.byte_text import decode


class Names(NamedTuple):
  """Functions from the tokens and labels of a data set to text."""

  # Takes ids [T] of valid tokens.
  text: Callable[[np.ndarray], str]
  label: Callable[[int], str]


def names_of(dataset: Dataset) -> Names:
  """The names of a data set's tokens and labels, or else numbers."""
  tokens, labels = dataset.token_names, dataset.label_names
  # A model may have more classes than the data set has labels.
  label = lambda i: labels[i] if i < len(labels) else str(i)
  if dataset.byte_level:
    return Names(decode, label)
  name = tokens.__getitem__ if tokens else str
  return Names(lambda ids: " ".join(map(name, ids)), label)
