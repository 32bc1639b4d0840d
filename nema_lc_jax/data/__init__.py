"""Data sets as NumPy batches; nothing here imports JAX or TensorFlow.

dataset = load("recall", length=192, seed=0)
batches = train_iterator(dataset, batch_size=32, seed=0, length=192)
for batch in eval_batches(dataset, "test", batch_size=64, length=192): ...
"""

from nema_lc_jax.data.names import renumbered
from nema_lc_jax.data.pipeline import eval_batches, train_iterator
from nema_lc_jax.data.registry import (
  NAMES,
  PLACES,
  load,
  names_with,
  options_of,
)
from nema_lc_jax.data.text.file import Measures, measure
from nema_lc_jax.data.text.language_modelling import language_modelling
from nema_lc_jax.data.types import (
  ALL,
  SPLITS,
  DataError,
  Dataset,
  Example,
  Examples,
)

__all__ = [
  "ALL",
  "NAMES",
  "PLACES",
  "SPLITS",
  "DataError",
  "Dataset",
  "Example",
  "Examples",
  "Measures",
  "eval_batches",
  "language_modelling",
  "load",
  "measure",
  "names_with",
  "options_of",
  "renumbered",
  "train_iterator",
]
