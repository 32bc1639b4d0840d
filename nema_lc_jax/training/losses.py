"""The task loss and the three lifecycle losses.

Every quantity is a pair (sum, count). Sums and counts are added over devices,
batches or a whole split and divided at the end, so that means are exact.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nema_lc_jax.memory.types import FORGET, Array, StepOutput
from nema_lc_jax.training.collectives import WHOLE_BATCH, Collectives

Sums = dict[str, tuple[Array, Array]]

# Steps over which the cost of forgetting a young slot falls by a factor of e.
FORGET_AGE_SCALE = 8.0
# A write of this strength counts as half a write.
WRITE_COUNT_SCALE = 0.03


def masked(values: Array, mask: Array) -> tuple[Array, Array]:
  """(sum, count) of `values` where `mask`, which is broadcast, is true."""
  mask = jnp.broadcast_to(mask, values.shape)
  total = jnp.where(mask, values, 0).sum(dtype=jnp.float32)
  return total, mask.sum(dtype=jnp.float32)


def _pair_targets(groups: Array, across: Collectives):
  """Labels and weights [B, B'] of all pairs, with equal weight per class."""
  others = across.gather(groups)
  same = groups[:, None] == others[None, :]
  positives = across.total(same.sum(dtype=jnp.float32))
  negatives = across.total((~same).sum(dtype=jnp.float32))
  half = 0.5 * others.shape[0]
  weights = jnp.where(
    same, half / jnp.maximum(positives, 1), half / jnp.maximum(negatives, 1)
  )
  return same.astype(jnp.int32), weights


def _contrastive(logits: Array, same: Array) -> Array:
  """InfoNCE of each first text against all second texts, summed over rows.

  Features that all texts share cancel in the softmax over the batch; the loss
  per pair learns this only slowly. Source: van den Oord et al. 2018, 2.3.
  """
  margin = logits[..., 1] - logits[..., 0]
  positive = jax.nn.logsumexp(jnp.where(same == 1, margin, -jnp.inf), axis=-1)
  return (jax.nn.logsumexp(margin, axis=-1) - positive).sum()


def task_sums(
  logits: Array,
  batch: Mapping[str, Any],
  *,
  across: Collectives = WHOLE_BATCH,
) -> Sums:
  """Cross-entropy (nats) and accuracy of a batch, as (sum, count).

  For all pairs of a batch the loss is the cross-entropy of each pair, with
  equal weight per class, plus half of InfoNCE for each first text.

  Args:
    logits: [B, C], or [B, L, C] with labels [B, L], or [B, B', C] for all
      pairs of a batch that has `group` [B] in place of `label`.
    batch: `label` (negative: no question); optionally `weight` [B].
    across: the devices that share the batch.
  """
  if "label" in batch:
    labels = batch["label"]
    weights = (labels >= 0).astype(jnp.float32)
    if "weight" in batch:
      rows = batch["weight"].reshape(-1, *[1] * (labels.ndim - 1))
      weights = weights * rows
  else:
    labels, weights = _pair_targets(batch["group"], across)
  logits = logits.astype(jnp.float32)
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.maximum(labels, 0)
  )
  total = (losses * weights).sum()
  if "label" not in batch:
    # The weights of all pairs add up to the number of first texts.
    total += 0.5 * _contrastive(logits, labels)
  correct = (logits.argmax(-1) == labels).astype(jnp.float32)
  count = weights.sum()
  return {
    "task_loss": (total, count),
    "accuracy": ((correct * weights).sum(), count),
  }


def per_example_accuracy(logits: Array, labels: Array) -> tuple[Array, Array]:
  """The share of correct answers [B] f32, and the questions [B] i32, by row.

  Args:
    logits: [B, C] or [B, L, C].
    labels: [B] or [B, L]; negative: no question.
  """
  rows = len(labels)
  asked = (labels >= 0).reshape(rows, -1)
  correct = (logits.argmax(-1) == labels).reshape(rows, -1) & asked
  questions = asked.sum(1)
  return correct.sum(1) / jnp.maximum(questions, 1), questions


def per_token_loss(logits: Array, labels: Array) -> Array:
  """The cross-entropy (nats) of each token [B, L]; 0 where nothing is asked.

  Args:
    logits: [B, L, C].
    labels: [B, L]; negative: no question.
  """
  found = optax.softmax_cross_entropy_with_integer_labels(
    logits.astype(jnp.float32), jnp.maximum(labels, 0)
  )
  return jnp.where(labels >= 0, found, 0.0)


def stale_sums(logits: Array, batch: Mapping[str, Any]) -> Sums:
  """Share of stale answers to the questions that have one, as (sum, count).

  Args:
    logits: [B, C] or [B, L, C].
    batch: `label` [B] or [B, L] and `stale` [B, S] or [B, L, S], the labels
      that were correct earlier (negative: none); optionally `weight` [B].
  """
  labels, stale = batch["label"], batch["stale"]
  hit = ((logits.argmax(-1)[..., None] == stale) & (stale >= 0)).any(-1)
  counted = (stale >= 0).any(-1) & (labels >= 0)
  if "weight" in batch:
    counted &= (batch["weight"] > 0).reshape(-1, *[1] * (labels.ndim - 1))
  return {"stale_read_rate": masked(hit.astype(jnp.float32), counted)}


def mask_rows(steps: StepOutput, rows: Array) -> StepOutput:
  """`steps` [B, N, ...] with all but `rows` [B] bool excluded from the sums."""
  rows = rows[:, None]
  return steps.replace(
    active=steps.active & rows,
    candidates=steps.candidates & rows[..., None],
  )


def lifecycle_sums(steps: StepOutput) -> Sums:
  """The write, forget and stability losses, as (sum, count).

  write_loss: a smooth count of what is stored, the mean of
    s / (s + WRITE_COUNT_SCALE) over the probabilities s of valid candidates to
    be written or part of an update. A mean of s itself would
    mostly penalise strong candidates, the facts, and hardly weak ones, noise.
  forget_loss: mean p_forget * phi over the slots alive before the step, where
    phi = (exp(-age / 8) + usage / (1 + usage)) / 2 is larger for young and for
    much used slots.
  stability_loss: mean squared change of a slot's action distribution between
    consecutive steps, over slots that kept their item.

  Args:
    steps: leaves [B, N, ...].
  """
  active = steps.active[..., None]
  youth = jnp.exp(-steps.age / FORGET_AGE_SCALE)
  usage = jnp.maximum(steps.usage, 0.0)  # LRU stores recency, below 0.
  used = usage / (1.0 + usage)
  phi = jax.lax.stop_gradient(0.5 * (youth + used))
  change = jnp.square(
    steps.action_probs[:, 1:] - steps.action_probs[:, :-1]
  ).mean(-1)
  same = steps.kept[:, :-1] & active[:, :-1] & active[:, 1:]
  return {
    "write_loss": masked(
      steps.stored / (steps.stored + WRITE_COUNT_SCALE),
      steps.candidates,
    ),
    "forget_loss": masked(
      steps.action_probs[..., FORGET] * phi, steps.alive & active
    ),
    "stability_loss": masked(change, same),
  }


def dynamics_sums(steps: StepOutput, *, budget: int) -> Sums:
  """Rates of memory operations, as (sum, count), over steps with a valid token.

  memory_utilisation: share of slots alive after the step.
  memory_age: steps since the live slots were written or updated.
  write_rate: writes per valid candidate; update_rate, forget_rate: operations
  per slot alive before the step; churn: share of those slots that lost their
  item, forgotten or replaced; budget_used: operations over the budget.
  """
  active = steps.active[..., None]
  written = steps.allocation.write & active
  occupied = steps.alive & active
  kept = steps.kept & active
  per_slot = lambda done: masked(done.astype(jnp.float32), occupied)
  operations = steps.writes + steps.updates + steps.forgets
  live = kept | ((steps.allocation.source >= 0) & active)
  return {
    "memory_utilisation": masked(live.astype(jnp.float32), active),
    "memory_age": masked(jnp.where(kept, steps.age + 1.0, 0.0), live),
    "write_rate": (
      written.sum(dtype=jnp.float32),
      steps.candidates.sum(dtype=jnp.float32),
    ),
    "update_rate": per_slot(steps.allocation.update),
    "forget_rate": per_slot(steps.allocation.forget),
    "churn": per_slot(occupied & ~kept),
    "budget_used": masked(
      operations / max(budget, 1), steps.active & (budget > 0)
    ),
  }


def total_loss(
  sums: Sums,
  weights: Mapping[str, Array],
  *,
  across: Collectives = WHOLE_BATCH,
) -> Array:
  """Task loss plus weighted lifecycle losses, each a mean over all devices.

  Where each device has a part of the batch, this is the device's share; the
  shares add up to the loss.

  Args:
    sums: from `task_sums` and `lifecycle_sums`.
    weights: by name of the loss; the task loss has weight 1.
    across: the devices that share the batch.
  """
  loss = jnp.zeros(())
  for name, weight in ({"task_loss": 1.0} | dict(weights)).items():
    if name in sums:
      total, count = sums[name]
      count = across.total(count)
      loss += weight * total / jnp.maximum(jax.lax.stop_gradient(count), 1e-9)
  return loss
