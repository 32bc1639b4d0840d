"""What token ids and labels are called on the page of an example."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nema_lc_jax.data import Dataset
from nema_lc_jax.data.byte_text import VOCAB_SIZE
from nema_lc_jax.data.lifecycle import (
  delayed_qa,
  pressure,
  rebind,
  recall,
  revoke,
)
from nema_lc_jax.data.lifecycle.facts import Facts
from nema_lc_jax.training.experiment import Experiment

# The tasks about facts, and what their commands are called, from id 1 on.
FACTS: Mapping[str, tuple[type[Facts], tuple[str, ...]]] = {
  "delayed_qa": (delayed_qa.DelayedQA, ("MARK", "ASK")),
  "pressure": (pressure.Pressure, ("ASK",)),
  "rebind": (rebind.Rebind, ("MARK", "ASK")),
  "recall": (recall.Recall, ("MARK", "ASK")),
  "revoke": (revoke.Revoke, ("MARK", "ASK", "REVOKE")),
}
# Of data sets of bytes, what the labels say.
ANSWERS = {
  "aan": ("unrelated", "related"),
  "imdb": ("negative", "positive"),
  "pytext": ("different files", "same file"),
}


class Names(NamedTuple):
  """How to write the tokens and the labels of a data set."""

  # Ids [T] of valid tokens to text.
  text: Callable[[np.ndarray], str]
  label: Callable[[int], str]


def names_of(experiment: Experiment) -> Names:
  """The names that fit the experiment's data set."""
  data, dataset = experiment.config.data.to_dict(), experiment.dataset
  if reads_bytes(experiment):
    return Names(decode, _label_names(dataset, ANSWERS.get(data["name"], ())))
  if dataset.token_names:
    text = lambda ids: " ".join(dataset.token_names[i] for i in ids)
    return Names(text, _label_names(dataset))
  if data["name"] in FACTS:
    return _fact_names(data)
  if "mqar" in data["name"]:
    return _mqar_names(data)
  return Names(lambda ids: " ".join(map(str, ids)), str)


def _label_names(
  dataset: Dataset, names: Sequence[str] = ()
) -> Callable[[int], str]:
  """Labels by name; a number where a model knows more than the data have."""
  names = names or dataset.label_names
  return lambda i: names[i] if i < len(names) else str(i)


def reads_bytes(experiment: Experiment) -> bool:
  """Whether the tokens of the data set are bytes."""
  name = experiment.dataset.name
  if name == "file":
    path = Path(experiment.config.data.path).expanduser()
    if path.is_dir():
      return not (path / "train.npz").is_file()
    return path.suffix in (".tsv", ".jsonl")
  known = name in ("aan", "imdb", "pytext")
  return known and experiment.dataset.vocab_size == VOCAB_SIZE


def decode(ids: np.ndarray) -> str:
  """The text whose bytes the ids are; padding is left out."""
  ids = np.asarray(ids)
  whole = (ids[ids > 0] - 1).astype(np.uint8).tobytes()
  return whole.decode("utf-8", errors="replace")


def _fact_names(data: Mapping[str, Any]) -> Names:
  task, commands = FACTS[data["name"]]
  fields = {field.name for field in dataclasses.fields(task)}
  t = task(**{k: v for k, v in data.items() if k in fields})
  # What has no name of its own among the commands is a priority.
  priorities = [f"P{i}" for i in range(t.commands - len(commands))]
  table = ["pad", *commands, *priorities]
  table += [f"k{i}" for i in range(t.num_keys)]
  table += [f"v{i}" for i in range(t.num_values)]
  # Beyond the values there is only "none", of a key that was taken back.
  label = lambda i: f"v{i}" if i < t.num_values else "none"
  return Names(lambda ids: _look_up(table, ids), label)


def _mqar_names(data: Mapping[str, Any]) -> Names:
  half = data["pair_vocab"] // 2
  table = ["pad", *(f"k{i}" for i in range(half - 1))]
  table += [f"v{i}" for i in range(half)]
  return Names(lambda ids: _look_up(table, ids), lambda i: f"v{i}")


def _look_up(table: list[str], ids: np.ndarray) -> str:
  # Ids above those with a name are noise.
  return " ".join(table[i] if i < len(table) else "n" for i in ids)
