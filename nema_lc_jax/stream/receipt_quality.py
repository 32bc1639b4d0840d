"""How good receipts are, on texts whose supporting facts are known."""

from typing import Any

import jax
import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.intervals import interval
from nema_lc_jax.runs.trace import ASKED
from nema_lc_jax.stream.core import make_stream
from nema_lc_jax.stream.lengths import require_streamable
from nema_lc_jax.stream.receipts import LEAST_WEIGHT
from nema_lc_jax.training.experiment import Experiment, model_fields

HISTORY = 16  # chunks of an item
ROWS = 64  # texts at a time


def receipt_quality(
  experiment: Experiment, params: Params, split: str, number: int
) -> dict[str, Any]:
  """Shares of the right answers whose receipts are right, with 95% intervals.

  `named`: the receipt has all facts that the answer needs. `named_first`: the
  slot with the largest weight has one of them. `changed_without_first`:
  without that slot there is another answer.

  Args:
    experiment: of a run whose texts end with their question.
    params: of its model.
    split: "validation" or "test".
    number: of texts, at most.

  Raises:
    ConfigError: if the task's facts are not known, or it asks elsewhere.
  """
  config, dataset = experiment.config, experiment.dataset
  T = config.model.chunk_length
  examples = dataset.evaluation(split, config.data.length)
  rows = [examples[i] for i in range(min(number, len(examples)))]
  if "ground_truth" not in rows[0]:
    raise ConfigError(
      "--receipts needs a task with ground truth; data set"
      f" {dataset.name!r} has none."
    )
  require_streamable(rows[0], dataset, "--receipts")
  stream = make_stream(
    skips_padding=bool(dataset.sentence_length),
    **model_fields(config, experiment.task),
  )

  def explain(seed, text):
    state = stream.push(params, stream.init(seed, None, HISTORY), text[:-T])
    return stream.explain(params, state, text[-T:]), state.provenance.chunks

  explain = jax.jit(jax.vmap(explain))
  found = []
  for start in range(0, len(rows), ROWS):
    part = rows[start : start + ROWS]
    texts = np.stack([row["inputs"] for row in part])
    seeds = np.arange(len(part), dtype=np.uint32)
    explained, chunks = jax.device_get(explain(seeds, texts))
    found += [
      _judged(row, jax.tree.map(lambda x, i=i: x[i], explained), chunks[i], T)
      for i, row in enumerate(part)
    ]
  right = np.array([judged is not None for judged in found])
  shares = np.array([judged for judged in found if judged is not None], float)
  names = ("named", "named_first", "changed_without_first")
  report = {
    "examples": len(rows),
    "accuracy": float(right.mean()),
    "right_answers": int(right.sum()),
  }
  for i, name in enumerate(names if len(shares) else ()):
    share = float(shares[:, i].mean())
    report[name] = share
    report[f"{name}_interval"] = interval(share, len(shares))
  return report


def _judged(
  row: dict[str, np.ndarray], explained, chunks: np.ndarray, T: int
) -> tuple[bool, bool, bool] | None:
  """What holds of the receipt of a right answer; None if it is wrong."""
  answer = int(explained.logits.argmax())
  if answer != row["label"]:
    return None
  # The question's own chunk is not in the memory.
  asked = {*(np.flatnonzero(row["ground_truth"][:-T] == ASKED) // T).tolist()}
  first = int(explained.weights.argmax())
  shown = chunks[explained.weights >= LEAST_WEIGHT]
  return (
    asked <= {*shown.ravel().tolist()},
    bool(asked & {*chunks[first].tolist()}),
    int(explained.without[first].argmax()) != answer,
  )
