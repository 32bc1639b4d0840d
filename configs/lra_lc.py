"""Long texts: document matching from the interpreter's own sources, and LRA.

python -m nema_lc_jax.main --config=configs/lra_lc.py
  Quick: do two windows of bytes come from the same Python module? Modules of
  validation and test are never trained on.
python -m nema_lc_jax.main --config=configs/lra_lc.py:retrieval \
    --config.data.dir=lra_release
  Long Range Arena's AAN retrieval with its full protocol, for accelerators.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(variant: str = "quick") -> ConfigDict:
  """The config of a variant: quick or retrieval."""
  return default.choose(
    "configs/lra_lc.py", variant, {"quick": _quick, "retrieval": _retrieval}
  )


def _quick(c: ConfigDict) -> ConfigDict:
  c.data.name = "pytext"
  c.data.length = 1024
  c.data.gap = 256  # bytes between two windows of one file, at least
  c.data.pairs = "in_batch"  # of training: all of a batch, or labelled ones
  c.data.num_eval = 1000
  c.data.num_test = 2000
  # Small: bytes are pooled into candidates as they are, and the layer works on
  # what the memory holds. Layers on bytes learn the training modules by heart.
  c.model.num_layers = 0
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = 64
  c.model.pool = "slots"
  c.memory.num_slots = 12  # for 16 chunks
  c.memory.num_candidates = 1
  c.train.steps = 600
  c.train.learning_rate = 2e-3
  c.train.weight_decay = 0.1
  return c


def _retrieval(c: ConfigDict) -> ConfigDict:
  c.data.name = "aan"
  c.data.length = 4000
  c.data.reading = "raw"
  c.model.width = 128
  c.model.num_layers = 3
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 4.0
  c.model.chunk_length = 250
  c.model.pool = "mean"
  c.model.remat = True
  c.memory.num_slots = 32  # for 16 chunks of 4 candidates
  c.memory.num_candidates = 4
  c.memory.budget = 4
  c.train.steps = 5000
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 500
  c.train.weight_decay = 0.1
  c.train.log_every = 50
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  c.train.eval_batch_size = 64
  return c
