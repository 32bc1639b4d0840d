"""Learned policies: the write gates of NeMA-Lite, and NeMA-LC."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.memory.state import init_state
from nema_lc_jax.memory.types import (
  FRESH_USAGE,
  Array,
  Candidates,
  Chunk,
  MemoryState,
  Policy,
  Scores,
  decayed_usage,
  straight_through,
)
from nema_lc_jax.models import controller, pure
from nema_lc_jax.models.ranges import require_options
from nema_lc_jax.models.soft_eviction import log_strength, soft_eviction
from nema_lc_jax.models.updates import (
  UPDATE_RELAXATIONS,
  UPDATE_RULES,
  Updater,
)

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
      retained = soft_eviction(
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
  write_threshold: float = 0.02,
  noise: float = 0.3,
  soft_eviction_decay: float = 0.02,
  update_rule: str = "gated_delta",
  update_relaxation: str = "soft",
  update_threshold: float = 0.5,
  ablate_input: str = "",
  gradient_estimator: str = "continuous",
) -> Policy:
  """NeMA-LC: write, retain, update and forget are all learned.

  A write sets a slot's strength to its write strength, each step multiplies it
  by 1 - max_decay * p_forget, and reads weight slots by it. Each decision thus
  has a gradient through all later reads.

  Each candidate has one choice: to be written, or to update the slot of the
  item that it is about.

  Args:
    width: D.
    capacity: the number of slots outside of training, if slots are scarce in
      training; there may be more of them, whose items decay. None: no slot is
      scarce.
    hidden: width of the controller.
    eviction: the rule for which slot a write replaces: "strength" (the weakest
      one), "fifo" or "lru".
    allow_update: whether slots may be updated.
    allow_forget: whether slots may be forgotten, and decay.
    max_decay: the largest share of its strength that a slot loses in a step.
    write_bias: initial bias of the write logit.
    write_threshold: only write priorities above it are executed.
    noise: scale of the exploration noise of write priorities, and of choices
      between slots, in training.
    soft_eviction_decay: factor per training step of strengths beyond capacity.
    update_rule: what an update makes of slot and candidate: "gated_delta";
      "gated_change", with which slots can count, too; or, for ablations, their
      "mean".
    update_relaxation: in training each candidate moves all slots that it may
      be about, and is written, too ("soft"); for ablations only the gradient
      of these moves ("straight_through"), or "none".
    update_threshold: cosine of slot and candidate from which on, at first, the
      candidate is about the slot; above 1 hardly any is.
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
  _check_choice("update_rule", update_rule, UPDATE_RULES)
  _check_choice("update_relaxation", update_relaxation, UPDATE_RELAXATIONS)
  gate = controller.WriteGate(hidden, write_bias, ablate_input)
  # Retain is likely at first, and forget probable enough (0.047) to have a
  # gradient.
  slots = controller.SlotActions(hidden, (3.0, 0.0), ablate_input)
  updater = Updater(
    width=width,
    rule=update_rule,
    relaxation=update_relaxation,
    threshold=update_threshold,
    noise=noise,
    ablate_input=ablate_input,
  )

  def init(key, *, num_slots, num_candidates):
    example = _example(num_slots, num_candidates, width)
    gate_key, slots_key = jax.random.split(key)
    params = {
      "gate": pure.init(gate, gate_key, *example),
      "slots": pure.init(slots, slots_key, *example),
    }
    if allow_update:
      key = jax.random.fold_in(key, 1)
      params["updates"] = updater.init(key, *example)
    return params

  def score(params, key, state: MemoryState, chunk: Chunk, *, train):
    logits = pure.apply(gate, params["gate"], state, chunk)
    priority, strength = _write_scores(
      key, logits, train, write_threshold, noise
    )
    logits = pure.apply(slots, params["slots"], state, chunk)
    p_forget = jax.nn.softmax(logits)[:, 1] * allow_forget
    kept = 1.0 - max_decay * p_forget
    updates, p_update = None, jnp.zeros(state.strength.shape)
    if allow_update:
      key = jax.random.fold_in(key, 1)
      updates, new = updater(
        params["updates"], key, state, chunk, strength, kept, train=train
      )
      strength = strength * new
      p_update = jnp.minimum(updates.prob.sum(1), 1.0)
    # What is updated is not forgotten.
    p_forget *= 1.0 - p_update
    p_retain = 1.0 - p_update - p_forget
    retained = state.strength * kept
    claim = None if state.claim is None else state.claim * kept
    retention = EVICTION_RULES[eviction](state, retained)
    if train and capacity is not None:
      value = retention
      if eviction == "strength":
        value = log_strength(retained, claim)
      retained = soft_eviction(
        state, retained, value, capacity=capacity, decay=soft_eviction_decay
      )
    if gradient_estimator == "straight_through":
      strength = straight_through(jnp.ones_like(strength), strength)
      retained = straight_through(state.strength, retained)
      if eviction == "strength":
        retention = p_retain
    return Scores(
      action_probs=jnp.stack([p_retain, p_update, p_forget], axis=-1),
      write_priority=priority,
      write_strength=strength,
      retention_priority=retention,
      retained_strength=retained,
      retained_claim=claim,
      updates=updates,
    )

  return Policy(init, score, USAGE_RULES[eviction])
