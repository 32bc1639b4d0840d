"""Runs one text through a model, and records its memory."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax.data import Dataset, layout
from nema_lc_jax.data import byte_text as texts
from nema_lc_jax.data.layout import question_ids
from nema_lc_jax.data.text import prose
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import (
  FRESH_USAGE,
  MemoryState,
  Params,
  StepOutput,
)
from nema_lc_jax.models.memory_layer import TRUTH_FIELDS, ground_truth_of
from nema_lc_jax.runs import trace
from nema_lc_jax.training.experiment import Experiment

Batch = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Record:
  """The memory of one text by step n and slot m, and the answer.

  For two texts (the head "match"), it is the memory of the first.
  """

  tokens: np.ndarray  # [N, T] ids
  valid: np.ndarray  # [N, T]; False is padding
  # A code of runs.trace.
  operation: np.ndarray  # [N, M]
  # Strength, age and usage after the step; 0 where the slot is free.
  strength: np.ndarray  # [N, M]
  age: np.ndarray  # [N, M]
  usage: np.ndarray  # [N, M]
  # Chunk of the write of the slot's item; -1: free.
  born: np.ndarray  # [N, M]
  # Index of the candidate written in the step; -1: none.
  source: np.ndarray  # [N, M]
  # Index of the candidate that updated the slot in the step; -1: none.
  update_source: np.ndarray  # [N, M]
  # Slots alive before the step; the policy decides only on these.
  alive_before: np.ndarray  # [N, M]
  forgets: np.ndarray  # [N, M]
  # Probabilities of retain, update and forget, in the step.
  action_probs: np.ndarray  # [N, M, 3]
  # Read mass of the slot, mean over the tokens of the chunk.
  attention: np.ndarray  # [N, M]
  # Write strength of each candidate, and whether the candidate is valid.
  write_strength: np.ndarray  # [N, K]
  candidates: np.ndarray  # [N, K]
  # If the task has ground truth: 1 a fact, 2 the queried fact; and the chunk of
  # the fact that this chunk invalidates (-1: none).
  ground_truth: np.ndarray | None  # [N]
  invalidates: np.ndarray | None  # [N]
  # The chunk in which the answer is given, and the label (-1: unknown).
  asked: int
  label: int
  # Read mass of each slot at the answer, or its share in the pool of slots.
  mass: np.ndarray  # [M]
  pooled: bool
  # Probabilities of the answers with slots removed: none, slot 0, slot 1, ...,
  # all.
  removed: np.ndarray  # [M + 2, C]

  @property
  def arrays(self) -> dict[str, np.ndarray]:
    """The recorded arrays by name, without unknown ones."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return {k: np.asarray(v) for k, v in fields.items() if v is not None}

  @property
  def trace(self) -> trace.Trace:
    """The input of `plotting.timeline`."""
    return trace.Trace(
      self.operation, self.strength, self.attention, self.ground_truth
    )


def require_memory(config: ConfigDict) -> None:
  """Raises ConfigError if the model of a config has no memory."""
  if config.model.encoder != "memory":
    raise ConfigError(
      f"a model with config.model.encoder={config.model.encoder!r} has no"
      " memory to inspect."
    )


def example_of(experiment: Experiment, split: str, number: int) -> Batch:
  """Example `number` of a split, as a batch of one.

  Raises:
    ConfigError: if the split has no such example.
  """
  config, dataset = experiment.config, experiment.dataset
  size = dataset.num_examples[split]
  if not 0 <= number < size:
    raise ConfigError(
      f"there is no example {number}: {split} of {dataset.name} has {size},"
      f" from 0 to {size - 1}."
    )
  example = dataset.evaluation(split, config.data.length)[number]
  return {name: np.asarray(value)[None] for name, value in example.items()}


def read_texts(
  experiment: Experiment,
  paths: list[str | Path],
  other: Batch,
  question: str | None = None,
) -> Batch:
  """The texts of files as a batch of one, without a label.

  A file is cut to data.length, and padded to whole chunks; or to data.length
  with a question at its end. With the head "match", the second text is the
  second file, or else that of `other`.

  Raises:
    ConfigError: if the model does not read texts, a file is empty, or there is
      a question for a model that answers none, or none for one that does.
  """
  dataset = experiment.dataset
  if experiment.task.asks != (question is not None):
    raise ConfigError(
      "--question is needed: the run answers questions about documents."
      if question is None
      else f"--question={question!r} has no effect: the run's data have none."
    )
  if not dataset.byte_level and not dataset.sentence_length:
    raise ConfigError(
      "--text needs a model that reads bytes or words; the tokens of"
      f" {dataset.name} are neither."
    )
  most = 2 if dataset.head == "match" else 1
  if len(paths) > most:
    raise ConfigError(
      f"--text takes at most {most} files here, got {len(paths)}."
    )
  longest = experiment.config.data.length
  found = [Path(path).expanduser().read_bytes() for path in paths]
  for path, content in zip(paths, found, strict=True):
    if not content:
      raise ConfigError(f"{path} is empty.")
  if question is not None and not question.strip():
    raise ConfigError("--question is empty.")
  if dataset.sentence_length:
    return _sentences(dataset, found[0], question, longest)
  rows = [texts.encode(content[:longest]) for content in found]
  if question is not None:
    batch = layout.place(rows[0], question_ids(question.encode()), longest)
    return {name: value[None] for name, value in batch.items()}
  if len(rows) < most:
    rows.append(other["inputs2"][0][other["mask2"][0]])
  T = experiment.config.model.chunk_length
  chunks = max(-(-len(row) // T) for row in rows)
  batch = {}
  for row, suffix in zip(rows, ("", "2"), strict=False):
    batch |= texts.tokens(row, chunks * T, suffix)
  return {name: value[None] for name, value in batch.items()}


def _sentences(
  dataset: Dataset, content: bytes, question: str, longest: int
) -> Batch:
  """The first sentences of a text, as many as fit, and a question."""
  names, T = dataset.token_names, dataset.sentence_length
  asked = prose.encode(question, names, T)
  if not len(asked):
    raise ConfigError(f"--question={question!r} has no word.")
  if len(asked) >= longest:
    raise ConfigError(
      f"the question has {len(asked)} tokens; it must have fewer than the run's"
      f" data.length={longest}."
    )
  text = content.decode("utf-8", errors="replace")
  ids = prose.encode(text, names, T)[: longest - len(asked)]
  inputs = np.concatenate([ids, asked])[None]
  return {"inputs": inputs, "mask": inputs > 0}


def record(
  experiment: Experiment, params: Params, batch: Batch, number: int = 0
) -> Record:
  """Runs a batch of one text (or pair) through the model.

  Args:
    experiment: provides the model.
    params: of the model.
    batch: of one row; without `label`, the right answer is unknown.
    number: index of the example in its split, the seed of random policies.

  Raises:
    ConfigError: if the model has no memory.
  """
  config, head = experiment.config, experiment.dataset.head
  require_memory(config)
  label, token = _question(batch, head)
  steps, state, removed = _run(experiment, params, batch, token, number)
  T = config.model.chunk_length
  chunked = {
    k: v[0].reshape(-1, T)
    for k, v in batch.items()
    if k in ("inputs", "mask", *TRUTH_FIELDS)
  }
  asked = token // T
  pooled = config.model.pool == "slots" and head != "causal_lm"
  share = state.strength / max(state.strength.sum(), 1e-6)
  return Record(
    tokens=chunked["inputs"],
    valid=chunked["mask"],
    **life(steps, state),
    **_ground_truth(chunked),
    asked=asked,
    label=label,
    mass=share if pooled else steps.attention[asked],
    pooled=pooled,
    removed=removed,
  )


def _run(
  experiment: Experiment, params: Params, batch: Batch, token: int, number: int
) -> tuple[StepOutput, MemoryState, np.ndarray]:
  """Steps and last state of the (first) text, and `Record.removed`."""
  config, head = experiment.config, experiment.dataset.head
  T, M = config.model.chunk_length, config.memory.num_slots
  # Cut after the chunk that gives the answer.
  cut = np.arange(batch["mask"].shape[1]) < (token // T + 1) * T
  shown = {k: v for k, v in batch.items() if k not in ("label", "stale")}
  # One row removes no slot, one each slot, and one all slots.
  removed = np.concatenate([np.zeros((1, M)), np.eye(M), np.ones((1, M))]) > 0
  # Of two texts, slots of the first are removed.
  removed = np.stack([removed, np.zeros_like(removed)], 1)
  removed = removed[:, : 2 if head == "match" else 1]
  keys = jax.random.fold_in(jax.random.key(0), number)[None]
  apply = experiment.model.apply

  @jax.jit
  def run(params, keys, batch, removed):
    output = apply(params, keys, batch)
    last = batch | {"mask": batch["mask"] & cut}
    answer = lambda slots: apply(params, keys, last, removed=slots).logits[0]
    logits = jax.vmap(answer)(removed)
    if head == "causal_lm":
      logits = logits[:, token]
    first = jax.tree.map(lambda x: x[0], (output.steps, output.state))
    return *first, jax.nn.softmax(logits.astype(jnp.float32))

  params = jax.device_get(params)  # Off the mesh: one row needs one device.
  return jax.device_get(run(params, keys, shown, removed))


def _question(batch: Batch, head: str) -> tuple[int, int]:
  """The right answer (-1: unknown), and the token at which it is given."""
  valid = np.flatnonzero(batch["mask"][0])
  last = int(valid[-1]) if len(valid) else 0
  if "label" not in batch:
    return -1, last
  if head != "causal_lm":
    return int(batch["label"][0]), last
  asked = np.flatnonzero(batch["label"][0] >= 0)
  if not len(asked):
    return -1, last
  return int(batch["label"][0, asked[-1]]), int(asked[-1])


def life(steps: StepOutput, state: MemoryState) -> dict[str, np.ndarray]:
  """The fields of `Record` about the slots of one text.

  Args:
    steps: leaves [N, ...].
    state: after the last step.
  """
  after = lambda before, last: np.concatenate([before[1:], last[None]])
  strength = after(steps.strength, state.strength)
  alive = strength > 0
  written = steps.allocation.source >= 0
  # `steps.usage` includes the read of the step: it holds after the step, unless
  # the slot was written, updated or freed, or the chunk is padding.
  fresh = written | steps.allocation.update
  usage = np.where(fresh, FRESH_USAGE, np.where(alive, steps.usage, 0.0))
  for n in np.flatnonzero(~steps.active):
    usage[n] = usage[n - 1] if n else 0.0
  chunk = np.arange(len(alive))[:, None]
  born = np.maximum.accumulate(np.where(written, chunk, -1))
  return {
    "operation": trace.operations(steps, strength),
    "strength": strength,
    "age": after(steps.age, state.age),
    "usage": usage.astype(np.float32),
    "born": np.where(alive, born, -1),
    "source": steps.allocation.source,
    "update_source": steps.allocation.update_source,
    "alive_before": steps.alive,
    "forgets": steps.allocation.forget,
    "action_probs": steps.action_probs,
    "attention": steps.attention,
    "write_strength": steps.write_strength,
    "candidates": steps.candidates,
  }


def _ground_truth(chunked: Batch) -> dict[str, np.ndarray | None]:
  """The fields `ground_truth` and `invalidates`, of tokens [N, T]."""
  if "ground_truth" not in chunked:
    return {"ground_truth": None, "invalidates": None}
  known = jax.device_get(ground_truth_of(chunked))
  chunk = np.arange(len(known.fact))
  invalidates = np.where(known.invalidates > 0, chunk - known.invalidates, -1)
  return {"ground_truth": known.fact, "invalidates": invalidates}
