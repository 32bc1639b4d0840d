"""The parameters of an earlier run, to start another one from."""

import collections
import dataclasses
import json
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax.data.text.prose import SPECIAL
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.config_json import (
  first_difference,
  read_config,
  read_json,
)
from nema_lc_jax.runs.files import DATA_FILE
from nema_lc_jax.training import checkpoint
from nema_lc_jax.training.experiment import Experiment, make_reader
from nema_lc_jax.training.restore import read_task_spec, restore_best
from nema_lc_jax.training.task import TaskSpec

FIELD = "config.train.init_from"
# Of the embeddings of tokens, whose rows have names.
TOKENS = "['encoder']['embedding']['token']['embedding']"
# Fields of model and memory that say nothing about what parameters mean.
FREE = {
  "model": (
    "dropout", "dtype", "remat", "chunk_batch_size", "bptt_chunks", "pool",
  ),
  "memory": ("num_slots", "overprovisioned_slots", "budget", "controller"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source:
  """An earlier run: what the numbers of its parameters mean."""

  workdir: str
  config: ConfigDict
  task: TaskSpec
  fingerprint: str  # of its data

  def params(self) -> tuple[Params, int]:
    """Its best parameters, as NumPy arrays, and their step.

    All processes must call it together.
    """
    reader = make_reader(self.config, self.task)
    state = restore_best(reader, self.workdir)
    return reader.steps.fetch(state.params), int(state.step)


def find_source(experiment: Experiment) -> Source:
  """The run that `config.train.init_from` names, without its parameters.

  Raises:
    ConfigError: if there is none with a checkpoint, or if its model or memory
      is another one.
  """
  workdir = experiment.config.train.init_from
  try:
    source = Source(
      workdir,
      read_config(workdir),
      read_task_spec(workdir),
      read_json(workdir, DATA_FILE).get("fingerprint", ""),
    )
  except ConfigError as error:
    raise ConfigError(f"{FIELD}: {error}") from None
  if not checkpoint.begun(workdir, checkpoint.BEST):
    raise ConfigError(f"{FIELD}: {workdir} has no best checkpoint yet.")
  for section, free in FREE.items():
    there, here = (
      {
        k: v
        for k, v in json.loads(c[section].to_json()).items()
        if k not in free
      }
      for c in (source.config, experiment.config)
    )
    if there != here:
      raise ConfigError(
        f"{FIELD}: {workdir} has another model"
        f" ({first_difference(there, here, f'config.{section}')}); the fields"
        " of model and memory must be that run's."
      )
  _shared(source.task, experiment.task)
  return source


def started_from(
  source: Source,
  found: Params,
  params: Params,
  task: TaskSpec,
  fingerprint: str = "",
) -> tuple[Params, str]:
  """The parameters to start with, and what was taken, in words.

  All are those of the source, but for embeddings of tokens that it does not
  have, and a head for other labels: these are as in `params`.

  Args:
    source: the earlier run.
    found: its parameters.
    params: new ones.
    task: of the new run.
    fingerprint: of the new run's data.

  Raises:
    ConfigError: naming the first parameter that is not in both, or has another
      shape.
  """
  there, here = _by_name(found), _by_name(params)
  same_head = _same_labels(source, task, fingerprint)
  taken = [n for n in here if same_head or not n.startswith("['head']")]
  shape = lambda arrays, name: (
    None if name not in arrays else arrays[name].shape[name == TOKENS :]
  )
  for name in sorted({*taken, *there}):
    if name.startswith("['head']") and not same_head:
      continue
    if shape(there, name) != shape(here, name):
      raise ConfigError(
        f"{FIELD}={source.workdir!r}: parameter {name} has the shape"
        f" {shape(there, name)} there, and {shape(here, name)} here."
      )
  pairs = _shared(source.task, task)
  rows = np.array(here[TOKENS])
  rows[[i for _, i in pairs]] = there[TOKENS][[i for i, _ in pairs]]
  here |= {name: there[name] for name in taken if name != TOKENS}
  here[TOKENS] = rows
  head = "the head" if same_head else "a new head, since the labels differ"
  return (
    jax.tree.unflatten(jax.tree.structure(params), list(here.values())),
    f"{len(pairs):,} of {task.vocab_size:,} tokens, {head}",
  )


def warm_start(
  source: Source, experiment: Experiment, params: Params
) -> tuple[Params, str]:
  """`started_from`, with each array on the devices of `params`, and a line."""
  found, step = source.params()
  fetched = experiment.steps.fetch(params)
  started, words = started_from(
    source, found, fetched, experiment.task, experiment.dataset.fingerprint
  )
  place = lambda new, old: jax.device_put(new, old.sharding)
  line = f"starting from {source.workdir}, step {step}: {words}"
  return jax.tree.map(place, started, params), line


def _by_name(params: Params) -> dict[str, np.ndarray]:
  leaves = jax.tree.leaves_with_path(params)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _same_labels(source: Source, task: TaskSpec, fingerprint: str) -> bool:
  """Whether the outputs of both heads mean the same.

  Without names they do if the data are the same, or if labels are bytes.
  """
  there = source.task
  if (there.head, there.num_classes) != (task.head, task.num_classes):
    return False
  if there.label_names or task.label_names:
    return tuple(there.label_names) == tuple(task.label_names)
  return source.fingerprint == fingerprint or _bytes_after_bytes(there, task)


def _bytes_after_bytes(*tasks: TaskSpec) -> bool:
  return all(t.byte_level and t.head != "classify" for t in tasks)


def _numbered(names: Sequence[str]) -> dict[tuple[str, int], int]:
  """Ids by name; of tokens with one name, such as noise, also by number."""
  seen = collections.Counter()
  ids = {}
  for i, name in enumerate(names):
    ids[name, seen[name]] = i
    seen[name] += 1
  return ids


def _shared(there: TaskSpec, here: TaskSpec) -> Sequence[tuple[int, int]]:
  """Pairs of ids, there and here, of the tokens that both tasks have.

  Bytes, and tokens without names of which there are as many, are the same.

  Raises:
    ConfigError: if they cannot be told, or there are none but padding.
  """
  names, wanted = map(_numbered, (there.token_names, here.token_names))
  if names and wanted:
    pairs = [(names[key], i) for key, i in wanted.items() if key in names]
    if all(here.token_names[i] in SPECIAL for _, i in pairs):
      raise ConfigError(f"{FIELD}: that run and this one share no token.")
    return pairs
  alike = (there.byte_level, there.vocab_size, bool(names))
  if alike != (here.byte_level, here.vocab_size, bool(wanted)):
    raise ConfigError(
      f"{FIELD}: that run has {there.vocab_size} tokens and this one"
      f" {here.vocab_size}, and not both have names for them."
    )
  return [(i, i) for i in range(here.vocab_size)]
