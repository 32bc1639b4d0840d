"""From a config to what it describes: data, model, schedules, stages.

The only place that reads a ConfigDict; every mistake in it is found here,
before anything is computed.
"""

import dataclasses
import functools
import json

import grain
import jax
import ml_collections
import optax

from nema_lc_jax import data, distributed, models
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.optimizer import learning_rate_schedule, make_optimizer
from nema_lc_jax.sharding import Parallel, make_parallel, require_divisible
from nema_lc_jax.step import Trainer, TrainState

SAVE_ERRORS = ("stop", "go_on")
LOSSES = ("write", "forget", "stability")
# Fields of config.train that no compiled program depends on.
NO_PROGRAM = (
  "learning_rate", "curriculum", "log_every", "eval_every", "checkpoint_every",
  "on_save_error",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of the run with one text length and one number of slots."""

  start: int  # first step
  stop: int  # one after the last step
  length: int
  num_slots: int


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A run, ready to be trained or evaluated."""

  config: ml_collections.ConfigDict
  dataset: data.Dataset | None
  model: models.Model
  trainer: Trainer
  parallel: Parallel
  stages: tuple[Stage, ...]


def _stages(config: ml_collections.ConfigDict) -> tuple[Stage, ...]:
  """The curriculum; its last stage is data.length and memory.num_slots."""
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


def _loss_weights(config: ml_collections.ConfigDict):
  """The forget loss counts from the beginning, the others after `start`.

  Before reading is learned, forgetting everything looks good; writing little
  does not until much is written.
  """
  steps = config.train.steps
  begin = round(config.loss.start * steps)
  ramp = max(round(config.loss.ramp * steps), 1)
  late = lambda weight: optax.linear_schedule(0.0, weight, ramp, begin)
  schedules = {name: late(config.loss[name]) for name in LOSSES}
  schedules["forget"] = optax.constant_schedule(config.loss.forget)
  return {f"{name}_loss": schedule for name, schedule in schedules.items()}


def _require(config: ml_collections.ConfigDict) -> None:
  train = config.train
  for name, least in {
    "steps": 1, "log_every": 1, "eval_every": 1, "checkpoint_every": 1,
    "max_skipped": 0,
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
  for times in config.eval.lengths:
    if not isinstance(times, int) or times < 1:
      raise ConfigError(
        f"config.eval.lengths must be whole numbers from 1, got {times!r}."
      )
  if config.eval.examples < 1:
    raise ConfigError(
      f"config.eval.examples must be at least 1, got {config.eval.examples}."
    )
  if config.pretrain.steps < 0:
    raise ConfigError(
      f"config.pretrain.steps must be at least 0, got {config.pretrain.steps}."
    )
  if config.seed < 0:
    raise ConfigError(f"config.seed must be at least 0, got {config.seed}.")
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


def _check_lengths(
  stages: tuple[Stage, ...], config: ml_collections.ConfigDict
) -> None:
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


@dataclasses.dataclass(frozen=True)
class Interface:
  """What a model and its data must agree on."""

  head: str
  vocab_size: int
  num_classes: int

  def check(self, dataset: data.Dataset) -> None:
    """Raises ConfigError unless a model with this can read the data set."""
    if dataset.head != self.head:
      raise ConfigError(
        f"data set {dataset.name!r} is for the head {dataset.head!r}, the"
        f" model has {self.head!r}."
      )
    for name in ("vocab_size", "num_classes"):
      here, there = getattr(self, name), getattr(dataset, name)
      if there > here:
        raise ConfigError(
          f"data set {dataset.name!r} has {name} {there}, the model {here}."
        )


def interface_of(dataset: data.Dataset) -> Interface:
  """What a model for this data set must have."""
  return Interface(dataset.head, dataset.vocab_size, dataset.num_classes)


def load_data(config: ml_collections.ConfigDict) -> data.Dataset:
  """The data set of a config; preparing it may take a while.

  Where --config.data.name chooses other data than the config was written for,
  the options of the config's own data set mean nothing and are left out.
  """
  options = {"seed": config.seed} | config.data.to_dict()
  accepted = data.options_of(config.data.name) | {"name"}
  elsewhere = set().union(*(data.options_of(name) for name in data.NAMES))
  return data.load(
    **{k: v for k, v in options.items() if k in accepted or k not in elsewhere}
  )


def make_experiment(
  config: ml_collections.ConfigDict, interface: Interface | None = None
) -> Experiment:
  """Everything that a config describes.

  Args:
    config: as configs/default.py makes it.
    interface: of a trained model that is to read other data than it was
      trained on; by default the data set's own.

  Raises:
    ValueError: in one line, on anything that cannot be.
  """
  stages = _checked_stages(config)
  dataset = load_data(config)
  interface = interface or interface_of(dataset)
  interface.check(dataset)
  return _assemble(config, stages, dataset, interface)


def model_fields(
  config: ml_collections.ConfigDict, interface: Interface
) -> dict[str, object]:
  """The fields of a config's model, as `models.build_model` takes them."""
  return (
    dataclasses.asdict(interface) | dict(config.model) | dict(config.memory)
  )


def make_reader(
  config: ml_collections.ConfigDict, interface: Interface
) -> Experiment:
  """A trained model without its data (None), to read something else.

  Its parameters are whole, however they were sharded in training.

  Raises:
    ValueError: in one line, on a config that cannot be.
  """
  config = config.copy_and_resolve_references()
  config.train.fsdp = 1
  return _assemble(config, (), None, interface)


def make_pretraining(experiment: Experiment) -> Experiment:
  """The self-supervised training that goes before, as `config.pretrain` says.

  The same model but for its head, on the same texts at their full length.

  Raises:
    ValueError: in one line, on anything that cannot be.
  """
  config = experiment.config.copy_and_resolve_references()
  own = config.pretrain
  config.train.steps = own.steps
  config.train.learning_rate = own.learning_rate
  config.train.curriculum = ()
  dataset = data.cloze(
    experiment.dataset,
    own.objective,
    mask_rate=own.mask_rate,
    seed=config.seed,
  )
  stages = _checked_stages(config)
  return _assemble(config, stages, dataset, interface_of(dataset))


def carry_over(pretrained: Params, params: Params) -> Params:
  """`params` of the task's model, all but its head as they were pretrained."""
  return pretrained | {"head": params["head"]}


def _checked_stages(config: ml_collections.ConfigDict) -> tuple[Stage, ...]:
  _require(config)
  require_divisible("batch_size", config.train.batch_size)
  require_divisible("eval_batch_size", config.train.eval_batch_size)
  stages = _stages(config)
  if config.model.chunk_length >= 1:
    _check_lengths(stages, config)
  return stages


def _assemble(
  config: ml_collections.ConfigDict,
  stages: tuple[Stage, ...],
  dataset: data.Dataset | None,
  interface: Interface,
) -> Experiment:
  trainer, parallel = machinery(config, interface)
  return Experiment(config, dataset, trainer.model, trainer, parallel, stages)


def machinery(
  config: ml_collections.ConfigDict, interface: Interface
) -> tuple[Trainer, Parallel]:
  """What computes a config's steps, whatever data it is given.

  Raises:
    ValueError: in one line, on a model that cannot be.
  """
  programs = {name: config[name] for name in ("model", "memory", "loss")}
  programs["train"] = {
    k: v for k, v in config.train.items() if k not in NO_PROGRAM
  }
  return _machinery(interface, ml_collections.ConfigDict(programs).to_json())


# A process that runs many seeds, as a sweep's does, traces and compiles once.
@functools.lru_cache(maxsize=16)
def _machinery(interface: Interface, fields: str) -> tuple[Trainer, Parallel]:
  """What computes, from the config's fields (JSON) that it depends on."""
  config = ml_collections.ConfigDict(json.loads(fields))
  train = config.train
  schedule = learning_rate_schedule(
    steps=train.steps,
    warmup_steps=min(train.warmup_steps, train.steps),
    schedule=train.schedule,
  )
  trainer = Trainer(
    model=models.build_model(**model_fields(config, interface)),
    tx=make_optimizer(
      weight_decay=train.weight_decay,
      clip_norm=train.clip_norm,
      policy_factor=train.policy_lr_factor,
    ),
    schedule=schedule,
    loss_weights=_loss_weights(config),
    budget=config.memory.budget,
  )
  return trainer, make_parallel(
    trainer,
    kind=train.parallel,
    fsdp=train.get("fsdp", 1),  # Older runs have no such field.
  )


def training_data(
  experiment: Experiment, stage: Stage
) -> grain.DatasetIterator:
  """This process's rows of a stage's batches; each stage has its own order."""
  return data.train_iterator(
    experiment.dataset,
    batch_size=experiment.config.train.batch_size,
    seed=experiment.config.seed + experiment.stages.index(stage),
    length=stage.length,
    shard=distributed.shard(),
  )


def contestant(config: ml_collections.ConfigDict) -> str:
  """What a run is compared as: its policy; without slots, its encoder."""
  model, memory = config.model, config.memory
  return memory.policy if model.encoder == "memory" else model.encoder


def num_parameters(params: Params) -> int:
  """How many numbers a model learns; abstract arrays will do."""
  return sum(x.size for x in jax.tree.leaves(params))


def describe(experiment: Experiment, workdir: str) -> list[str]:
  """The first lines of a run: what, on which data, where, how large."""
  c, d = experiment.config, experiment.dataset
  size = num_parameters(state_template(experiment).params)
  devices = jax.devices()
  memory = {
    "memory": f"policy {c.memory.policy}, {c.memory.num_slots} slots, budget"
    f" {c.memory.budget} operations per chunk,"
    f" {c.memory.num_candidates} candidates",
    "recurrent": f"{c.memory.num_slots} recurrent tokens",
  }.get(c.model.encoder, f"none ({c.model.encoder} encoder)")
  stages = "; ".join(
    f"from step {s.start}: length {s.length}, {s.num_slots} slots"
    for s in experiment.stages
  )
  sizes = ", ".join(f"{k} {v:,}" for k, v in d.num_examples.items())
  return [
    f"task     {d.name} ({d.head}): {d.description}",
    f"data     {sizes}; length {c.data.length},"
    f" fingerprint {d.fingerprint[:12]}",
    f"memory   {memory}",
    f"model    {size:,} parameters, width"
    f" {c.model.width}, chunks of {c.model.chunk_length}, {c.model.dtype}",
    f"training {c.train.steps} steps of {c.train.batch_size}, learning rate"
    f" {c.train.learning_rate:g}, seed {c.seed} ({stages})",
    f"devices  {len(devices)} x {devices[0].device_kind} by {c.train.parallel},"
    f" processes: {jax.process_count()}",
    f"results  {workdir}",
  ]


def state_template(experiment: Experiment) -> TrainState:
  """The abstract TrainState with its sharding, for restoring checkpoints."""
  return experiment.parallel.template
