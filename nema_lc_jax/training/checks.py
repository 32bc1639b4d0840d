"""Checks of a config's numbers, and the stages of its curriculum."""

import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.models import ranges
from nema_lc_jax.models.ranges import ANY_REAL, ANY_WHOLE, Range, real, whole
from nema_lc_jax.runs.config_json import field_names, locate

# Fields of several numbers in one range.
TUPLES = (
  "config.eval.length_multipliers",
  "config.train.buckets",
  *(f"config.{path}" for path in ranges.TUPLES),
)
EACH = "a tuple such as (1, 2), each of them "
SAVE_ERRORS = ("stop", "continue")

LOSSES = ("write", "forget", "stability")

# Of all numbers that every config has; those of tuples are their elements'. The
# comments in configs/default.py have the same words.
RANGES = ranges.MODEL | {
  "seed": whole(0, 2**32 - 1),
  "data.length": whole(1),
  "loss.write": real(0),
  "loss.forget": real(0),
  "loss.stability": real(0),
  "loss.start": real(0, 1),
  "loss.ramp": real(0, 1),
  "pretrain.steps": whole(0),
  "pretrain.mask_rate": real(0, 1, above=True),
  "pretrain.learning_rate": real(0, above=True),
  "eval.length_multipliers": whole(1),
  "eval.examples": whole(1),
  "train.steps": whole(1),
  "train.batch_size": whole(1),
  "train.learning_rate": real(0, above=True),
  "train.warmup_steps": whole(0),
  "train.weight_decay": real(0),
  "train.clip_norm": real(0, above=True),
  "train.policy_lr_factor": real(0),
  "train.buckets": whole(1),
  "train.carry": real(0, 1),
  "train.log_every": whole(1),
  "train.eval_every": whole(1),
  "train.checkpoint_every": whole(1),
  "train.eval_batch_size": whole(1),
  "train.max_consecutive_nonfinite": whole(0),
  "train.fsdp": whole(1),
}


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of the run with one text length and one number of slots."""

  start: int  # first step
  stop: int  # one after the last step
  length: int
  num_slots: int


def stages_of(config: ConfigDict) -> tuple[Stage, ...]:
  """The curriculum's stages; the last has data.length and memory.num_slots."""
  steps = config.train.steps
  last = (1.0, config.data.length, config.memory.num_slots)
  stages, start, before = [], 0, 0.0
  for entry in (*config.train.curriculum, last):
    try:
      until, length, num_slots = entry
      shares = until in real(0, 1, above=True)
      if not shares or length not in whole(1) or num_slots not in whole(1):
        raise ValueError
    except (TypeError, ValueError):
      raise ConfigError(
        "config.train.curriculum must hold triples (until this fraction of the"
        f" steps, length, num_slots), got {entry!r}."
      ) from None
    if not before < until <= 1 or (until == 1 and entry != last):
      raise ConfigError(
        "config.train.curriculum must have fractions that rise between 0 and"
        f" 1, got {until} after {before}."
      )
    stop = round(until * steps)
    if stop > start:
      stages.append(Stage(start, stop, length, num_slots))
    start, before = stop, until
  return tuple(stages)


def require_numbers(config: ConfigDict) -> None:
  """Raises ConfigError unless every number of a config is in its range."""
  for path in field_names(config):
    section, last = locate(config, path)
    require_number(path, section[last])


def require_number(path: str, value: Any) -> None:
  """Raises ConfigError unless a field's value, if a number, is in its range.

  The value of a field that has a range of its own must be a number.
  """
  name = path.removeprefix("memory.controller.")
  known = ranges.CONTROLLER if name != path else RANGES
  _require_in_range(f"config.{path}", value, known.get(name))


def _require_in_range(name: str, value: Any, allowed: Range | None) -> None:
  if isinstance(value, tuple | list) and (not allowed or name in TUPLES):
    for element in value:
      _require_in_range(name, element, allowed)
    return
  if allowed is None:
    if isinstance(value, bool) or not isinstance(value, int | float):
      return
    # An option of a data set or a policy, which has a range of its own.
    allowed = ANY_WHOLE if isinstance(value, int) else ANY_REAL
  try:
    allowed.require(name, value, EACH * (name in TUPLES))
  except ValueError as error:
    raise ConfigError(str(error)) from None


def _require_choices(config: ConfigDict) -> None:
  if config.train.on_save_error not in SAVE_ERRORS:
    raise ConfigError(
      f"config.train.on_save_error={config.train.on_save_error!r} is unknown;"
      f" known: {', '.join(SAVE_ERRORS)}."
    )


def _check_lengths(stages: tuple[Stage, ...], config: ConfigDict) -> None:
  for stage in stages:
    if stage.length % config.model.chunk_length:
      raise ConfigError(
        f"length {stage.length} is not covered by chunks: config.data.length"
        " and the curriculum's lengths must be multiples of"
        f" config.model.chunk_length={config.model.chunk_length}."
      )
  # Older runs have no such field.
  buckets = tuple(config.train.get("buckets", ()))
  uneven = [b for b in buckets if b % config.model.chunk_length]
  if uneven or list(buckets) != sorted(set(buckets)):
    raise ConfigError(
      f"config.train.buckets={buckets} must rise and be multiples of"
      f" config.model.chunk_length={config.model.chunk_length}."
    )


def require_divisible(name: str, rows: int) -> None:
  """Raises ConfigError unless the devices get equal numbers of rows."""
  devices = jax.device_count()
  if rows % devices:
    raise ConfigError(
      f"config.train.{name}={rows} must be a positive multiple of the number of"
      f" devices, {devices}."
    )


def checked_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """Checks a config's numbers, and returns its stages.

  Raises:
    ConfigError: in one line, on an invalid number.
  """
  require_numbers(config)
  _require_choices(config)
  require_divisible("batch_size", config.train.batch_size)
  require_divisible("eval_batch_size", config.train.eval_batch_size)
  stages = stages_of(config)
  _check_lengths(stages, config)
  return stages
