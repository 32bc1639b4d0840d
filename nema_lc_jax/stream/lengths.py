"""Accuracy on texts of any length, read in pieces: memory use stays flat."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from nema_lc_jax.data import Dataset, Example
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.intervals import interval
from nema_lc_jax.stream.core import make_stream
from nema_lc_jax.training.experiment import Experiment, model_fields

# Tokens of a batch that are on the host, and on the device, at once.
HOST, DEVICE = 2**24, 2**18


def by_length(
  experiment: Experiment,
  params: Params,
  split: str,
  multipliers: Sequence[int],
  number: int,
) -> list[dict[str, Any]]:
  """The accuracy at multiples of data.length, with progress bars.

  Args:
    experiment: of a run whose texts end with their question.
    params: of its model.
    split: "validation" or "test".
    multipliers: of data.length.
    number: examples at each length, at most.

  Returns:
    For each length a row: `times`, `length`, `tokens` (the mean number of them
    without padding), `examples`, `accuracy`, and its 95% `interval`.

  Raises:
    ConfigError: if the model does not stream, or the task asks elsewhere.
  """
  config, dataset = experiment.config, experiment.dataset
  try:
    stream = make_stream(
      skips_padding=bool(dataset.sentence_length),
      **model_fields(config, experiment.task),
    )
  except ValueError as error:
    raise ConfigError(f"--times: {error}") from None
  push = jax.jit(jax.vmap(stream.push, (None, 0, 0)), donate_argnums=1)
  answer = jax.jit(jax.vmap(stream.answer, (None, 0)))
  rows = []
  for times in multipliers:
    length = times * config.data.length
    examples = dataset.evaluation(split, length)
    count = min(number, len(examples))
    right, tokens = 0, 0
    size = max(1, min(count, HOST // length))
    for start in range(0, count, size):
      batch = [examples[i] for i in range(start, min(start + size, count))]
      require_streamable(batch[0], dataset, "--times")
      texts = np.stack([example["inputs"] for example in batch])
      tokens += sum(int(example["mask"].sum()) for example in batch)
      state = jax.vmap(stream.init)(np.arange(len(batch), dtype=np.uint32))
      for piece in _pieces(texts, config.model.chunk_length, times, start):
        # Else the bar would count what is queued, not what is done.
        state = jax.block_until_ready(push(params, state, piece))
      logits = np.asarray(answer(params, state))
      right += sum(
        int(row.argmax() == example["label"])
        for row, example in zip(logits, batch, strict=True)
      )
    rows.append(
      {
        "times": times,
        "length": length,
        "tokens": tokens / count,
        "examples": count,
        "accuracy": right / count,
        "interval": interval(right / count, count),
      }
    )
  return rows


def _pieces(texts: np.ndarray, chunk: int, times: int, start: int):
  """Pieces of texts [B, L], of whole chunks; the last one may be shorter."""
  B, L = texts.shape
  size = max(1, DEVICE // (B * chunk)) * chunk
  places = range(0, L, size)
  title = f"{times} times the length, from example {start}"
  # None: only on a terminal.
  shown = None if len(places) > 1 else True
  for place in tqdm(places, title, unit="piece", disable=shown):
    yield texts[:, place : place + size]


def require_streamable(example: Example, dataset: Dataset, flag: str) -> None:
  """Raises ConfigError unless the text ends with its only question."""
  mask, inputs = example["mask"], example["inputs"]
  read = inputs > 0 if dataset.sentence_length else np.ones_like(mask)
  if np.ndim(example.get("label", [0])) or not (mask == read).all():
    raise ConfigError(
      f"{flag} reads texts that end with their one question, without padding"
      f" behind it; those of {dataset.name!r} do not. Without it,"
      " --config.data.length=N evaluates one other length."
    )
