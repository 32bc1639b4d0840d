"""Builds data, model, compiled steps and stages from a config.

All mistakes in a config raise here, before any training.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import grain
import jax
import optax
from ml_collections import ConfigDict

from nema_lc_jax import data, models
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.training import capacity, distributed
from nema_lc_jax.training.checks import LOSSES, Stage, checked_stages
from nema_lc_jax.training.optimizer import (
  learning_rate_schedule,
  make_optimizer,
)
from nema_lc_jax.training.sharding import CompiledSteps
from nema_lc_jax.training.steps import Carried, TrainSpec, TrainState
from nema_lc_jax.training.task import SIZES, TaskSpec, task_spec

# Fields of config.train on which no compiled program depends.
NO_PROGRAM = (
  "learning_rate", "curriculum", "log_every", "eval_every", "checkpoint_every",
  "on_save_error", "init_from", "buckets",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that a config describes: data, model, steps and stages."""

  config: ConfigDict
  dataset: data.Dataset | None  # None: a model without data
  steps: CompiledSteps
  stages: tuple[Stage, ...]
  task: TaskSpec  # of the model; the data set's may have fewer classes

  @property
  def model(self) -> models.Model:
    """The model, as pure functions."""
    return self.steps.spec.model

  @property
  def has_memory(self) -> bool:
    """Whether the model has slots."""
    return self.config.model.encoder == "memory"

  @property
  def learns_policy(self) -> bool:
    """Whether the memory's policy has parameters."""
    params = self.steps.template.params
    return self.has_memory and bool(jax.tree.leaves(params["policy"]))

  def baselines(self, split: str) -> dict[str, float]:
    """Accuracies on a split that need no model, at data.length."""
    length, slots = self.config.data.length, self.config.memory.num_slots
    found = self.dataset.baselines(split, length)
    if self.has_memory:
      found = found | self.dataset.limits(split, length, slots)
    return found

  @property
  def settled_after(self) -> int:
    """A step from which on a memory should be in use.

    Half of the training, the curriculum and the ramp of the losses are over.
    """
    c = self.config
    ramp = round((c.loss.start + c.loss.ramp) * c.train.steps)
    return max(c.train.steps // 2, self.stages[-1].start, ramp)

  def stage_at(self, step: int) -> Stage:
    """The stage of step number `step`, counted from 0."""
    return next((s for s in self.stages if step < s.stop), self.stages[-1])

  def batches(self, stage: Stage) -> grain.DatasetIterator:
    """This process's rows of a stage's batches; the order differs by stage."""
    return data.train_iterator(
      self.dataset,
      batch_size=self.config.train.batch_size,
      # After the largest seed comes 0, so that each is allowed.
      seed=(self.config.seed + self.stages.index(stage)) % 2**32,
      length=stage.length,
      shard=distributed.shard(),
      streams=self.steps.spec.carried is not None,
      buckets=self.buckets(stage.length),
    )

  def buckets(self, length: int) -> tuple[int, ...]:
    """The lengths of batches of texts that are shorter than `length`."""
    # Older runs have no such field.
    return tuple(b for b in self.config.train.get("buckets", ()) if b < length)

  def train_step(self, stage: Stage) -> Callable:
    """(state, batch) -> (state, metrics), compiled for a stage."""
    # Without slots all stages share one program.
    return self.steps.train_step(stage.num_slots if self.has_memory else None)

  def init(self) -> TrainState:
    """The state before the first step."""
    return self.steps.init(self.config.seed, self.config.train.learning_rate)


def _loss_weights(config: ConfigDict):
  """Schedules of the weights: forget from step 0, the others after `start`.

  Until reads are learned, forgetting everything costs no accuracy, so the
  forget loss must act from the beginning. A write loss that early would shut
  the write gate.
  """
  steps = config.train.steps
  begin = round(config.loss.start * steps)
  ramp = max(round(config.loss.ramp * steps), 1)
  delayed = lambda weight: optax.linear_schedule(0.0, weight, ramp, begin)
  schedules = {name: delayed(config.loss[name]) for name in LOSSES}
  schedules["forget"] = optax.constant_schedule(config.loss.forget)
  return {f"{name}_loss": schedule for name, schedule in schedules.items()}


def load_data(config: ConfigDict) -> data.Dataset:
  """Loads the data set of a config; the first time may prepare its files.

  If config.data.name names another data set than the config was written for,
  the options that only the original data set has are dropped. `dir` and `path`
  are not: see `given.settle`.
  """
  options = {"seed": config.seed} | config.data.to_dict()
  accepted = data.options_of(config.data.name) | {"name", *data.PLACES}
  elsewhere = set().union(*(data.options_of(name) for name in data.NAMES))
  return data.load(
    **{k: v for k, v in options.items() if k in accepted or k not in elsewhere}
  )


def build(config: ConfigDict) -> tuple[Experiment, Experiment | None]:
  """Builds and checks a run and, if its config has one, its pretraining.

  Raises:
    ValueError: in one line, on an invalid config.
  """
  if config.pretrain.steps and config.train.get("init_from") is not None:
    raise ConfigError(
      "config.train.init_from starts from another run's parameters, and"
      f" config.pretrain.steps={config.pretrain.steps} from pretrained ones:"
      " choose one."
    )
  experiment = make_experiment(config)
  pretraining = make_pretraining(experiment) if config.pretrain.steps else None
  for part in filter(None, (pretraining, experiment)):
    for stage in part.stages:
      # Errors of a later stage are raised now, not after an hour of training.
      part.batches(stage)
    needed = capacity.of_training(
      part.config, part.dataset, part.stages, part.steps.template
    )
    capacity.require_fits(needed, part.dataset)
  return experiment, pretraining


def make_experiment(
  config: ConfigDict, task: TaskSpec | None = None
) -> Experiment:
  """Builds everything that a config describes.

  Args:
    config: with the fields of configs/default.py.
    task: the spec of a trained model that is to read other data than it was
      trained on; by default the data set's own.

  Raises:
    ValueError: in one line, on an invalid config.
  """
  stages = checked_stages(config)
  dataset = load_data(config)
  task = task or task_spec(dataset)
  dataset = task.fit(dataset)
  size = dataset.sentence_length
  if size not in (0, config.model.chunk_length):
    raise ConfigError(
      f"config.model.chunk_length={config.model.chunk_length} must be the"
      f" sentence_length of data set {dataset.name!r}, {size}."
    )
  if config.train.get("carry") and dataset.head == "match":
    raise ConfigError(
      f"config.train.carry={config.train.carry} must be 0 for pairs of texts,"
      f" which data set {dataset.name!r} has: each starts with an empty memory."
    )
  experiment = _assemble(config, stages, dataset, task)
  capacity.require_fits(
    capacity.of_params(experiment.steps.template)
    | capacity.of_evaluation(config, dataset),
    dataset,
  )
  return experiment


def model_fields(config: ConfigDict, task: TaskSpec) -> dict[str, object]:
  """The arguments of `models.build_model` for a config."""
  sizes = {name: getattr(task, name) for name in SIZES}
  return sizes | dict(config.model) | dict(config.memory)


def under_fifo(
  experiment: Experiment, params: Params
) -> tuple[Experiment, Params]:
  """A model with slots, and its parameters, under the policy fifo.

  Candidates are written at full strength, as many as the budget allows, each
  in place of the oldest item.
  """
  config = experiment.config.copy_and_resolve_references()
  config.memory.policy = "fifo"
  steps = build_steps(config, experiment.task)
  under = dataclasses.replace(experiment, config=config, steps=steps)
  return under, params | {"policy": ()}


def make_reader(
  config: ConfigDict, task: TaskSpec, state: Any = ()
) -> Experiment:
  """Builds a trained model without its data set, for other input.

  Its parameters are not sharded, even if they were in training.

  Args:
    config: with the fields of configs/default.py.
    task: the spec of the trained model.
    state: abstract arrays that are to fit in memory, too.

  Raises:
    ValueError: in one line, on an invalid config.
  """
  config = config.copy_and_resolve_references()
  config.train.fsdp = 1
  experiment = _assemble(config, (), None, task)
  capacity.require_fits(
    capacity.of_params(experiment.steps.template)
    | capacity.held({"state": state}),
    None,
  )
  return experiment


def make_pretraining(experiment: Experiment) -> Experiment:
  """Builds the self-supervised training that precedes a run.

  It trains the same model with another head, on the same texts at their full
  length, with the options of `config.pretrain`.

  Raises:
    ValueError: in one line, on an invalid config.
  """
  config = experiment.config.copy_and_resolve_references()
  options = config.pretrain
  config.train.steps = options.steps
  config.train.learning_rate = options.learning_rate
  config.train.curriculum = ()
  config.train.carry = 0.0
  dataset = data.language_modelling(
    experiment.dataset,
    options.objective,
    mask_rate=options.mask_rate,
    seed=config.seed,
  )
  stages = checked_stages(config)
  return _assemble(config, stages, dataset, task_spec(dataset))


def with_pretrained(pretrained: Params, params: Params) -> Params:
  """The pretrained parameters with the head of `params`."""
  return pretrained | {"head": params["head"]}


def _assemble(
  config: ConfigDict,
  stages: tuple[Stage, ...],
  dataset: data.Dataset | None,
  task: TaskSpec,
) -> Experiment:
  return Experiment(config, dataset, build_steps(config, task), stages, task)


def build_steps(config: ConfigDict, task: TaskSpec) -> CompiledSteps:
  """The steps of a config's model, compiled on first use.

  Configs that differ only in data, seed or learning rate share them.

  Raises:
    ValueError: in one line, on an invalid model.
  """
  programs = {name: config[name] for name in ("model", "memory", "loss")}
  programs["task"] = {name: getattr(task, name) for name in SIZES}
  programs["train"] = {
    k: v for k, v in config.train.items() if k not in NO_PROGRAM
  }
  programs["most_slots"] = most_slots(config)
  return _build_steps(ConfigDict(programs).to_json())


def most_slots(config: ConfigDict) -> int | None:
  """The slots of a carried memory, enough for each stage; None: not carried."""
  train, memory = config.train, config.memory
  # Older runs have no such field.
  if not train.get("carry") or config.model.encoder != "memory":
    return None
  stages = (memory.num_slots, *(slots for _, _, slots in train.curriculum))
  return max(stages) + memory.overprovisioned_slots


# A process that runs many seeds, such as a sweep, compiles once.
@functools.lru_cache(maxsize=16)
def _build_steps(fields: str) -> CompiledSteps:
  """`build_steps` from the JSON of the fields on which programs depend."""
  config = ConfigDict(json.loads(fields))
  train = config.train
  schedule = learning_rate_schedule(
    steps=train.steps,
    warmup_steps=min(train.warmup_steps, train.steps),
    schedule=train.schedule,
  )
  spec = TrainSpec(
    model=models.build_model(**model_fields(config, TaskSpec(**config.task))),
    tx=make_optimizer(
      weight_decay=train.weight_decay,
      clip_norm=train.clip_norm,
      policy_factor=train.policy_lr_factor,
    ),
    schedule=schedule,
    loss_weights=_loss_weights(config),
    budget=config.memory.budget,
    carried=config.most_slots
    and Carried(
      train.batch_size, config.most_slots, config.model.width, train.carry
    ),
  )
  return CompiledSteps(
    spec,
    kind=train.parallel,
    fsdp=train.get("fsdp", 1),  # Older runs have no such field.
  )


def num_parameters(params: Params) -> int:
  """The number of parameters; the arrays may be abstract."""
  return sum(x.size for x in jax.tree.leaves(params))
