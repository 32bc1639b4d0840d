"""The parameters of an earlier run, to start another one from."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.config_json import read_config
from nema_lc_jax.training.experiment import Experiment, make_reader
from nema_lc_jax.training.restore import read_task_spec, restore_best
from nema_lc_jax.training.task import TaskSpec

FIELD = "config.train.init_from"
# Of the embeddings of tokens, whose rows have names.
TOKENS = "['encoder']['embedding']['token']['embedding']"


class Source(NamedTuple):
  """The best parameters of an earlier run, and what their numbers mean."""

  workdir: str
  step: int
  params: Params
  task: TaskSpec


def read_source(workdir: str | Path) -> Source:
  """Reads the best checkpoint of a run; its data are not needed.

  Raises:
    ConfigError: if there is none.
  """
  try:
    task = read_task_spec(workdir)
    state = restore_best(make_reader(read_config(workdir), task), workdir)
  except ConfigError as error:
    raise ConfigError(f"{FIELD}: {error}") from None
  params = jax.device_get(state.params)
  return Source(str(workdir), int(state.step), params, task)


def require_fits(source: Source, params: Params, task: TaskSpec) -> None:
  """Raises ConfigError unless a run can start from the source.

  All its parameters, which may be abstract, must have the source's shapes, but
  for the number of tokens and the head.
  """
  there = _by_name(source.params)
  for name, value in _by_name(params).items():
    if name.startswith("['head']"):
      continue
    wanted, found = value.shape, there[name].shape if name in there else None
    if name == TOKENS and found:
      wanted, found = wanted[1:], found[1:]
    if wanted != found:
      has = "no such parameter" if found is None else f"the shape {found}"
      raise ConfigError(
        f"{FIELD}={source.workdir!r}: parameter {name} has the shape {wanted},"
        f" and that run has {has}: the fields of model and memory must be that"
        " run's."
      )
  _shared(source.task, task)


def started_from(
  source: Source, params: Params, task: TaskSpec
) -> tuple[Params, str]:
  """The parameters to start with, and what was taken, in one line.

  All are the source's, but for embeddings of tokens that it does not have, and
  a head for other labels: these are as in `params`.

  Raises:
    ConfigError: see `require_fits`.
  """
  require_fits(source, params, task)
  there, here = _by_name(source.params), _by_name(params)
  same_head = _meaning(source.task) == _meaning(task)
  for name in here:
    if name != TOKENS and (same_head or not name.startswith("['head']")):
      here[name] = there[name]
  pairs = _shared(source.task, task)
  here[TOKENS] = np.array(here[TOKENS])
  here[TOKENS][[i for _, i in pairs]] = there[TOKENS][[i for i, _ in pairs]]
  head = "the head" if same_head else "a new head, since the labels differ"
  return (
    jax.tree.unflatten(jax.tree.structure(params), list(here.values())),
    f"starting from {source.workdir}, step {source.step}: {len(pairs):,} of"
    f" {task.vocab_size:,} tokens, {head}",
  )


def warm_start(source: Source, experiment: Experiment, params: Params):
  """`started_from`, with each array on the devices of `params`."""
  fetched = experiment.steps.fetch(params)
  found, line = started_from(source, fetched, experiment.task)
  place = lambda new, old: jax.device_put(new, old.sharding)
  return jax.tree.map(place, found, params), line


def _by_name(params: Params) -> dict[str, np.ndarray]:
  leaves = jax.tree.leaves_with_path(params)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _meaning(task: TaskSpec) -> tuple[Any, ...]:
  """What the outputs of a head mean."""
  return task.head, task.num_classes, tuple(task.label_names)


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

  Tokens without names are the same if there are as many.
  """
  names, wanted = map(_numbered, (there.token_names, here.token_names))
  if names and wanted:
    return [(names[key], i) for key, i in wanted.items() if key in names]
  same = there.byte_level == here.byte_level and (
    there.vocab_size == here.vocab_size
  )
  if not same or there.token_names != here.token_names:
    raise ConfigError(
      f"{FIELD}: that run has {there.vocab_size} tokens and this one"
      f" {here.vocab_size}, and not both have names for them."
    )
  return [(i, i) for i in range(here.vocab_size)]
