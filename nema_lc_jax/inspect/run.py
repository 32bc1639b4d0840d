"""Makes the page of one example from the folder of a run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.inspect.names import Names, names_of
from nema_lc_jax.inspect.page import Inspection, content, render
from nema_lc_jax.inspect.record import (
  Batch,
  Record,
  example_of,
  read_texts,
  record,
  require_memory,
)
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs import config_json
from nema_lc_jax.training.experiment import Experiment
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.restore import open_run


def inspect_example(
  experiment: Experiment,
  params: Params,
  example: int = 0,
  *,
  split: str = "validation",
  text: list[str | Path] | None = None,
  question: str | None = None,
) -> Inspection:
  """Inspects the memory on one example of a split, or on a text file.

  Args:
    experiment: of a run.
    params: of its model.
    example: index in the split.
    split: "validation" or "test".
    text: a file to read instead of the example (two for the head "match").
    question: about the file, for a run on questions about documents.

  Raises:
    ConfigError: on an invalid example or file, or a model without memory.
  """
  config = experiment.config
  batch = None
  if text is None or (experiment.dataset.head == "match" and len(text) < 2):
    batch = example_of(experiment, split, example)
  if text is not None:
    batch = read_texts(experiment, text, batch, question)
  elif question is not None:
    raise ConfigError(f"--question={question!r} needs --text.")
  found = record(experiment, params, batch, example)
  what = f"{split} example {example}"
  if text is not None:
    what = " and ".join(Path(path).name for path in text)
    if "inputs2" in batch and len(text) < 2:
      what += f" against the second text of {split} example {example}"
  if question is not None:
    what += f", asked {question!r}"
  title = f"{experiment.dataset.name}: {what}"
  memory = config.memory
  facts = [
    f"policy {memory.policy}",
    f"{memory.num_slots} slots",
    f"budget {memory.budget} operations per chunk",
    f"{len(found.tokens)} chunks of {config.model.chunk_length} tokens",
  ]
  if experiment.dataset.head == "match":
    facts.append("the memory of the first text of the pair")
  facts += _cuts(experiment, text or (), found)
  names = names_of(experiment.dataset)
  data = content(found, names, title=title, facts=facts)
  said = _said(batch, names, config.model.chunk_length)
  return Inspection(title, found, render(data), said)


def _cuts(
  experiment: Experiment, paths: list[str | Path], found: Record
) -> Iterator[str]:
  """Says which texts are longer than what was read of them."""
  longest = experiment.config.data.length
  for path in paths:
    size = Path(path).expanduser().stat().st_size
    if experiment.dataset.sentence_length:
      if found.tokens.size == longest:
        yield f"at most the first {len(found.tokens) - 1} sentences"
    elif size > longest:
      yield f"the first {longest:,} of {size:,} bytes"


def _said(batch: Batch, names: Names, T: int) -> list[str]:
  """The fact of each chunk; none if the text has no ground truth."""
  if "ground_truth" not in batch:
    return []
  tokens, truth = (
    batch[name][0].reshape(-1, T) for name in ("inputs", "ground_truth")
  )
  return [names.text(t[g > 0]) for t, g in zip(tokens, truth, strict=True)]


def show(
  workdir: str | Path,
  example: int = 0,
  *,
  split: str = "validation",
  text: str | Path | list[str | Path] | None = None,
  question: str | None = None,
  overrides: Mapping[str, Any] | None = None,
) -> Inspection:
  """Inspects an example of a run; a notebook shows the result as a page.

  Args:
    workdir: folder of the run.
    example: index in the split.
    split: "validation" or "test".
    text: a file to read instead of the example (two for the head "match").
    question: about the file, for a run on questions about documents.
    overrides: of the run's config, such as {"data.length": 512}.

  Returns:
    The page, and its arrays (`.data`).

  Raises:
    ValueError, RunError: in one line, on an invalid argument or folder.
  """
  config = config_json.read_config(workdir)
  try:
    config.update_from_flattened_dict(overrides or {})
  except (AttributeError, KeyError, TypeError) as error:
    raise ConfigError(" ".join(str(error).split())) from None
  require_memory(config)
  settle(config, overrides or ())
  files = [text] if isinstance(text, str | Path) else text
  experiment, state = open_run(workdir, config)
  return inspect_example(
    experiment,
    state.params,
    example,
    split=split,
    text=files,
    question=question,
  )
