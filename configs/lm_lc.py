"""Language modelling: the next byte of a text, and generation.

python -m nema_lc_jax.main --config=configs/lm_lc.py
  The Python standard library, without any download.
python -m nema_lc_jax.main --config=configs/lm_lc.py \
    --config.data.path=FOLDER_OR_FILE
  Your own texts: a folder is split by file, a file by position.
python -m nema_lc_jax.generate --workdir runs/lm-learned-seed0 \
    --prompt "def main("
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """The config, for 2 CPU cores."""
  c = default.get_config()
  c.data.name = "lm"
  c.data.length = 1024
  c.data.num_eval = 200  # windows of validation
  c.data.num_test = 400  # windows of the test
  c.model.chunk_length = 64
  c.model.num_layers = 1
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.remat = True
  # Words, and what usually follows them, need no layers.
  c.model.ngram_sizes = (2, 3, 4, 6)
  c.memory.num_slots = 12  # of 16 chunks
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  c.eval.length_multipliers = (1, 4)
  # First a slot for every chunk.
  c.train.curriculum = ((0.25, 1024, 16),)
  c.train.steps = 600
  c.train.batch_size = 16
  c.train.learning_rate = 2e-3
  return c
