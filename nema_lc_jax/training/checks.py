"""Checks of a config's numbers, and the stages of its curriculum."""

import dataclasses

import jax
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError

SAVE_ERRORS = ("stop", "continue")

LOSSES = ("write", "forget", "stability")


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
      until = float(until)
      if (length, num_slots) != (int(length), int(num_slots)):
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
      stages.append(Stage(start, stop, int(length), int(num_slots)))
    start, before = stop, until
  return tuple(stages)


def _require(config: ConfigDict) -> None:
  train = config.train
  for name, least in {
    "steps": 1, "log_every": 1, "eval_every": 1, "checkpoint_every": 1,
    "max_consecutive_nonfinite": 0,
  }.items():  # fmt: skip
    if train[name] < least:
      raise ConfigError(
        f"config.train.{name} must be at least {least}, got {train[name]}."
      )
  if train.on_save_error not in SAVE_ERRORS:
    raise ConfigError(
      f"config.train.on_save_error={train.on_save_error!r} is unknown; known:"
      f" {', '.join(SAVE_ERRORS)}."
    )
  for times in config.eval.length_multipliers:
    if not isinstance(times, int) or times < 1:
      raise ConfigError(
        "config.eval.length_multipliers must be whole numbers from 1, got"
        f" {times!r}."
      )
  if config.eval.examples < 1:
    raise ConfigError(
      f"config.eval.examples must be at least 1, got {config.eval.examples}."
    )
  if config.pretrain.steps < 0:
    raise ConfigError(
      f"config.pretrain.steps must be at least 0, got {config.pretrain.steps}."
    )
  if not 0 <= config.seed < 2**32:
    raise ConfigError(
      f"config.seed must be from 0 to {2**32 - 1}, got {config.seed}."
    )
  for name, value in {
    "train.weight_decay": train.weight_decay,
    "train.policy_lr_factor": train.policy_lr_factor,
    **{f"loss.{name}": config.loss[name] for name in (*LOSSES, "ramp")},
  }.items():
    if value < 0:
      raise ConfigError(f"config.{name} must be at least 0, got {value}.")
  for name, value in {
    "train.learning_rate": train.learning_rate,
    "pretrain.learning_rate": config.pretrain.learning_rate,
    "train.clip_norm": train.clip_norm,
  }.items():
    if value <= 0:
      raise ConfigError(f"config.{name} must be above 0, got {value}.")


def _check_lengths(stages: tuple[Stage, ...], config: ConfigDict) -> None:
  for stage in stages:
    if stage.length < 1 or stage.length % config.model.chunk_length:
      raise ConfigError(
        f"length {stage.length} is not covered by chunks: config.data.length"
        " and the curriculum's lengths must be multiples of"
        f" config.model.chunk_length={config.model.chunk_length}."
      )
    if stage.num_slots < 1:
      raise ConfigError(
        "config.memory.num_slots and the curriculum's must be at least 1, got"
        f" {stage.num_slots}."
      )


def require_divisible(name: str, rows: int) -> None:
  """Raises ConfigError unless the devices get equal numbers of rows."""
  devices = jax.device_count()
  if rows < 1 or rows % devices:
    raise ConfigError(
      f"config.train.{name}={rows} must be a positive multiple of the number of"
      f" devices, {devices}."
    )


def checked_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """Checks a config's numbers, and returns its stages.

  Raises:
    ConfigError: in one line, on an invalid number.
  """
  _require(config)
  require_divisible("batch_size", config.train.batch_size)
  require_divisible("eval_batch_size", config.train.eval_batch_size)
  stages = stages_of(config)
  if config.model.chunk_length >= 1:  # Else the model raises.
    _check_lengths(stages, config)
  return stages
