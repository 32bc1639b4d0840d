"""Encoders without slots at the size of the memory model."""

import math

import jax
from ml_collections import ConfigDict

from nema_lc_jax import models
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.training.experiment import (
  TaskSpec,
  model_fields,
  num_parameters,
)

# How far the number of parameters may be from the memory model's, as a share
# of it: what Long Range Arena allows.
TOLERANCE = 0.1


def size_of(config: ConfigDict, task: TaskSpec, **changes) -> int:
  """Number of parameters of a config's model.

  Args:
    config: as configs/default.py makes it.
    task: of its data.
    **changes: fields of `models.ModelConfig` in place of the config's.
  """
  model = models.build_model(**model_fields(config, task) | changes)
  return num_parameters(jax.eval_shape(model.init, jax.random.key(0)))


def matched_ratio(
  config: ConfigDict, task: TaskSpec, *, encoder: str, policy: str
) -> float:
  """The `mlp_ratio` that gives an encoder the size of the memory model.

  All else is as in the config.

  Args:
    config: of the memory model.
    task: of its data.
    encoder: one of `models.BASELINES`.
    policy: of the memory model.

  Raises:
    ConfigError: in one line, where no ratio comes within `TOLERANCE`.
  """
  width = config.model.width
  # Rounded up, since models round the product down.
  ratio = lambda hidden: math.ceil(1e4 * hidden / width) / 1e4
  size = lambda hidden: size_of(
    config, task, encoder=encoder, mlp_ratio=ratio(hidden)
  )
  wanted = size_of(config, task, encoder="memory", policy=policy)
  # Sizes grow by as much with every hidden unit.
  least, more = size(width), size(2 * width)
  hidden = width
  if more > least:
    hidden += round((wanted - least) * width / (more - least))
  hidden = max(hidden, 1)
  found = size(hidden)
  if abs(found - wanted) > TOLERANCE * wanted:
    raise ConfigError(
      f"--encoders: {encoder!r} has {found:,} parameters at the nearest, the"
      f" memory model with policy {policy!r} {wanted:,}: more than"
      f" {TOLERANCE:.0%} apart; change config.model.width or its layers."
    )
  return ratio(hidden)
