"""Small runs that tests share."""

from ml_collections import ConfigDict

from configs import lifecycle_lc, toy_lc


def tiny_config(variant: str = "recall", **train) -> ConfigDict:
  """A run of a few seconds, compile included."""
  configs = toy_lc if variant == "toy" else lifecycle_lc
  c = configs.get_config(variant)
  c.data.length = 80
  c.data.num_eval = 24
  c.data.num_test = 40
  c.eval.length_multipliers = (1, 2)
  c.eval.examples = 10
  c.model.chunk_length = 8
  c.model.width = 8
  c.model.num_heads = 2
  c.memory.num_slots = 3
  c.memory.controller.hidden = 4
  # Two stages, so that resuming crosses one.
  c.train.curriculum = ((0.375, 80, 4),)
  c.train.steps = 8
  c.train.batch_size = 8
  c.train.eval_batch_size = 16
  c.train.warmup_steps = 2
  c.train.log_every = 2
  c.train.eval_every = 3
  c.train.checkpoint_every = 3
  c.train.update(train)
  return c
