"""The parts of a training step, and how its time depends on settings."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from nema_lc_jax import data
from nema_lc_jax.benchmark.machine import Ceilings, cost
from nema_lc_jax.benchmark.measure import Program, alternate
from nema_lc_jax.benchmark.models import (
  Limits,
  config_of,
  first_state,
  fit,
  training_program,
)
from nema_lc_jax.data.pipeline import READ_OPTIONS
from nema_lc_jax.memory import init_state, scan_chunks
from nema_lc_jax.models import ModelConfig
from nema_lc_jax.models import encoder as enc
from nema_lc_jax.models.memory_layer import chunks_of, slot_policies
from nema_lc_jax.models.pure import apply, init
from nema_lc_jax.training.experiment import build_steps, load_data, model_fields
from nema_lc_jax.training.task import TaskSpec

# Factors of the config's values; one setting is changed at a time.
AROUND = {
  "memory.num_slots": (0.25, 4),
  "memory.num_candidates": (0.5, 2),
  "memory.budget": (0.5, 2),
  "model.chunk_length": (0.5, 2),
}
AROUND_QUICK = {"memory.num_slots": (0.25,)}


def scan_program(
  config: ConfigDict, task: TaskSpec, *, batch: int, length: int
) -> Program:
  """The memory's steps alone, forward and backward.

  Queries and candidates are inputs with gradients, so the projections that
  make them are not included.
  """
  c = ModelConfig(**model_fields(config, task))
  T, D, K = c.chunk_length, c.width, c.num_candidates
  N = length // T
  policy, M = slot_policies(c).for_training(N, c.num_slots)

  def one(params, query, content, key):
    valid, bias = jnp.ones((N, T), bool), jnp.full(N, 0.3)
    chunks = chunks_of(query, content, bias, valid, None)
    state = init_state(num_slots=M, width=D)
    _, out = scan_chunks(
      params,
      key,
      state,
      chunks,
      policy=policy,
      budget=c.budget,
      train=True,
      remat=c.remat_steps,
      bptt_chunks=c.bptt_chunks,
    )
    return out.read

  def loss(learned, keys, weights):
    read = jax.vmap(one, (None, 0, 0, 0))(*learned, keys)
    # Weighted, so that the gradient is not constant.
    return (read * weights).sum()

  def make_args():
    keys = jax.random.split(jax.random.key(0), 4)
    normal = lambda key, *shape: jax.random.normal(key, (batch, *shape))
    params = policy.init(keys[0], num_slots=M, num_candidates=K)
    query = normal(keys[1], N, T, D) * c.query_norm * D**-0.5
    learned = params, query, normal(keys[2], N, K, D)
    return learned, jax.random.split(keys[3], batch), normal(keys[3], N, T, D)

  return Program(jax.grad(loss), jax.jit(make_args))


def head_program(
  config: ConfigDict, task: TaskSpec, *, batch: int, length: int
) -> Program:
  """Mean pooling over tokens and the head, forward and backward."""
  D = config.model.width
  head = enc.Head(task.num_classes, hidden=2 * D)
  labels = jnp.zeros(batch, jnp.int32)

  def loss(learned):
    params, x = learned
    pool = functools.partial(enc.mean_pool, weights=jnp.ones((1, length)))
    logits = apply(head, params, jax.vmap(pool)(x))
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, labels
    ).mean()

  def make_args():
    params = init(head, jax.random.key(0), jnp.zeros(D))
    return ((params, jnp.ones((batch, 1, length, D))),)

  return Program(jax.grad(loss), jax.jit(make_args))


def optimizer_program(config: ConfigDict, task: TaskSpec) -> Program:
  """The optimizer's update of all parameters."""
  spec = build_steps(config, task).spec

  def update(state, params, grads):
    directions, state = spec.tx.update(grads, state, params)
    return state, optax.apply_updates(params, directions)

  def make_args():
    state = first_state(config, task)
    return state.opt_state, state.params, state.params

  return Program(update, make_args, carry=True)


def input_samples(config: ConfigDict, *, rounds: int) -> list[float]:
  """Seconds to make a batch of the config's own data set.

  The pipeline runs alone here; in a run it works in parallel with the step.

  Raises:
    ValueError, OSError: if the data set cannot be loaded.
  """
  dataset = load_data(config)
  batches = data.train_iterator(
    dataset,
    batch_size=config.train.batch_size,
    seed=config.seed,
    length=config.data.length,
  )
  queue = READ_OPTIONS.prefetch_buffer_size
  for _ in range(2 * queue):  # Skip batches that were prefetched untimed.
    next(batches)
  samples = []
  for _ in range(rounds):
    began = time.perf_counter()
    for _ in range(2 * queue):
      next(batches)
    samples.append((time.perf_counter() - began) / (2 * queue))
  return samples


def _fit_memory(config: ConfigDict, task: TaskSpec, limits: Limits):
  """Fits the memory model's training step at the config's length (`fit`)."""
  length = config.data.length
  return fit(
    lambda rows: training_program(config, task, batch=rows, length=length),
    batch=config.train.batch_size,
    limit=limits.bytes,
  )


@dataclasses.dataclass
class Breakdown:
  """Parts of one training step, seconds per step or batch in each round."""

  batch: int
  length: int
  samples: dict[str, list[float]]
  skipped: dict[str, str]  # why a part was not measured, by part
  # Work of each part in a step, and its share of the machine's peak.
  costs: dict[str, dict[str, float]]


def breakdown(
  config: ConfigDict,
  task: TaskSpec,
  limits: Limits,
  ceilings: Ceilings,
) -> Breakdown | None:
  """Times the parts of the training step; None if the step does not fit."""
  memory, batch, _ = _fit_memory(config, task, limits)
  if memory is None:
    return None
  length = config.data.length
  encoder = config_of(config, task, "encoder")
  size = {"batch": batch, "length": length}
  programs = {
    "memory": memory,
    "encoder": training_program(encoder, task, **size),
    "scan": scan_program(config, task, **size),
    "head": head_program(config, task, **size),
    "optimizer": optimizer_program(config, task),
  }
  for name, program in programs.items():
    if name != "memory":
      program.start()
  samples = alternate(programs, rounds=limits.rounds, seconds=limits.seconds)
  skipped = {}
  try:
    samples["input"] = input_samples(config, rounds=limits.rounds)
  except (ValueError, OSError) as error:
    skipped["input"] = " ".join(str(error).split())
  costs = {}
  for name in ("memory", "encoder", "scan"):
    found, seconds = cost(programs[name]), min(samples[name])
    costs[name] = found._asdict() | {
      "flops_share": found.flops / seconds / ceilings.flops,
      "bytes_share": found.bytes / seconds / ceilings.bytes,
    }
  return Breakdown(batch, length, samples, skipped, costs)


@dataclasses.dataclass
class Sensitivity:
  """One setting, and the seconds of its programs in each round."""

  field: str  # "" for the config as it is
  value: int | None
  samples: dict[str, list[float]]  # memory, encoder, scan


def settings(
  config: ConfigDict, around: Mapping[str, Sequence[float]]
) -> list[tuple[str, int | None, ConfigDict]]:
  """The unchanged config, and variants with one field changed."""
  found: list[tuple[str, int | None, ConfigDict]] = [("", None, config)]
  for path, factors in around.items():
    section, field = path.split(".")
    own = config[section][field]
    for value in dict.fromkeys(max(1, int(own * f)) for f in factors):
      changed = config.copy_and_resolve_references()
      changed[section][field] = value
      covered = changed.data.length % changed.model.chunk_length == 0
      if value != own and covered:
        found.append((path, value, changed))
  return found


def sensitivity(
  config: ConfigDict,
  task: TaskSpec,
  limits: Limits,
  *,
  around: Mapping[str, Sequence[float]],
  log: Callable[[str], None],
) -> list[Sensitivity]:
  """Times the memory model and its encoder under changed memory settings.

  Empty if the memory model's training step does not fit.
  """
  fitting, batch, _ = _fit_memory(config, task, limits)
  if fitting is None:
    return []
  size = {"batch": batch, "length": config.data.length}
  programs: dict[tuple, Program] = {}
  rows = settings(config, around)
  for path, value, changed in rows:
    name, T = (path, value), changed.model.chunk_length
    programs["memory", name] = training_program(changed, task, **size)
    programs["scan", name] = scan_program(changed, task, **size)
    if ("encoder", T) not in programs:
      encoder = config_of(changed, task, "encoder")
      programs["encoder", T] = training_program(encoder, task, **size)
    log(f"compiled {path or 'as configured'} {value or ''}".rstrip())
  for program in programs.values():
    program.start()
  samples = alternate(programs, rounds=limits.rounds, seconds=limits.seconds)
  return [
    Sensitivity(
      path,
      value,
      {
        "memory": samples["memory", (path, value)],
        "encoder": samples["encoder", changed.model.chunk_length],
        "scan": samples["scan", (path, value)],
      },
    )
    for path, value, changed in rows
  ]
