"""Benchmark of the cost of the memory, compared with its encoder alone.

python -m nema_lc_jax.benchmark
  On a CPU one chunk at a time is faster, with and without the memory;
  --config.model.chunk_batch_size=0 runs all chunks in parallel, which should
  suit accelerators (not measured).
  Two layers, 64 slots, chunks of 128 bytes, batches of 8. The texts are random
  bytes; the data set is timed separately, since a training step waits for it.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """The config."""
  c = default.get_config()
  c.data.name = "pytext"
  # Tokens of each of the two texts to match, and of the breakdown.
  c.data.length = 4096
  c.model.width = 64
  c.model.num_layers = 1
  c.model.num_layers_after = 1
  c.model.num_heads = 4
  c.model.chunk_length = 128
  c.model.pool = "mean"
  c.model.chunk_batch_size = 1
  c.memory.num_slots = 64
  c.train.batch_size = 8
  return c
