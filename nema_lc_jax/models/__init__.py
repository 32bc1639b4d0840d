"""Models with a memory, and the learned policies. Only this room uses linen."""

from nema_lc_jax.models.config import BASELINES, ModelConfig
from nema_lc_jax.models.memory_layer import ground_truth_of
from nema_lc_jax.models.model import Model, ModelOutput, build_model
from nema_lc_jax.models.policies import POLICIES, make_policy

__all__ = [
  "BASELINES",
  "POLICIES",
  "Model",
  "ModelConfig",
  "ModelOutput",
  "build_model",
  "ground_truth_of",
  "make_policy",
]
