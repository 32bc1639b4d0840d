"""Learned policies: the write gates of NeMA-Lite, and NeMA-LC."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.memory.state import init_state
from nema_lc_jax.memory.types import (
  FORGET,
  FRESH_USAGE,
  RETAIN,
  STRENGTH_FLOOR,
  Array,
  Candidates,
  Chunk,
  MemoryState,
  Policy,
  Scores,
  decayed_usage,
)
from nema_lc_jax.models import controller, pure
from nema_lc_jax.models.ranges import require_options

# Retention priority by eviction rule. Write priorities lie in (0, 1), so they
# always exceed the last two, which lie below 0.
EVICTION_RULES = {
  "strength": lambda state, retained: retained,
  "fifo": lambda state, retained: heuristics.oldest_first(state),
  "lru": lambda state, retained: state.usage - 2 * FRESH_USAGE,
}
# Update of the usage by eviction rule.
USAGE_RULES = {
  "strength": decayed_usage,
  "fifo": decayed_usage,
  "lru": heuristics.least_recent_access,
}
# Width of the soft edge between retained and evicted slots, in the units of the
# eviction rule: log strength, or steps.
SOFTNESS = 0.25
GRADIENT_ESTIMATORS = ("continuous", "straight_through")


def _example(num_slots: int, num_candidates: int, width: int):
  """A state and a chunk, to initialise modules with."""
  state = init_state(num_slots=num_slots, width=width)
  candidates = Candidates(
    content=jnp.zeros((num_candidates, width)),
    valid=jnp.ones((num_candidates,), bool),
  )
  chunk = Chunk(
    query=jnp.zeros((1, width)), candidates=candidates, valid=jnp.ones(1, bool)
  )
  return state, chunk


def _check_choice(option: str, value: str, known: Iterable[str]) -> None:
  if value not in known:
    raise ValueError(
      f"{option}={value!r} is unknown; known: {', '.join(map(repr, known))}."
    )


def _straight_through(forward: Array, backward: Array) -> Array:
  """The value of `forward` with the gradient of `backward`."""
  return forward + backward - jax.lax.stop_gradient(backward)


def _write_scores(
  key: Array, logits: Array, train: bool, threshold: float, noise: float
) -> tuple[Array, Array]:
  """Write priority and write strength [K] from write logits [K].

  In training the priority has logistic noise, for exploration. The strength,
  which carries the gradient, has none.
  """
  strength = jax.nn.sigmoid(logits)
  if train:
    logits += noise * jax.random.logistic(key, logits.shape)
  priority = jax.nn.sigmoid(logits)
  return jnp.where(priority > threshold, priority, -jnp.inf), strength


def _soft_eviction(
  state: MemoryState,
  retained: Array,
  priority: Array,
  *,
  capacity: int,
  decay: float,
) -> Array:
  """Decays the strengths [M] of all but the best `capacity` slots.

  A relaxation of eviction, for training with overprovisioned slots. An evicted
  item gets no gradient, but one that decays does, for as long as it is read.
  The edge is soft: the distance of an item's priority from the edge has a
  gradient too, so that retention and eviction learn from the same reads.

  Args:
    state: the memory.
    retained: [M], strengths before the decay.
    priority: [M], retention priorities; the edge is SOFTNESS wide.
    capacity: the number of slots outside of training.
    decay: factor per step of a strength that is clearly beyond the edge.
  """
  live = state.alive
  if capacity >= live.shape[0]:
    return retained
  value = jnp.where(live, priority, -1e9)
  # The edge is the mean of the worst retained and the best evicted slot. It is
  # computed with a mask, since the gradient of a sort is slow.
  _, order = jax.lax.top_k(jax.lax.stop_gradient(value), capacity + 1)
  edge = 0.5 * jax.nn.one_hot(order[-2:], value.shape[0]) @ value
  edge = edge.sum()
  outside = jax.nn.sigmoid((edge - value) / SOFTNESS)
  outside = jnp.where(live.sum() > capacity, outside, 0.0)
  return retained * decay**outside


def write_gate(
  eviction: str,
  *,
  width: int,
  capacity: int | None = None,
  hidden: int = 32,
  write_bias: float = 1.0,
  write_threshold: float = 0.02,
  noise: float = 0.3,
  soft_eviction_decay: float = 0.02,
  ablate_input: str = "",
) -> Policy:
  """NeMA-Lite: a learned write gate with FIFO or LRU eviction.

  Args:
    eviction: "fifo" or "lru", the rule for which slot a write replaces.
    width: D.
    capacity: of the memory when slots are overprovisioned; None: all slots.
    hidden: width of the gate.
    write_bias: initial bias of the write logit.
    write_threshold: only write priorities above it are written.
    noise: scale of the exploration noise of write priorities in training.
    soft_eviction_decay: factor per training step of strengths beyond capacity.
    ablate_input: an input hidden from the gate, for ablations: "context", or
      "content" of the slots.
  """
  require_options(locals())
  _check_choice("ablate_input", ablate_input, controller.ABLATED_INPUTS)
  gate = controller.WriteGate(hidden, write_bias, ablate_input)

  def init(key, *, num_slots, num_candidates):
    example = _example(num_slots, num_candidates, width)
    return {"gate": pure.init(gate, key, *example)}

  def score(params, key, state, chunk, *, train):
    logits = pure.apply(gate, params["gate"], state, chunk)
    write_priority, write_strength = _write_scores(
      key, logits, train, write_threshold, noise
    )
    retention = EVICTION_RULES[eviction](state, state.strength)
    scores = heuristics.retain_all(state, chunk, retention).replace(
      write_priority=write_priority, write_strength=write_strength
    )
    if train and capacity is not None:
      retained = _soft_eviction(
        state,
        state.strength,
        retention,
        capacity=capacity,
        decay=soft_eviction_decay,
      )
      scores = scores.replace(retained_strength=retained)
    return scores

  return Policy(init, score, USAGE_RULES[eviction])


def learned(
  *,
  width: int,
  capacity: int | None = None,
  hidden: int = 32,
  eviction: str = "strength",
  allow_update: bool = True,
  allow_forget: bool = True,
  max_decay: float = 0.9,
  write_bias: float = 1.0,
  update_bias: float = 0.0,
  write_threshold: float = 0.02,
  noise: float = 0.3,
  soft_eviction_decay: float = 0.02,
  ablate_input: str = "",
  gradient_estimator: str = "continuous",
) -> Policy:
  """NeMA-LC: write, retain, update and forget are all learned.

  A write sets a slot's strength to its write strength, each step multiplies it
  by 1 - max_decay * p_forget, and reads weight slots by it. Each decision thus
  has a gradient through all later reads.

  Args:
    width: D.
    capacity: of the memory when slots are overprovisioned; None: all slots.
    hidden: width of the controller.
    eviction: the rule for which slot a write replaces: "strength" (the weakest
      one), "fifo" or "lru".
    allow_update: whether slots may be updated.
    allow_forget: whether slots may be forgotten, and decay.
    max_decay: the largest share of its strength that a slot loses in a step.
    write_bias: initial bias of the write logit.
    update_bias: initial bias of the update logit.
    write_threshold: only write priorities above it are written.
    noise: scale of the exploration noise of write priorities in training.
    soft_eviction_decay: factor per training step of strengths beyond capacity.
    ablate_input: an input hidden from the controller, for ablations: "content"
      of the slots, "age", "usage" or "context".
    gradient_estimator: "continuous" uses strengths as they are.
      "straight_through", for ablations, sets each strength to 1 with the
      gradient of its continuous value, and evicts by the probability of retain
      where the rule is "strength".

  Raises:
    ValueError: on an option that is unknown or out of its range.
  """
  require_options(locals())
  _check_choice("ablate_input", ablate_input, controller.ABLATED_INPUTS)
  _check_choice("eviction", eviction, EVICTION_RULES)
  _check_choice("gradient_estimator", gradient_estimator, GRADIENT_ESTIMATORS)
  gate = controller.WriteGate(hidden, write_bias, ablate_input)
  # Retain is likely at first, and forget probable enough (0.045) to have a
  # gradient.
  slots = controller.SlotActions(hidden, (3.0, update_bias, 0.0), ablate_input)
  # Columns as in `Scores.action_probs`.
  allowed = [True, allow_update, allow_forget]

  def init(key, *, num_slots, num_candidates):
    example = _example(num_slots, num_candidates, width)
    gate_key, slots_key = jax.random.split(key)
    return {
      "gate": pure.init(gate, gate_key, *example),
      "slots": pure.init(slots, slots_key, *example),
    }

  def score(params, key, state: MemoryState, chunk: Chunk, *, train):
    logits = pure.apply(slots, params["slots"], state, chunk)
    logits = jnp.where(jnp.array(allowed), logits, -jnp.inf)
    action_probs = jax.nn.softmax(logits, axis=-1)
    retained = state.strength * (1.0 - max_decay * action_probs[:, FORGET])
    logits = pure.apply(gate, params["gate"], state, chunk)
    write_priority, write_strength = _write_scores(
      key, logits, train, write_threshold, noise
    )
    retention = EVICTION_RULES[eviction](state, retained)
    if train and capacity is not None:
      priority = retention
      if eviction == "strength":
        # Reads compare strengths by their ratio.
        priority = jnp.log(jnp.maximum(retention, STRENGTH_FLOOR))
      retained = _soft_eviction(
        state, retained, priority, capacity=capacity, decay=soft_eviction_decay
      )
    if gradient_estimator == "straight_through":
      ones = jnp.ones_like(write_strength)
      write_strength = _straight_through(ones, write_strength)
      retained = _straight_through(state.strength, retained)
      if eviction == "strength":
        retention = action_probs[:, RETAIN]
    return Scores(
      action_probs=action_probs,
      proposal=controller.propose(state, chunk),
      write_priority=write_priority,
      write_strength=write_strength,
      retention_priority=retention,
      retained_strength=retained,
    )

  return Policy(init, score, USAGE_RULES[eviction])
