"""Your own data: texts with labels, pairs, or questions about documents.

python -m nema_lc_jax.main --config=configs/own_lc.py:reviews.tsv
  The name of a file, or of a folder of train, validation and test files, in
  place of a variant. Their formats are in docs/own_data.md.

The lengths, the numbers of chunks and slots, and the steps are chosen from the
data, and are printed at the start. They are for a first result on 2 CPU cores;
every field can be set, too.
"""

import math
import sys

from ml_collections import ConfigDict

from configs import default

COVERED = 0.95  # share of the rows that are not cut
MOST_TOKENS = 4096  # per text
MOST_SLOTS = 16
EPOCHS = 20


def _fit(c: ConfigDict, path: str) -> ConfigDict:
  """Chooses sizes from the data at a path, and prints them."""
  # Other configs need no data, and load fast without them.
  from nema_lc_jax import data

  found = data.measure(path)
  covered = sorted(found.lengths)[math.ceil(COVERED * len(found.lengths)) - 1]
  c.data.path = path
  # A question should be in one chunk.
  chunk = max(16, found.longest_question)
  while chunk < 64 and chunk * MOST_SLOTS < covered:
    chunk *= 2
  c.model.chunk_length = 2 ** math.ceil(math.log2(chunk))
  chunks = math.ceil(min(covered, MOST_TOKENS) / c.model.chunk_length)
  c.data.length = max(chunks, 2) * c.model.chunk_length
  c.memory.num_slots = min(max(chunks, 2), MOST_SLOTS)
  c.model.pool = {"classify": "mean", "match": "slots"}.get(found.kind, "last")
  if found.byte_level:
    c.model.conv_kernel_size = 5  # about one word
  while c.train.batch_size > found.rows:
    c.train.batch_size //= 2
  steps = EPOCHS * found.rows // c.train.batch_size
  c.train.steps = min(max(steps, 200), 2000)
  c.train.eval_every = c.train.checkpoint_every = c.train.steps // 5
  uncut = (found.lengths <= c.data.length).mean()
  print(
    f"{path}: {found.kind}, {found.rows} training rows of up to"
    f" {found.lengths.max()} tokens; chosen: length {c.data.length}"
    f" ({uncut:.0%} of the rows are not cut), chunks of"
    f" {c.model.chunk_length}, {c.memory.num_slots} slots,"
    f" {c.train.steps} steps of {c.train.batch_size}",
    file=sys.stderr,
  )
  return c


def get_config(path: str = "") -> ConfigDict:
  """The config for the data at a path; without one, of no data yet."""
  c = default.get_config()
  c.data.name = "file"
  c.model.num_layers = 1
  c.model.mlp_ratio = 2.0
  c.train.learning_rate = 2e-3
  c.train.weight_decay = 0.1
  return _fit(c, path) if path else c
