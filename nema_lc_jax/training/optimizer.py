"""AdamW with clipping and a schedule; policies have their own rate factor."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nema_lc_jax.memory.types import Params

# Steps with non-finite gradients are always skipped here; the training loop
# counts them and stops the run.
_ALWAYS_SKIP = jnp.iinfo(jnp.int32).max


def learning_rate_schedule(
  *, steps: int, warmup_steps: int, schedule: str = "cosine"
) -> optax.Schedule:
  """The learning rate by step, as a fraction of its peak.

  Linear warm-up from 0 to 1, then "cosine" to 0, "constant", or "rsqrt":
  sqrt(warmup_steps / step).

  Raises:
    ValueError: on an unknown schedule, or a warm-up longer than the run.
  """
  if not 0 <= warmup_steps <= steps:
    raise ValueError(
      f"config.train.warmup_steps={warmup_steps} must lie between 0 and"
      f" config.train.steps={steps}."
    )
  after = {
    "cosine": optax.cosine_decay_schedule(1.0, max(steps - warmup_steps, 1)),
    "constant": optax.constant_schedule(1.0),
    "rsqrt": lambda step: jnp.sqrt(
      max(warmup_steps, 1) / (step + max(warmup_steps, 1))
    ),
  }
  if schedule not in after:
    raise ValueError(
      f"config.train.schedule={schedule!r} is unknown; known:"
      f" {', '.join(after)}."
    )
  warmup = optax.linear_schedule(0.0, 1.0, max(warmup_steps, 1))
  return optax.join_schedules([warmup, after[schedule]], [warmup_steps])


def _in_policy(path: tuple[Any, ...]) -> bool:
  return path[0].key == "policy"


def _policy(params: Params) -> Any:
  """A mask of the policy's parameters."""
  return jax.tree.map_with_path(lambda path, _: _in_policy(path), params)


def _decayed(params: Params) -> Any:
  """A mask of all matrices but the policy's."""
  return jax.tree.map_with_path(
    lambda path, x: x.ndim > 1 and not _in_policy(path), params
  )


def make_optimizer(
  *,
  weight_decay: float,
  clip_norm: float,
  policy_factor: float,
) -> optax.GradientTransformation:
  """AdamW for a model's parameters; non-finite gradients are skipped.

  Its updates must still be multiplied by minus the learning rate.

  Args:
    weight_decay: of matrices, except the policy's.
    clip_norm: the global norm to which gradients are clipped.
    policy_factor: ratio of the policy's learning rate to that of the rest.
  """

  tx = optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.scale_by_adam(b2=0.98),
    optax.add_decayed_weights(weight_decay, mask=_decayed),
    optax.masked(optax.scale(policy_factor), _policy),
  )
  return optax.apply_if_finite(tx, max_consecutive_errors=_ALWAYS_SKIP)
