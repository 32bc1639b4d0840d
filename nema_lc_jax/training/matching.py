"""Sizes of encoders without slots that match the memory model."""

import math

import jax
from ml_collections import ConfigDict

from nema_lc_jax import models
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.training.experiment import model_fields, num_parameters
from nema_lc_jax.training.task import TaskSpec

# Allowed relative difference in the number of parameters, as in Long Range
# Arena.
TOLERANCE = 0.1


def size_of(config: ConfigDict, task: TaskSpec, **changes) -> int:
  """Number of parameters of a config's model.

  Args:
    config: with the fields of configs/default.py.
    task: of its data.
    **changes: replace fields of `models.ModelConfig`.
  """
  model = models.build_model(**model_fields(config, task) | changes)
  return num_parameters(jax.eval_shape(model.init, jax.random.key(0)))


def matched_ratio(
  config: ConfigDict, task: TaskSpec, *, encoder: str, policy: str
) -> float:
  """The `mlp_ratio` at which an encoder has the size of the memory model.

  Args:
    config: of the memory model.
    task: of its data.
    encoder: one of `models.BASELINES`.
    policy: of the memory model.

  Raises:
    ConfigError: in one line, if no ratio is within `TOLERANCE`.
  """
  width = config.model.width
  # Rounded up, since models round the product down.
  ratio = lambda hidden: math.ceil(1e4 * hidden / width) / 1e4
  size = lambda hidden: size_of(
    config, task, encoder=encoder, mlp_ratio=ratio(hidden)
  )
  wanted = size_of(config, task, encoder="memory", policy=policy)
  # The size is linear in the number of hidden units.
  least, more = size(width), size(2 * width)
  hidden = width
  if more > least:
    hidden += round((wanted - least) * width / (more - least))
  hidden = max(hidden, 1)
  nearest = size(hidden)
  if abs(nearest - wanted) > TOLERANCE * wanted:
    raise ConfigError(
      f"--encoders: {encoder!r} has {nearest:,} parameters at the nearest size;"
      f" the memory model with policy {policy!r} has {wanted:,}, more than"
      f" {TOLERANCE:.0%} apart; change config.model.width or its layers."
    )
  return ratio(hidden)
