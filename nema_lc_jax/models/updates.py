"""Learned updates: which slot a candidate is about, and what becomes of it."""

import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array, Chunk, MemoryState, Updates
from nema_lc_jax.models import controller, pure

# At first, what the cosine of slot and candidate adds to the logit that the
# candidate is about the slot.
COSINE_SCALE = 12.0
# What an update makes of slot and candidate.
UPDATE_RULES = ("gated_delta", "gated_change", "mean")
# What training does beyond the updates that are executed, see `Updates`.
UPDATE_RELAXATIONS = ("soft", "straight_through", "none")


class Updater:
  """Where candidates go: into the slot that they are about, or a new one."""

  def __init__(
    self,
    *,
    width: int,
    rule: str,
    relaxation: str,
    threshold: float,
    noise: float,
    ablate_input: str,
  ):
    self._noise = noise
    self._match = controller.Match(
      COSINE_SCALE, -COSINE_SCALE * threshold, ablate_input
    )
    self._delta = controller.GatedDelta(
      2 * width, adds_change=rule == "gated_change"
    )
    self._is_mean = rule == "mean"
    self._relaxation = relaxation

  def init(self, key: Array, state: MemoryState, chunk: Chunk) -> dict:
    """The parameters, by module."""
    match_key, delta_key = jax.random.split(key)
    params = {"match": pure.init(self._match, match_key, state, chunk)}
    if not self._is_mean:
      contents = state.content, chunk.candidates.content
      params["delta"] = pure.init(self._delta, delta_key, *contents)
    return params

  def __call__(
    self,
    params: dict,
    key: Array,
    state: MemoryState,
    chunk: Chunk,
    stored: Array,
    kept: Array,
    *,
    train: bool,
  ) -> tuple[Updates, Array]:
    """The updates, and the probability [K] that a stored candidate is new.

    Each candidate chooses once, between the live slots and a new one.

    Args:
      params: from `init`.
      key: of the exploration.
      state: the memory.
      chunk: its candidates choose.
      stored: [K], probabilities that candidates are stored.
      kept: [M], the share of their strength that slots keep.
      train: whether there is exploration and a relaxation.
    """
    logits = pure.apply(self._match, params["match"], state, chunk)
    logits = jnp.concatenate([logits, jnp.zeros((1, logits.shape[1]))])
    prob = jax.nn.softmax(logits, axis=0)
    if train:
      noise = jax.random.gumbel(key, logits.shape)
      logits += self._noise * noise
    choice = jnp.argmax(logits, axis=0)
    M = state.strength.shape[0]
    contents = state.content, chunk.candidates.content.astype(jnp.float32)
    updates = Updates(
      slot=jnp.where(choice == M, -1, choice),
      prob=stored * prob[:M],
      content=controller.mean_content(*contents)
      if self._is_mean
      else pure.apply(self._delta, params["delta"], *contents),
      # A slot is as strong as the strongest statement about its item, unless it
      # decays.
      strength=kept[:, None] * stored,
      stored=stored,
      relaxation=self._relaxation if train else "none",
    )
    return updates, prob[M]
