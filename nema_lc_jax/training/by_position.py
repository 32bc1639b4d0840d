"""What a byte costs a language model, by its place in the text.

If the memory is of use, a byte costs less the more text is before it, and most
of all where a word occurs again that the byte's own chunk does not have.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from nema_lc_jax.data.byte_text import decode_bytes
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.training.evaluation import Evaluated, evaluate, mean_interval
from nema_lc_jax.training.experiment import Experiment, under_fifo

# Names and words that are long enough to be recognised by their beginning.
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{4,}")
# Bytes of a word that say which one it is; they are not counted.
BEGINNING = 2


def by_position(
  experiment: Experiment, params: Params, split: str
) -> dict[str, Any]:
  """Bits per byte by position and of copied words.

  Args:
    experiment: of a language model of bytes.
    params: of its model.
    split: "validation" or "test".

  Returns:
    `positions`, a row for each range of positions [from, to), which doubles
    from row to row; and `copies`, the same for words that occurred in the text
    before, but not in the last chunk_length bytes. A row has the number of
    `bytes` and the bits per byte as `memory`, `memory_off` and, for a learned
    policy, `fifo`; `gain_interval` is the 95% interval of what the memory
    saves, by text.

  Raises:
    ConfigError: if the model is not one of the next byte.
  """
  dataset, chunk = experiment.dataset, experiment.config.model.chunk_length
  if dataset.head != "causal_lm" or not dataset.byte_level:
    raise ConfigError(
      "--positions is for language models of bytes; data set"
      f" {dataset.name!r} has the head {dataset.head!r}."
    )
  bits = _bits(experiment, params, split)
  examples = dataset.evaluation(split, experiment.config.data.length)
  texts = [examples[i] for i in range(len(examples))]
  asked = np.stack([text["label"] >= 0 for text in texts])
  rows = []
  for first, last in ranges(asked.shape[1], chunk):
    within = np.zeros_like(asked)
    within[:, first:last] = asked[:, first:last]
    rows.append({"from": first, "to": last} | _row(bits, within))
  copied = np.stack([_copied_labels(text, chunk) for text in texts])
  return {"positions": rows, "copies": _row(bits, copied & asked)}


def _bits(
  experiment: Experiment, params: Params, split: str
) -> dict[str, np.ndarray]:
  """The bits of each byte [examples, L], by what the memory does."""
  run = lambda *model, **how: _bits_of(
    evaluate(*model, split, per_token=True, **how)
  )
  found = {"memory": run(experiment, params)}
  if experiment.has_memory:
    found["memory_off"] = run(experiment, params, budget=0)
  if experiment.learns_policy:
    found["fifo"] = run(*under_fifo(experiment, params))
  return found


def _bits_of(found: Evaluated) -> np.ndarray:
  return found.nats / math.log(2)


def ranges(length: int, chunk: int) -> Iterator[tuple[int, int]]:
  """[0, chunk), [chunk, 2 * chunk), [2 * chunk, 4 * chunk) ... up to length."""
  first, last = 0, min(chunk, length)
  while first < length:
    yield first, last
    first, last = last, min(2 * last, length)


def _row(bits: dict[str, np.ndarray], where: np.ndarray) -> dict[str, Any]:
  """Means over the bytes of `where` [examples, L]; None without any."""
  count = where.sum(1)
  total = int(count.sum())
  row = {"bytes": total}
  for name, each in bits.items():
    row[name] = float(each[where].mean()) if total else None
  if total and "memory_off" in bits:
    saved = np.where(where, bits["memory_off"] - bits["memory"], 0.0).sum(1)
    row["gain_interval"] = mean_interval(saved / np.maximum(count, 1), count)
  return row


def _copied_labels(text: dict[str, np.ndarray], chunk: int) -> np.ndarray:
  """The places [L] whose next byte is in a copied word."""
  whole = decode_bytes(text["inputs"])
  found = np.zeros(len(text["inputs"]), bool)
  # The label at a place is the byte at the next one.
  marks = copied(whole, chunk)[1:]
  found[: len(marks)] = marks
  return found


def copied(text: bytes, chunk: int) -> np.ndarray:
  """The bytes [L] bool of words that occurred before, more than a chunk ago.

  Of a word its first two bytes do not count, nor does one that occurred, too,
  within the `chunk` bytes before it.
  """
  found, ends = np.zeros(len(text), bool), {}
  for match in WORD.finditer(text):
    word, (first, last) = match.group(), match.span()
    if word in ends and first - ends[word] > chunk:
      found[first + BEGINNING : last] = True
    ends[word] = last
  return found
