"""A first small task that only a memory can solve.

python -m nema_lc_jax.main --config=configs/toy_lc.py
"""

from ml_collections import ConfigDict

from configs import default


def _toy(c: ConfigDict) -> ConfigDict:
  c.data.name = "toy"
  c.data.length = 256
  c.data.num_classes = 4  # number of key tokens
  c.data.noise_vocab = 32  # number of token ids of the noise
  c.data.num_eval = 1024  # validation examples
  c.data.num_test = 2048  # test examples
  c.model.chunk_length = 16
  c.model.num_layers = 1
  c.model.mlp_ratio = 2.0
  c.memory.num_slots = 4
  c.memory.num_candidates = 1
  # First all items fit, and reads are learned; then slots become scarce.
  c.train.curriculum = ((0.5, 256, 16),)
  c.train.steps = 600
  return c


VARIANTS = {
  "toy": ("which of 4 key tokens occurred in 256 tokens of noise?", _toy),
}


def get_config(variant: str = "toy") -> ConfigDict:
  """The config of a variant."""
  return default.choose("configs/toy_lc.py", variant, VARIANTS)
