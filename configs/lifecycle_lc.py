"""The lifecycle tasks: what only a memory with a good life of slots can do.

python -m nema_lc_jax.main --config=configs/lifecycle_lc.py:TASK
  Each trains in 1 to 3 minutes on one CPU core (after compiling, 2 more), is
  tested at 1, 4, 16 and 64 times the training length, and can be solved: the
  oracle has accuracy 1.
"""

from ml_collections import ConfigDict

from configs import default


def _common(c: ConfigDict) -> ConfigDict:
  c.data.num_eval = 1024  # validation examples
  c.data.num_test = 2048  # test examples
  # What a chunk says is the set of its tokens: a layer before the memory would
  # only mix them, and is most of the time of a step.
  c.model.num_layers = 0
  c.model.mlp_ratio = 2.0
  c.model.remat = True  # what it recomputes is cheaper than what it stores
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  c.eval.length_multipliers = (1, 4, 16, 64)
  c.train.learning_rate = 2e-3
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  return c


def _facts(c: ConfigDict) -> ConfigDict:
  """16 chunks of one block each, 4 slots."""
  c = _common(c)
  c.data.length = 128
  c.data.block = 8  # tokens per block: a fact, a command or noise
  c.model.chunk_length = 8
  c.memory.num_slots = 4
  # First a slot for every chunk, where reading is learned and what is stale is
  # in its way.
  c.train.curriculum = ((0.4, 128, 16),)
  c.train.steps = 1000
  return c


def _delayed_qa(c: ConfigDict) -> ConfigDict:
  c = _facts(c)
  # Its noise is digits, too: which one is marked, the set does not say.
  c.model.num_layers = 1
  return c


def _mqar(c: ConfigDict) -> ConfigDict:
  c = _common(c)
  c.data.length = 64
  c.data.num_pairs = 8  # keys with a value each, all asked for
  # Token ids of keys and values together; 8192 is the size of published
  # results, for accelerators.
  c.data.pair_vocab = 64
  c.model.chunk_length = 2  # 32 chunks; a pair or a question in each
  c.memory.num_slots = 8
  c.train.curriculum = ((0.2, 32, 16), (0.6, 64, 16))
  c.train.steps = 1000
  return c


VARIANTS = {
  "recall": ("3 facts among noise and near misses", _facts),
  "rebind": ("3 keys whose values keep changing: the newest is asked", _facts),
  "revoke": ('facts are taken back: then the answer is "none"', _facts),
  "pressure": ("more facts than slots, of different priority", _facts),
  "delayed_qa": (
    "a digit seen early, asked for late, among other digits",
    _delayed_qa,
  ),
  "mqar": ("8 keys and values, each asked for once", _mqar),
  "forgetting_mqar": ("the same, with 4 of the keys bound anew", _mqar),
}


def get_config(variant: str = "recall") -> ConfigDict:
  """The config of a variant, which is the name of its task."""
  c = default.choose("configs/lifecycle_lc.py", variant, VARIANTS)
  c.data.name = variant
  return c
