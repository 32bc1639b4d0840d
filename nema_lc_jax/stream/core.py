"""A text without an end: `init`, `push`, `answer`, pure functions over a state.

Whatever pieces the tokens are pushed in, an answer is that of the model to the
whole text at once, up to rounding: the chunk that tokens have begun is kept
apart until the token after it comes, and is what the answer is given in.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from nema_lc_jax.memory import MemoryState, init_state
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import Model, ModelConfig, build_model


@struct.dataclass
class StreamState:
  """Where a stream stands: as large after 10 tokens as after 10 million."""

  # After all chunks but the one that is kept apart.
  memory: MemoryState
  chunks: Array  # [] i32, how many the memory has read
  seen: Array  # [] f32, of how many tokens
  # The last chunk, whole or not: its first `filled` ids are there, then 0.
  tokens: Array  # [T] i32
  filled: Array  # [] i32
  # Of the features of the tokens that the memory has read, for pool "mean".
  mean: Array  # [D] f32
  seed: Array  # [] u32; policies that draw do so from key(seed)


class Streaming(NamedTuple):
  """A model over streams: pure functions, to jit, and to vmap over streams.

  init(seed=0, num_slots=None) -> StreamState
    Before the first token.
  push(params, state, tokens, length=None) -> StreamState
    tokens [n] ids, of which the first `length` [] count (all, by default):
    streams of a batch may get different numbers of tokens. Fast where n is
    many chunks; a token at a time, most pushes do next to nothing.
  answer(params, state, query=None) -> logits [C]
    What the model says of the text so far, with `query` [q] ids, if any, read
    after it in chunks of their own. The stream itself goes on as if it had
    never been asked. Of a model that predicts: what comes next.
  """

  init: Callable[..., StreamState]
  push: Callable[..., StreamState]
  answer: Callable[..., Array]


def make_stream(**fields) -> Streaming:
  """The functions of streams of a model.

  Args:
    **fields: as `build_model` takes them.

  Raises:
    ValueError: naming the value and what is allowed; of models without a
      memory to go on from, and of those that compare two texts or fill in
      what is hidden.
  """
  model, c = build_model(**fields), ModelConfig(**fields)
  if model.apply_segment is None:
    raise ValueError(
      f"a model with config.model.encoder={c.encoder!r} does not stream: it"
      " has no memory to go on from; 'memory' has."
    )
  if c.head not in ("classify", "causal_lm"):
    raise ValueError(
      f"a model with the head {c.head!r} does not stream; those with classify"
      " and causal_lm do."
    )
  return Streaming(
    init=functools.partial(_init, c),
    push=functools.partial(_push, c, model),
    answer=functools.partial(_answer, c, model),
  )


def _init(
  c: ModelConfig, seed: int | Array = 0, num_slots: int | None = None
) -> StreamState:
  slots = c.num_slots if num_slots is None else num_slots
  return StreamState(
    memory=init_state(num_slots=slots, width=c.width),
    chunks=jnp.zeros((), jnp.int32),
    seen=jnp.zeros((), jnp.float32),
    tokens=jnp.zeros((c.chunk_length,), jnp.int32),
    filled=jnp.zeros((), jnp.int32),
    mean=jnp.zeros((c.width,), jnp.float32),
    seed=jnp.asarray(seed, jnp.uint32),
  )


def _push(
  c: ModelConfig,
  model: Model,
  params: Params,
  state: StreamState,
  tokens: Array,
  length: Array | int | None = None,
) -> StreamState:
  T, n = c.chunk_length, len(tokens)
  length = n if length is None else jnp.clip(length, 0, n)
  # Room for what was kept apart, the new tokens, and one chunk beyond.
  most = -(-(T + n) // T) * T
  line = jnp.zeros(most + T, jnp.int32)
  line = jax.lax.dynamic_update_slice(line, state.tokens, (0,))
  new = jnp.where(jnp.arange(n) < length, tokens, 0).astype(jnp.int32)
  line = jax.lax.dynamic_update_slice(line, new, (state.filled,))
  total = state.filled + length
  # The last chunk is kept apart also where it is whole.
  chunks = jnp.maximum(total - 1, 0) // T
  done = chunks * T
  state = _advance(c, model, params, state, line[: most - T], chunks, done)
  return state.replace(
    tokens=jax.lax.dynamic_slice(line, (done,), (T,)), filled=total - done
  )


def _answer(
  c: ModelConfig,
  model: Model,
  params: Params,
  state: StreamState,
  query: Array | None = None,
) -> Array:
  if query is not None:
    begun = (state.filled > 0).astype(jnp.int32)
    state = _advance(c, model, params, state, state.tokens, begun, state.filled)
    state = state.replace(
      tokens=jnp.zeros_like(state.tokens), filled=jnp.zeros((), jnp.int32)
    )
    state = _push(c, model, params, state, query)
  features, _ = _read(c, model, params, state, state.tokens, state.filled)
  if c.per_token:
    features = features[jnp.maximum(state.filled - 1, 0)]
  return model.answer(params, features)


def _advance(
  c: ModelConfig,
  model: Model,
  params: Params,
  state: StreamState,
  tokens: Array,
  chunks: Array,
  count: Array,
) -> StreamState:
  """Lets the memory read `count` tokens, of so many chunks."""

  def go(state):
    features, memory = _read(c, model, params, state, tokens, count)
    return state.replace(
      memory=memory,
      chunks=state.chunks + chunks,
      seen=state.seen + count,
      mean=state.mean if c.per_token else features,
    )

  return jax.lax.cond(chunks > 0, go, lambda state: state, state)


def _read(
  c: ModelConfig,
  model: Model,
  params: Params,
  state: StreamState,
  tokens: Array,
  count: Array,
) -> tuple[Array, MemoryState]:
  """Features of the first `count` of the tokens, and the memory after."""
  valid = jnp.arange(len(tokens)) < count
  features, memory = model.apply_segment(
    params,
    jax.random.key(state.seed),
    tokens,
    valid,
    state.memory,
    state.chunks,
  )
  if not c.per_token and not c.pools_last and not c.pools_slots:
    share = count / jnp.maximum(state.seen + count, 1.0)
    features = state.mean + share * (features - state.mean)
  return features, memory
