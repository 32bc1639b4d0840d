"""Learned policies: the write gates of NeMA-Lite, and `learned` of NeMA-LC."""

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

# Retention priorities by eviction rule. Priorities of learned writes lie in
# (0, 1), so they always exceed the last two, which lie below 0.
EVICTION_RULES = {
  "strength": lambda state, retained: retained,
  "fifo": lambda state, retained: heuristics.oldest_first(state),
  "lru": lambda state, retained: state.usage - 2 * FRESH_USAGE,
}
# How usage is updated for them.
USAGE_RULES = {
  "strength": decayed_usage,
  "fifo": decayed_usage,
  "lru": heuristics.least_recent_access,
}


# Width of the soft edge between retained and evicted slots, in units of log
# strength, or of steps for the other rules.
SOFTNESS = 0.25
GRADIENT_ESTIMATORS = ("continuous", "straight_through")


def _example(num_slots: int, num_candidates: int, width: int):
  """A state and a chunk to initialise modules with."""
  state = init_state(num_slots=num_slots, width=width)
  candidates = Candidates(
    content=jnp.zeros((num_candidates, width)),
    valid=jnp.ones((num_candidates,), bool),
  )
  chunk = Chunk(
    query=jnp.zeros((1, width)), candidates=candidates, valid=jnp.ones(1, bool)
  )
  return state, chunk


def _require(hidden: int, ablate_input: str) -> None:
  if hidden < 1:
    raise ValueError(f"hidden must be at least 1, got {hidden}.")
  if ablate_input not in controller.ABLATED_INPUTS:
    known = ", ".join(map(repr, controller.ABLATED_INPUTS))
    raise ValueError(
      f"ablate_input={ablate_input!r} is unknown; known: {known}."
    )


def _straight_through(forward: Array, backward: Array) -> Array:
  """The value of the one, with the gradient of the other."""
  return forward + backward - jax.lax.stop_gradient(backward)


def _written(
  key: Array, logits: Array, train: bool, threshold: float, noise: float
) -> tuple[Array, Array]:
  """Rank and strength [K] from write logits.

  In training the rank is explored with logistic noise; the strength, which
  carries the gradient, is free of it.
  """
  strength = jax.nn.sigmoid(logits)
  ranking = logits
  if train:
    ranking += noise * jax.random.logistic(key, logits.shape)
  rank = jax.nn.sigmoid(ranking)
  return jnp.where(rank > threshold, rank, -jnp.inf), strength


def _soft_eviction(
  state: MemoryState,
  retained: Array,
  kept: Array,
  *,
  capacity: int,
  decay: float,
) -> Array:
  """Strengths [M], of which those beyond the best `capacity` slots decay.

  A relaxation of eviction, for training with overprovisioned slots. An evicted
  item gets no gradient any more, whatever it would have been good for. One
  that decays does, for a while, and the edge is soft: how far an item lies
  above or below the best one outside, or the worst one inside, has a gradient
  too. So what is retained and what is evicted learn from the same reads.

  Args:
    state: the memory.
    retained: [M], strengths before the decay.
    kept: [M], which slots are better; differences of SOFTNESS are at the edge.
    capacity: how many slots there are to be.
    decay: what a step leaves of a strength that is clearly outside.
  """
  live = state.alive
  if capacity >= live.shape[0]:
    return retained
  value = jnp.where(live, kept, -1e9)
  # The mean of the worst one inside and the best one outside; by mask, since
  # the gradient of a sort is an indexed write, which is slow.
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
  """NeMA-Lite: a learned write gate; what a write replaces follows a rule.

  Args:
    eviction: "fifo" or "lru", which slot a write replaces.
    width: D.
    capacity: how many slots there are to be; None: as many as there are.
    hidden: width of the gate.
    write_bias: of the write logit at the start.
    write_threshold: a candidate whose rank is not above it is not written.
    noise: scale of the exploration of ranks in training.
    soft_eviction_decay: what a step in training leaves of a strength beyond
      the capacity.
    ablate_input: an input that the gate is not shown: "context", or "content"
      of the slots; for ablations.
  """
  _require(hidden, ablate_input)
  gate = controller.WriteGate(hidden, write_bias, ablate_input)

  def init(key, *, num_slots, num_candidates):
    example = _example(num_slots, num_candidates, width)
    return {"gate": pure.init(gate, key, *example)}

  def score(params, key, state, chunk, *, train):
    logits = pure.call(gate, params["gate"], state, chunk)
    rank, strength = _written(key, logits, train, write_threshold, noise)
    kept = EVICTION_RULES[eviction](state, state.strength)
    scores = heuristics.retain_all(state, chunk, kept)
    scores = scores.replace(write_priority=rank, write_strength=strength)
    if train and capacity is not None:
      left = _soft_eviction(
        state,
        state.strength,
        kept,
        capacity=capacity,
        decay=soft_eviction_decay,
      )
      scores = scores.replace(retained_strength=left)
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

  Each slot carries a strength: a write sets it to its write score, retaining
  multiplies it by 1 - max_decay * p_forget, and every read weighs slots by it.
  So each decision has a gradient through all later reads.

  Args:
    width: D.
    capacity: how many slots there are to be; None: as many as there are.
    hidden: width of the controller.
    eviction: which slot a write replaces: the weakest by "strength", or by
      "fifo" or "lru".
    allow_update: whether slots may be updated.
    allow_forget: whether slots may be forgotten, and decay.
    max_decay: the largest share of its strength that a step may cost a slot.
    write_bias: of the write logit at the start.
    update_bias: of the update logit at the start.
    write_threshold: a candidate whose rank is not above it is not written.
    noise: scale of the exploration of ranks in training.
    soft_eviction_decay: what a step in training leaves of a strength beyond
      the capacity.
    ablate_input: an input that the controller is not shown: "content" of the
      slots, "age", "usage" or "context"; for ablations.
    gradient_estimator: "continuous": strengths are used as they are.
      "straight_through", for ablations: every slot has strength 1, but
      gradients as if it were its strength; and what a write has to exceed is
      the probability of retaining.

  Raises:
    ValueError: on an option that is unknown or out of its range.
  """
  if eviction not in EVICTION_RULES:
    raise ValueError(
      f"eviction={eviction!r} is unknown; known: {', '.join(EVICTION_RULES)}."
    )
  if not 0 <= max_decay <= 1:
    raise ValueError(f"max_decay must be in [0, 1], got {max_decay}.")
  if not 0 < soft_eviction_decay <= 1:
    raise ValueError(
      f"soft_eviction_decay must be in (0, 1], got {soft_eviction_decay}."
    )
  if gradient_estimator not in GRADIENT_ESTIMATORS:
    raise ValueError(
      f"gradient_estimator={gradient_estimator!r} is unknown; known:"
      f" {', '.join(GRADIENT_ESTIMATORS)}."
    )
  _require(hidden, ablate_input)
  gate = controller.WriteGate(hidden, write_bias, ablate_input)
  # Retaining is likely at first, and forgetting not so rare (0.045) that it
  # would have no gradient.
  slots = controller.SlotActions(hidden, (3.0, update_bias, 0.0), ablate_input)
  # By columns of `Scores.action_probs`.
  allowed = [True, allow_update, allow_forget]

  def init(key, *, num_slots, num_candidates):
    example = _example(num_slots, num_candidates, width)
    gate_key, slots_key = jax.random.split(key)
    return {
      "gate": pure.init(gate, gate_key, *example),
      "slots": pure.init(slots, slots_key, *example),
    }

  def score(params, key, state: MemoryState, chunk: Chunk, *, train):
    logits = pure.call(slots, params["slots"], state, chunk)
    logits = jnp.where(jnp.array(allowed), logits, -jnp.inf)
    actions = jax.nn.softmax(logits, axis=-1)
    retained = state.strength * (1.0 - max_decay * actions[:, FORGET])
    writes = pure.call(gate, params["gate"], state, chunk)
    rank, strength = _written(key, writes, train, write_threshold, noise)
    kept = EVICTION_RULES[eviction](state, retained)
    if train and capacity is not None:
      # Strengths are compared as reads compare them, by ratio.
      by = jnp.log(jnp.maximum(kept, STRENGTH_FLOOR))
      by = by if eviction == "strength" else kept
      retained = _soft_eviction(
        state, retained, by, capacity=capacity, decay=soft_eviction_decay
      )
    if gradient_estimator == "straight_through":
      strength = _straight_through(jnp.ones_like(strength), strength)
      retained = _straight_through(state.strength, retained)
      kept = actions[:, RETAIN] if eviction == "strength" else kept
    return Scores(
      action_probs=actions,
      proposal=controller.propose(state, chunk),
      write_priority=rank,
      write_strength=strength,
      retention_priority=kept,
      retained_strength=retained,
    )

  return Policy(init, score, USAGE_RULES[eviction])
