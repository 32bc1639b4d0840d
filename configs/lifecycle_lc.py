"""The lifecycle tasks: what only a memory with a good life of slots can do.

python -m nema_lc_jax.main --config=configs/lifecycle_lc.py:TASK
  recall      3 facts among noise and near misses
  rebind      3 keys whose values keep changing: the newest is asked for
  revoke      facts that are taken back: then the answer is "none"
  pressure    more facts than slots, of different priority
  delayed_qa  a digit seen early, asked for late, among other digits
  mqar, forgetting_mqar
              8 keys and values, each asked for once; the same with 4 of them
              bound anew. --config.data.pair_vocab=8192 is the size of
              published results, for accelerators
Each trains in 1 to 3 minutes on one CPU core (after compiling, 2 more), is
tested at 1, 4, 16 and 64 times the training length, and can be solved: the
oracle has accuracy 1. Results are in docs/results.
"""

from ml_collections import ConfigDict

from configs import default

# 16 chunks of one block each, 4 slots.
FACTS = ("recall", "rebind", "revoke", "pressure")


def get_config(variant: str = "recall") -> ConfigDict:
  """The config of a variant, one of the tasks above."""
  variants = dict.fromkeys(FACTS, _facts)
  variants |= {"delayed_qa": _delayed_qa}
  variants |= {"mqar": _mqar, "forgetting_mqar": _mqar}
  c = default.choose("configs/lifecycle_lc.py", variant, variants)
  c.data.name = variant
  return c


def _common(c: ConfigDict) -> ConfigDict:
  c.data.num_eval = 1024
  c.data.num_test = 2048
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
  c = _common(c)
  c.data.length = 128
  c.data.block = 8
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
  c.data.num_pairs = 8
  c.data.pair_vocab = 64
  c.model.chunk_length = 2  # 32 chunks; a pair or a question in each
  c.memory.num_slots = 8
  c.train.curriculum = ((0.2, 32, 16), (0.6, 64, 16))
  c.train.steps = 1000
  return c
