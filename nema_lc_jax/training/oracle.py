"""An upper bound for a memory of a given size, without any model."""

import functools
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax import data
from nema_lc_jax.memory import Candidates, Chunk, init_state, scan_chunks
from nema_lc_jax.memory.policies import oracle
from nema_lc_jax.memory.types import Array
from nema_lc_jax.models.memory_layer import TRUTH_FIELDS, ground_truth_of
from nema_lc_jax.training import distributed
from nema_lc_jax.training.truth import slot_contents


def accuracy(
  config: ConfigDict, dataset: data.Dataset, batches: Iterable[Mapping]
) -> float | None:
  """Accuracy of a perfect reader of the items that the oracle policy holds.

  The policy runs with the config's slots, candidates and budget. The reader
  answers correctly if the fact is held or the question has none; otherwise it
  guesses among all classes. Returns None for a task without ground truth. The
  batches are this process's rows; the result covers all processes.
  """
  held, count = 0.0, 0.0
  held_share = _held_share(
    config.model.chunk_length,
    config.memory.num_candidates,
    config.memory.num_slots,
    config.memory.budget,
  )
  for batch in batches:
    if "answer_position" not in batch:
      return None
    names = {"mask", "answer_position", *TRUTH_FIELDS}
    share = held_share({name: batch[name] for name in names & {*batch}})
    held += float(np.sum(share * batch["weight"]))
    count += float(np.sum(batch["weight"]))
  held, count = distributed.total((held, count))
  share = float(held / count)
  return share + (1 - share) / dataset.num_classes


@functools.cache
def _held_share(T: int, K: int, num_slots: int, budget: int) -> Callable:
  """`_held` for a batch, compiled."""
  return jax.jit(jax.vmap(functools.partial(_held, T, K, num_slots, budget)))


def _held(
  T: int, K: int, num_slots: int, budget: int, text: Mapping[str, Array]
) -> Array:
  """Share of the questions of one text [L] whose fact is held when asked."""
  chunked = {name: x.reshape(-1, T) for name, x in text.items()}
  N = chunked["mask"].shape[0]
  chunks = Chunk(
    query=jnp.zeros((N, T, 1)),
    candidates=Candidates(
      content=jnp.zeros((N, K, 1)),
      valid=jnp.repeat(chunked["mask"].any(1)[:, None], K, axis=1),
    ),
    valid=chunked["mask"],
    ground_truth=ground_truth_of(chunked),
  )
  _, steps = scan_chunks(
    (),
    jax.random.key(0),
    init_state(num_slots=num_slots, width=1),
    chunks,
    policy=oracle(width=1),
    budget=budget,
  )
  source = chunked["answer_position"]
  here = jnp.arange(N)[:, None]
  fact = jnp.maximum(source // T, 0)
  # A chunk reads what was held before it.
  before = jnp.broadcast_to(jnp.maximum(here - 1, 0), fact.shape)
  held = slot_contents(steps).held(fact, before).any(-1) | (fact == here)
  asked = source >= 0
  share = (held & asked).sum() / jnp.maximum(asked.sum(), 1)
  return jnp.where(asked.any(), share, 1.0)
