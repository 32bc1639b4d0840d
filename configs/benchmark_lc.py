"""What the memory costs beside its encoder: the setting of the benchmark.

python -m nema_lc_jax.benchmark
  On a CPU chunks one after the other are the faster schedule, for the memory
  as for its encoder; --config.model.chunk_batch_size=0 takes them side by side,
  which should suit accelerators (not measured).
  Two layers, 64 slots, chunks of 128 bytes, batches of 8. The texts are random
  bytes; the data set is only timed, as what a training step waits for.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """The config."""
  c = default.get_config()
  c.data.name = "pytext"
  # Of each of two texts to match, and of the breakdown.
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
