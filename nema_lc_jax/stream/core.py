"""Streaming inference: `init`, `push` and `answer`, pure functions of a state.

However the tokens are split into pushes, the answer equals that of the model
for the whole text, up to rounding. The last chunk is therefore buffered:
answers are computed from it, and the memory reads it with the next token.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from nema_lc_jax.memory import MemoryState, init_state
from nema_lc_jax.memory.provenance import Provenance, no_provenance, track
from nema_lc_jax.memory.types import Array, Params, StepOutput
from nema_lc_jax.models import Model, ModelConfig, build_model


@struct.dataclass
class StreamState:
  """The state of a stream, of a size that does not grow with its length."""

  # After all chunks but the last one, which is buffered.
  memory: MemoryState
  chunks: Array  # [] i32, number of chunks that the memory has read
  seen: Array  # [] f32, number of tokens that the memory has read
  # The buffered last chunk: `filled` ids, then zeros.
  tokens: Array  # [T] i32
  filled: Array  # [] i32
  # Mean of the features of the tokens that were read, for pool "mean".
  mean: Array  # [D] f32
  seed: Array  # [] u32, for random policies
  # Where the slots' contents came from; None: it is not kept.
  provenance: Provenance | None = None


class _Reader(NamedTuple):
  config: ModelConfig
  model: Model
  skips_padding: bool

  def valid(self, tokens: Array, within: Array) -> Array:
    """The tokens within the text that are read."""
    return within & (tokens > 0) if self.skips_padding else within


class Streaming(NamedTuple):
  """Streaming inference as pure functions, for jit, and vmap over streams.

  init(seed=0, num_slots=None, history=0) -> StreamState
    The state before the first token. With a `history`, it also keeps where the
    slots' contents came from: so many chunks of each item.
  push(params, state, tokens, length=None) -> StreamState
    Appends the first `length` [] of the ids `tokens` [n], by default all.
    Streams of a batch may append different numbers of tokens. Large n is
    fastest.
  answer(params, state, query=None, length=None) -> logits [C]
    The model's answer to the text so far, or with the head causal_lm the logits
    of the next token. `query` [q] ids are read after the text, in chunks of
    their own. With a `length` (static), they are a question that ends a text of
    that length, as `data.layout.place` puts it: it ends with the last token of
    a chunk, and shares its first one with the end of a text that reaches it.
    The state of the stream does not change.
  explain(params, state, query=None, length=None) -> Explanation
    The same, and what each slot has to do with it.
  """

  init: Callable[..., StreamState]
  push: Callable[..., StreamState]
  answer: Callable[..., Array]
  explain: Callable[..., "Explanation"]


class Explanation(NamedTuple):
  """An answer, and what the slots have to do with it."""

  logits: Array  # [C]
  # Read weight of each slot in the chunk that gives the answer, averaged over
  # its tokens; of several hops, the first.
  weights: Array  # [M]
  without: Array  # [M, C], the logits without each slot


def make_stream(*, skips_padding: bool = False, **fields) -> Streaming:
  """Makes the streaming functions of a model.

  Args:
    skips_padding: whether tokens of id 0 are not read, as where each sentence
      is padded to a chunk.
    **fields: of `ModelConfig`, as in `build_model`.

  Raises:
    ValueError: naming the value and what is allowed, also for an encoder
      without slots and for the heads match and masked_lm.
  """
  model, c = build_model(**fields), ModelConfig(**fields)
  if model.apply_segment is None:
    raise ValueError(
      f"a model with config.model.encoder={c.encoder!r} does not stream; only"
      " 'memory' does."
    )
  if c.head not in ("classify", "causal_lm"):
    raise ValueError(
      f"a model with the head {c.head!r} does not stream; only classify and"
      " causal_lm do."
    )
  reader = _Reader(c, model, skips_padding)
  return Streaming(
    init=functools.partial(_init, c),
    push=functools.partial(_push, reader),
    answer=functools.partial(_logits, reader),
    explain=functools.partial(_explain, reader),
  )


def _init(
  c: ModelConfig,
  seed: int | Array = 0,
  num_slots: int | None = None,
  history: int = 0,
) -> StreamState:
  slots = c.num_slots if num_slots is None else num_slots
  provenance = None
  if history:
    provenance = no_provenance(
      num_slots=slots, history=history, chunk_length=c.chunk_length
    )
  return StreamState(
    memory=init_state(num_slots=slots, width=c.width),
    chunks=jnp.zeros((), jnp.int32),
    seen=jnp.zeros((), jnp.float32),
    tokens=jnp.zeros((c.chunk_length,), jnp.int32),
    filled=jnp.zeros((), jnp.int32),
    mean=jnp.zeros((c.width,), jnp.float32),
    seed=jnp.asarray(seed, jnp.uint32),
    provenance=provenance,
  )


def _push(
  reader: _Reader,
  params: Params,
  state: StreamState,
  tokens: Array,
  length: Array | int | None = None,
) -> StreamState:
  T, n = reader.config.chunk_length, len(tokens)
  length = n if length is None else jnp.clip(length, 0, n)
  # Room for the buffered tokens, the new ones, and one more chunk.
  size = -(-(T + n) // T) * T
  buffer = jnp.zeros(size + T, jnp.int32)
  buffer = jax.lax.dynamic_update_slice(buffer, state.tokens, (0,))
  new = jnp.where(jnp.arange(n) < length, tokens, 0).astype(jnp.int32)
  buffer = jax.lax.dynamic_update_slice(buffer, new, (state.filled,))
  total = state.filled + length
  # The last chunk stays in the buffer even when it is full.
  chunks = jnp.maximum(total - 1, 0) // T
  count = chunks * T
  valid = jnp.arange(size - T) < count
  state = _advance(reader, params, state, buffer[: size - T], chunks, valid)
  return state.replace(
    tokens=jax.lax.dynamic_slice(buffer, (count,), (T,)), filled=total - count
  )


def _answer(
  reader: _Reader,
  params: Params,
  state: StreamState,
  query: Array | None = None,
  length: int | None = None,
) -> tuple[Array, Array]:
  """The logits [C], and the read weights [M] of the chunk that gives them."""
  if query is not None and length is not None:
    return _answer_at_end(reader, params, state, query, length)
  if query is not None:
    state = _close(reader, params, state, state.filled > 0)
    state = _push(reader, params, state, query)
  valid = jnp.arange(reader.config.chunk_length) < state.filled
  features, _, steps = _read(reader, params, state, state.tokens, valid)
  if reader.config.per_token:
    features = features[jnp.maximum(state.filled - 1, 0)]
  return reader.model.answer(params, features), steps.attention[0]


def _logits(
  reader: _Reader,
  params: Params,
  state: StreamState,
  query: Array | None = None,
  length: int | None = None,
) -> Array:
  return _answer(reader, params, state, query, length)[0]


def _explain(
  reader: _Reader,
  params: Params,
  state: StreamState,
  query: Array | None = None,
  length: int | None = None,
) -> Explanation:
  answer = functools.partial(_answer, reader, params)

  def without(slot: Array) -> Array:
    memory = state.memory
    strength = memory.strength.at[slot].set(0.0)
    changed = state.replace(memory=memory.replace(strength=strength))
    return answer(changed, query, length)[0]

  slots = jnp.arange(len(state.memory.strength))
  return Explanation(*answer(state, query, length), jax.vmap(without)(slots))


def _answer_at_end(
  reader: _Reader,
  params: Params,
  state: StreamState,
  query: Array,
  length: int,
) -> tuple[Array, Array]:
  """`_answer` to a question that ends a text of `length` tokens."""
  T, q = reader.config.chunk_length, len(query)
  chunks = -(-q // T)
  start = chunks * T - q  # of the question, in its chunks
  shared = (state.chunks == length // T - chunks) & (state.filled <= start)
  kept = jnp.where(shared, state.filled, 0)
  text = jnp.pad(state.tokens, (0, (chunks - 1) * T))
  state = _close(reader, params, state, ~shared & (state.filled > 0))
  place = jnp.arange(chunks * T)
  tokens = jnp.where(place < kept, text, jnp.pad(query, (start, 0)))
  valid = (place < kept) | (place >= start)
  before = (chunks - 1) * T  # The last chunk gives the answer.
  if before:
    state = _advance(
      reader, params, state, tokens[:before], chunks - 1, valid[:before]
    )
  features, _, steps = _read(
    reader, params, state, tokens[before:], valid[before:]
  )
  return reader.model.answer(params, features), steps.attention[0]


def _close(
  reader: _Reader, params: Params, state: StreamState, due: Array
) -> StreamState:
  """The state without a buffer, which the memory reads if that is due."""
  valid = jnp.arange(reader.config.chunk_length) < state.filled
  chunks = due.astype(jnp.int32)
  state = _advance(reader, params, state, state.tokens, chunks, valid)
  return state.replace(
    tokens=jnp.zeros_like(state.tokens), filled=jnp.zeros_like(state.filled)
  )


def _advance(
  reader: _Reader,
  params: Params,
  state: StreamState,
  tokens: Array,
  chunks: Array | int,
  valid: Array,
) -> StreamState:
  """The state after the memory read the `valid` tokens of `chunks` chunks."""
  valid = reader.valid(tokens, valid)

  def advance(state):
    features, memory, steps = _read(reader, params, state, tokens, valid)
    return state.replace(
      memory=memory,
      provenance=_tracked(reader, state, steps, tokens),
      chunks=state.chunks + chunks,
      seen=state.seen + valid.sum(),
      mean=state.mean if reader.config.per_token else features,
    )

  due = jnp.asarray(chunks) > 0
  return jax.lax.cond(due, advance, lambda state: state, state)


def _tracked(
  reader: _Reader, state: StreamState, steps: StepOutput, tokens: Array
) -> Provenance | None:
  """The provenance after the steps over some chunks' tokens."""
  if state.provenance is None:
    return None
  chunks = tokens.reshape(-1, reader.config.chunk_length)
  numbers = state.chunks + jnp.arange(len(chunks))
  return jax.lax.scan(
    lambda before, step: (track(before, *step), None),
    state.provenance,
    (steps.allocation, numbers, chunks),
  )[0]


def _read(
  reader: _Reader,
  params: Params,
  state: StreamState,
  tokens: Array,
  valid: Array,
) -> tuple[Array, MemoryState, StepOutput]:
  """The features of the valid tokens, the memory after them, and the steps."""
  valid = reader.valid(tokens, valid)
  features, memory, steps = reader.model.apply_segment(
    params,
    jax.random.key(state.seed),
    tokens,
    valid,
    state.memory,
    state.chunks,
  )
  c = reader.config
  if not c.per_token and not c.pools_last and not c.pools_slots:
    count = valid.sum()
    share = count / jnp.maximum(state.seen + count, 1.0)
    features = state.mean + share * (features - state.mean)
  return features, memory, steps
