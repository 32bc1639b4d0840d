"""Trains a miniature of `recall` and prints its validation accuracy.

python tests/training/miniature.py POLICY

8 chunks, two of them facts, 2 slots, about 20 s on one core beside the
compilation, of a single stage. A process of its own, since the flags that tests
compile with make programs slow.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np

from configs import lifecycle_lc
from nema_lc_jax.training import evaluation
from nema_lc_jax.training.experiment import make_experiment


def accuracy(policy: str, seed: int = 0) -> float:
  """Validation accuracy after training."""
  c = lifecycle_lc.get_config("recall")
  c.seed = seed
  c.data.update(length=64, num_facts=2, num_eval=256)
  c.model.width, c.model.num_layers = 32, 0
  c.memory.update(policy=policy, num_slots=2)
  c.train.update(steps=700, learning_rate=4e-3, warmup_steps=20, curriculum=())
  experiment = make_experiment(c)
  steps = experiment.steps
  state = steps.init(np.uint32(seed), np.float32(c.train.learning_rate))
  for stage in experiment.stages:
    step = steps.train_step(stage.num_slots)
    batches = experiment.batches(stage)
    for _ in range(stage.start, stage.stop):
      state, _ = step(state, steps.put(next(batches)))
      jax.block_until_ready(state)
  values = evaluation.evaluate(experiment, state.params, "validation").metrics
  return values["accuracy"]


if __name__ == "__main__":
  print(accuracy(sys.argv[1]))
