"""Synthetic tasks that need a memory with a good slot lifecycle.

python -m nema_lc_jax.main --config=configs/lifecycle_lc.py:TASK
  Each trains in 2 to 4 minutes on one CPU core, after a minute of compilation,
  and is tested at 1, 4, 16 and 64 times the training length. The oracle has
  accuracy 1.
"""

from ml_collections import ConfigDict

from configs import default


def _common(c: ConfigDict) -> ConfigDict:
  c.data.num_eval = 1024  # validation examples
  c.data.num_test = 2048  # test examples
  c.model.num_layers = 1
  c.model.mlp_ratio = 2.0
  c.model.remat = True  # recomputing is cheaper here than storing
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  c.loss.write = 0.01
  c.eval.length_multipliers = (1, 4, 16, 64)
  c.train.learning_rate = 2e-3
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  return c


def _facts(c: ConfigDict) -> ConfigDict:
  """16 chunks of one block each, and 4 slots."""
  c = _common(c)
  c.data.length = 128
  c.data.block = 8  # tokens per block: a fact, a command or noise
  c.model.chunk_length = 8
  c.memory.num_slots = 4
  # First a slot for every chunk: reads are learned, and stale facts disturb
  # them.
  c.train.curriculum = ((0.25, 128, 16),)
  c.train.steps = 1600
  return c


def _pressure(c: ConfigDict) -> ConfigDict:
  c = _facts(c)
  # Its facts have a token in common, their priority.
  c.memory.controller.update_threshold = 0.625
  c.train.steps = 2400
  return c


def _gather(c: ConfigDict) -> ConfigDict:
  """A slot for each entity, which has three attributes."""
  c = _facts(c)
  # Share of the blocks without a statement that ask, at least 0 and at most 1;
  # 0: the last one alone.
  c.data.ask_rate = 0.0
  # In short texts, first with a slot for every chunk, then with few slots.
  c.train.curriculum = ((0.25, 64, 8), (0.5, 64, 4))
  c.train.steps = 2000
  c.train.learning_rate = 4e-3
  return c


def _boxes(c: ConfigDict) -> ConfigDict:
  """A slot for each object that is in a box."""
  c = _facts(c)
  c.train.curriculum = ((0.25, 64, 8), (0.5, 64, 4))
  c.train.steps = 2400
  c.train.learning_rate = 4e-3
  return c


def _pairs(c: ConfigDict) -> ConfigDict:
  """16 pairs and questions, and a slot for each of 4 keys."""
  c = _facts(c)
  c.data.length = 64
  c.data.block = 4
  c.model.chunk_length = 4
  c.train.curriculum = ((0.25, 64, 16),)
  c.train.steps = 1000
  return c


def _pi_updates(c: ConfigDict) -> ConfigDict:
  c = _pairs(c)
  # 4 pairs of each key and a question about each; up to 399 updates.
  c.data.length = 80
  c.train.curriculum = ((0.25, 80, 20),)
  c.eval.length_multipliers = (1, 4, 16, 64, 80)
  return c


def _rewrite(c: ConfigDict) -> ConfigDict:
  c = _pairs(c)
  c.data.length = 204  # 50 pairs, and the question
  c.train.curriculum = ((0.25, 64, 16), (0.5, 64, 4))
  c.eval.length_multipliers = (1, 10, 100)
  return c


def _remember(c: ConfigDict) -> ConfigDict:
  c = _rewrite(c)
  c.memory.num_slots = 50
  c.train.curriculum = ()
  c.eval.length_multipliers = (1,)
  return c


def _count(c: ConfigDict) -> ConfigDict:
  """A slot for each of 3 keys."""
  c = _facts(c)
  c.train.learning_rate = 4e-3
  c.memory.num_slots = 3
  c.memory.controller.update_rule = "gated_change"
  # Few slots from the start: with one for each mark nothing has to count.
  c.train.curriculum = ((0.3, 64, 3), (0.6, 96, 3))
  c.train.steps = 3000
  return c


def _parity(c: ConfigDict) -> ConfigDict:
  c = _count(c)
  c.data.name = "count"
  # What counts are modulo of, at least 2.
  c.data.num_values = 2
  c.train.steps = 2000
  return c


def _mqar(c: ConfigDict) -> ConfigDict:
  c = _common(c)
  c.data.length = 64
  c.data.num_pairs = 8  # number of keys, each with a value and a question
  # Number of token ids of keys and values; published results use 8192, which
  # needs an accelerator.
  c.data.pair_vocab = 64
  c.model.chunk_length = 2  # a pair or a question; 32 chunks
  c.memory.num_slots = 8
  c.train.curriculum = ((0.2, 32, 16), (0.6, 64, 16))
  c.train.steps = 1000
  return c


VARIANTS = {
  "recall": ("3 facts among noise and near misses", _facts),
  "rebind": ("3 keys whose values change: the newest is asked for", _facts),
  "revoke": ('facts may be revoked: then the answer is "none"', _facts),
  "pressure": ("more facts than slots, of different priority", _pressure),
  "delayed_qa": (
    "an early marked digit, asked for later among other digits",
    _facts,
  ),
  "gather": (
    "what several statements say about each of 4 entities",
    _gather,
  ),
  "boxes": ("objects in boxes: the exact contents are asked", _boxes),
  "pi_updates": ("4 keys, each updated up to 399 times", _pi_updates),
  "rewrite": ("50 pairs of 4 keys: the newest value", _rewrite),
  "remember": ("50 pairs of different keys", _remember),
  "count": ("how often a key was marked, modulo 5", _count),
  "parity": ("how often a key was marked, modulo 2", _parity),
  "mqar": ("associative recall of 8 keys, each asked for once", _mqar),
  "forgetting_mqar": ("mqar with new values for 4 of the keys", _mqar),
}


def get_config(variant: str = "recall") -> ConfigDict:
  """The config of a variant, which is named for its task."""
  c = default.choose("configs/lifecycle_lc.py", variant, VARIANTS)
  c.data.name = c.data.name or variant
  return c
