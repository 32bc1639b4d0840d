"""One training step and one evaluation step, as pure functions.

They see a whole batch, or reach its other parts through `Collectives`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics
from flax import struct

from nema_lc_jax.memory import MemoryState, init_state
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import Model, ModelOutput
from nema_lc_jax.training import losses, metrics, truth
from nema_lc_jax.training.collectives import WHOLE_BATCH, Collectives

# Arrays of a batch that an evaluation returns for each row.
PER_ROW = ("index", "weight", "task")
# Folded into a row's key for the draw that may empty its memory.
CARRY = 2**31


@struct.dataclass
class TrainState:
  """The state that a training step changes."""

  step: Array  # [] i32, number of updates so far
  params: Params
  opt_state: optax.OptState
  # Constant within a run, but not compiled in: runs of all seeds and learning
  # rates share a program.
  seed: Array  # [] u32; step n draws from fold_in(key(seed + 1), n)
  peak: Array  # [] f32, the highest learning rate
  # What the last step left in each row's memory, leaves [B, ...]; None if
  # every text starts with an empty one.
  memory: MemoryState | None = None


class Carried(NamedTuple):
  """The memories that are carried from step to step."""

  rows: int  # of a batch
  num_slots: int  # the most that a stage has
  width: int
  # Probability that a row goes on with its memory; otherwise it is emptied.
  rate: float

  def empty(self) -> MemoryState:
    """Empty memories, leaves [rows, ...]."""
    one = init_state(num_slots=self.num_slots, width=self.width)
    return jax.tree.map(lambda x: jnp.tile(x, (self.rows, *[1] * x.ndim)), one)

  def before(
    self, memory: MemoryState, batch: Mapping[str, Array], keys: Array
  ) -> MemoryState:
    """The memories [B, ...] with which a step starts."""
    draw = lambda key: jax.random.uniform(jax.random.fold_in(key, CARRY))
    keep = jax.vmap(draw)(keys) < self.rate
    if "continues" in batch:
      keep &= batch["continues"]
    return _emptied(memory, ~keep)

  def after(self, memory: MemoryState) -> MemoryState:
    """What a step has left, without gradient, and with all slots."""
    more = self.num_slots - memory.age.shape[1]
    pad = lambda x: jnp.pad(x, ((0, 0), (0, more), *[(0, 0)] * (x.ndim - 2)))
    memory = jax.lax.stop_gradient(memory.replace(claim=None))
    # A skipped step must not spoil those that follow.
    lost = ~jnp.isfinite(memory.content).all((1, 2))
    return _emptied(jax.tree.map(pad, memory), lost)


def _emptied(memory: MemoryState, rows: Array) -> MemoryState:
  """The memories [B, ...] with those of `rows` [B] bool empty: all is 0."""
  empty = lambda x: jnp.where(rows.reshape(-1, *[1] * (x.ndim - 1)), 0, x)
  return jax.tree.map(empty, memory)


class TrainSpec(NamedTuple):
  """What the steps of a run share (static)."""

  model: Model
  tx: optax.GradientTransformation
  # The learning rate by step, as a fraction of its peak; not applied by `tx`.
  schedule: optax.Schedule
  # The weight by step of each lifecycle loss, by its name.
  loss_weights: Mapping[str, optax.Schedule]
  # The model's budget, for `budget_used`.
  budget: int
  # None: every text starts with an empty memory.
  carried: Carried | None = None


def init_train_state(
  spec: TrainSpec, seed: int | Array, peak: float | Array
) -> TrainState:
  """Parameters and optimizer state before the first step."""
  params = spec.model.init(jax.random.key(seed))
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=spec.tx.init(params),
    seed=jnp.asarray(seed, jnp.uint32),
    peak=jnp.asarray(peak, jnp.float32),
    memory=spec.carried.empty() if spec.carried else None,
  )


def _example_keys(key: Array, rows: int, across: Collectives) -> Array:
  """One key per row [rows], whatever the number of devices."""
  numbers = across.first_row(rows) + jnp.arange(rows)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)


def _sums(
  budget: int,
  output: ModelOutput,
  batch: Mapping[str, Array],
  across: Collectives = WHOLE_BATCH,
) -> losses.Sums:
  sums = losses.task_sums(output.logits, batch, across=across)
  if output.steps is not None:
    sums |= losses.lifecycle_sums(output.steps)
    sums |= losses.dynamics_sums(output.steps, budget=budget)
    if output.steps.ground_truth is not None:
      right = None
      if "label" in batch and batch["label"].ndim == 1:
        right = output.logits.argmax(-1) == batch["label"]
      sums |= truth.truth_sums(output.steps, right)
  if "stale" in batch:
    sums |= losses.stale_sums(output.logits, batch)
  return sums


def train_step(
  state: TrainState,
  batch: Mapping[str, Array],
  *,
  spec: TrainSpec,
  num_slots: int | None = None,
  across: Collectives = WHOLE_BATCH,
  whole: Callable[[Params], Params] = lambda params: params,
) -> tuple[TrainState, clu_metrics.Collection]:
  """One update.

  Args:
    state: before the step.
    batch: [B, ...] leaves, this device's rows.
    spec: static.
    num_slots: replaces the model's own in a curriculum (static).
    across: the devices that share the batch (static).
    whole: gathers sharded parameters for the model (static).

  Returns:
    The state after the step, and its `metrics.TrainMetrics`.
  """
  key = jax.random.fold_in(jax.random.key(state.seed + 1), state.step)
  keys = _example_keys(key, batch["inputs"].shape[0], across)
  weights = {k: w(state.step) for k, w in spec.loss_weights.items()}
  memory = None
  if spec.carried:
    memory = spec.carried.before(state.memory, batch, keys)

  def share_of_loss(params):
    output = spec.model.apply(
      whole(params),
      keys,
      batch,
      train=True,
      num_slots=num_slots,
      all_pairs="group" in batch,
      gather=across.gather,
      initial=memory,
    )
    sums = _sums(spec.budget, output, batch, across)
    left = spec.carried.after(output.state) if spec.carried else None
    return losses.total_loss(sums, weights, across=across), (sums, left)

  grads, (sums, left) = jax.grad(share_of_loss, has_aux=True)(state.params)
  grads, sums = across.total((grads, sums))
  directions, opt_state = spec.tx.update(grads, state.opt_state, state.params)
  rate = state.peak * spec.schedule(state.step)
  updates = jax.tree.map(lambda d: -rate * d, directions)
  one = jnp.ones(())
  sums |= {
    "loss": (losses.total_loss(sums, weights), one),
    "learning_rate": (rate, one),
    "grad_norm": (optax.tree.norm(grads), one),
  }
  state = state.replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    opt_state=opt_state,
    memory=left,
  )
  return state, metrics.from_sums(metrics.TrainMetrics, sums)


def eval_step(
  params: Params,
  batch: Mapping[str, Array],
  *,
  spec: TrainSpec,
  budget: int | None = None,
  relaxed: bool = False,
  per_token: bool = False,
) -> tuple[clu_metrics.Collection, dict[str, Array]]:
  """Metrics of a labelled batch, and the result of each row.

  Args:
    params: of the model.
    batch: with `label`, `weight` (rows of weight 0 do not count) and `index`,
      each row's number, which seeds the draws of a random policy.
    spec: static.
    budget: replaces the model's own (static); 0 turns the memory off.
    relaxed: applies the model as in training (static).
    per_token: also returns the loss of each token (static).

  Returns:
    `metrics.EvalMetrics`; and by row [B] `correct`, the share of correct
    answers, the number of `questions`, and the batch's `index`, `weight` and,
    if present, `task`; with `per_token` also `nats` [B, L].
  """
  B = len(batch["weight"])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(0), batch["index"]
  )
  output = spec.model.apply(params, keys, batch, train=relaxed, budget=budget)
  if output.steps is not None:
    # Rows that pad the last batch must not count in the dynamics either.
    real = jnp.tile(batch["weight"] > 0, len(output.steps.active) // B)
    output = output.replace(steps=losses.mask_rows(output.steps, real))
  used = spec.budget if budget is None else budget
  sums = _sums(used, output, batch)
  # Lifecycle losses belong to training: evaluation is of the task alone.
  sums["loss"] = sums["task_loss"]
  rows = {name: batch[name] for name in PER_ROW if name in batch}
  rows["correct"], rows["questions"] = losses.per_example_accuracy(
    output.logits, batch["label"]
  )
  if per_token:
    rows["nats"] = losses.per_token_loss(output.logits, batch["label"])
  return metrics.from_sums(metrics.EvalMetrics, sums), rows
