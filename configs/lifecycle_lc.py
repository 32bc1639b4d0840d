"""The lifecycle tasks."""

from ml_collections import ConfigDict

from configs import default


def get_config(variant: str = "recall") -> ConfigDict:
  """The config of a variant."""
  return default.choose(
    "configs/lifecycle_lc.py",
    variant,
    {
      "recall": _recall,
      "rebind": _rebind,
      "revoke": _revoke,
      "pressure": _pressure,
      "delayed_qa": _delayed_qa,
      "mqar": _mqar,
      "forgetting_mqar": _forgetting,
    },
  )


def _common(c, name):
  c.data.name = name
  c.data.length = 128
  c.data.num_eval = 1024
  c.data.num_test = 2048
  c.model.chunk_length = 8
  c.model.num_layers = 1
  c.model.mlp_ratio = 2.0
  c.memory.num_slots = 4
  c.memory.num_candidates = 1
  c.train.curriculum = ((0.65, 128, 16),)
  c.train.steps = 1000
  return c


def _recall(c):
  return _common(c, "recall")


def _rebind(c):
  return _common(c, "rebind")


def _revoke(c):
  return _common(c, "revoke")


def _pressure(c):
  return _common(c, "pressure")


def _delayed_qa(c):
  return _common(c, "delayed_qa")


def _mqar(c):
  c = _common(c, "mqar")
  c.data.length = 64
  c.data.pair_vocab = 64
  c.model.chunk_length = 4
  c.memory.num_candidates = 2
  c.memory.num_slots = 8
  c.train.curriculum = ((0.65, 64, 32),)
  return c


def _forgetting(c):
  c = _mqar(c)
  c.data.name = "forgetting_mqar"
  return c
