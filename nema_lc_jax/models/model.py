"""`build_model`: encoder, memory and head as one pair of pure functions.

Written for one text, then vmapped once over the batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from nema_lc_jax.memory import Chunk, MemoryState, StepOutput, init_state
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import encoder as enc
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.memory_layer import (
  Mode,
  Remembered,
  SlotPolicies,
  chunks_of,
  ground_truth_of,
  last_chunk,
  remember,
  slot_policies,
)
from nema_lc_jax.models.pure import call, checkpointed_map, init
from nema_lc_jax.models.recurrent import RecurrentChunk, scan_recurrent

# Fields of a batch that the memory's texts are made of.
TEXT = ("inputs", "mask", "ground_truth", "invalidates")


@struct.dataclass
class ModelOutput:
  """What a model says of a batch, and what its memory did."""

  # classify, match: [B, C]; predict, fill: [B, L, C]; all pairs: [B, B, C].
  logits: Array
  # Leaves [B, N, ...], of two texts [2*B, N, ...]; None without a memory.
  steps: StepOutput | None
  # The memory after the last chunk, leaves [B, ...] or [2*B, ...].
  state: MemoryState | None


class Model(NamedTuple):
  """A model: pure functions.

  init(key) -> params
  apply(params, keys, batch, *, train=False, num_slots=None, budget=None,
        all_pairs=False, gather=None, removed=None) -> ModelOutput
    keys [B]: one per example (dropout, exploration, the random policy).
    batch: `inputs` [B, L] ids and `mask` [B, L]; `inputs2`, `mask2` to match;
      optionally `ground_truth` and `invalidates` [B, L], see data.Dataset.
    num_slots, budget: of slots, in place of the model's own; budget 0 is
      memory off.
    all_pairs: match every first text with every second text of the batch; of
      those that `gather` [B, D] -> [B', D] brings, where it is given.
    removed [B, M] bool, of two texts [2*B, M]: slots that the answer must do
      without: those of the last chunk's read, or of the slots that are pooled.
      What the memory does up to then stays as it is.

  read_on(params, key, tokens, valid, state, start) -> (features, state)
    A piece of one text, of one or more whole chunks, read on from the memory
    that the `start` chunks before it left; by pieces a text leaves the same
    memory as at once. None where there is no memory to read on from.
    tokens [L] ids, valid [L] bool; features [D], or [L, D] with an answer at
    every token, are the piece's alone: what is pooled over a text's tokens is
    here pooled over the piece's.

  answer(params, features) -> logits
    [..., D], or to match [..., 4 * D], to [..., C].
  """

  init: Callable[[Array], Params]
  apply: Callable[..., ModelOutput]
  read_on: Callable[..., tuple[Array, MemoryState]] | None
  answer: Callable[[Params, Array], Array]


class _Parts(NamedTuple):
  encoder: enc.Encoder
  interface: enc.MemoryInterface
  policies: SlotPolicies | None
  # In place of the layers of encoder and decoder, which then have none.
  recurrent: RecurrentChunk | None
  decoder: enc.Decoder
  head: enc.Head


def _parts(c: ModelConfig) -> _Parts:
  # Also of a model without a memory, whose config may be as wrong.
  policies = slot_policies(c)
  recurrent, outside = None, c
  if c.encoder == "recurrent":
    recurrent = RecurrentChunk(c)
    outside = dataclasses.replace(c, num_layers=0, num_layers_after=0)
  return _Parts(
    encoder=enc.Encoder(outside),
    interface=enc.MemoryInterface(c),
    policies=policies if c.encoder == "memory" else None,
    recurrent=recurrent,
    decoder=enc.Decoder(outside),
    head=enc.Head(c.num_classes, hidden=2 * c.width),
  )


def _init(c: ModelConfig, parts: _Parts, key: Array) -> Params:
  keys = jax.random.split(key, 5)
  tokens = jnp.zeros((1, c.chunk_length), jnp.int32)
  valid = jnp.ones(tokens.shape, bool)
  x = jnp.zeros((*tokens.shape, c.width), c.dtype)
  features = (4 if c.head == "match" else 1) * c.width
  has_memory = parts.policies is not None
  read = jnp.zeros(x.shape) if has_memory else None
  empty = init_state(num_slots=c.num_slots, width=c.width)
  reading = None
  if has_memory and c.num_hops > 1:
    weights = jnp.zeros((c.chunk_length, c.num_slots))
    reading = enc.Reading(empty, jnp.zeros(()), weights)

  params = {
    "encoder": init(parts.encoder, keys[0], tokens, valid, False),
    "decoder": init(parts.decoder, keys[1], x, read, valid, False, reading),
    "head": init(parts.head, keys[2], jnp.zeros(features)),
  }
  if has_memory:
    params["interface"] = init(parts.interface, keys[3], x, valid)
    params["policy"] = parts.policies.usual.init(
      keys[4], num_slots=c.num_slots, num_candidates=c.num_candidates
    )
  if parts.recurrent is not None:
    # Like the memory after a chunk, of norm 1 per number.
    start = jax.random.normal(keys[3], (c.num_slots, c.width))
    chunk = init(parts.recurrent, keys[4], start, x[0], valid[0], False)
    params["recurrent"] = {"start": start, "chunk": chunk}
  return params


class _Made(NamedTuple):
  """One text before its memory, in chunks."""

  x: Array  # [N, T, D]
  valid: Array  # [N, T]
  chunks: Chunk | None  # what the memory gets, leaves [N, ...]


def _encode(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  text: Mapping[str, Array],
) -> _Made:
  """The layers before the memory, on each chunk of a text [L] on its own."""
  L, T = text["inputs"].shape[0], c.chunk_length
  if L % T:
    raise ValueError(
      f"config.data.length={L} is not covered by chunks of"
      f" config.model.chunk_length={T}: it must be a multiple."
    )
  chunked = {name: x.reshape(L // T, T) for name, x in text.items()}

  def encode(key, tokens, valid):
    x = call(
      parts.encoder, params["encoder"], tokens, valid, mode.train, key=key
    )
    if parts.policies is None:
      return x, None
    return x, call(parts.interface, params["interface"], x, valid)

  x, offered = checkpointed_map(
    encode, key, chunked["inputs"], chunked["mask"], size=c.chunks_per_call
  )
  if parts.policies is None:
    return _Made(x, chunked["mask"], None)
  truth = ground_truth_of(chunked) if "ground_truth" in text else None
  chunks = chunks_of(*offered, chunked["mask"], truth)
  return _Made(x, chunked["mask"], chunks)


def _decode(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  made: _Made,
  remembered: Remembered | None,
) -> Array:
  """Pools a text, before or after the layers that follow the memory read.

  Returns features [D], or [L, D] with an answer per token.
  """
  x, valid, weights = made.x, made.valid, made.valid
  read, reading = None, None
  if remembered is not None:
    read, reading = remembered.steps.read, remembered.reading
  if c.pools_slots:
    # The text is what the memory holds of it in the end.
    state = remembered.state
    read, weights = state.content[None], state.strength[None]
    x, valid = jnp.zeros_like(read, x.dtype), state.alive[None]
  elif c.pools_last:
    # Layers are chunk-local: of the other chunks nothing more is needed.
    last = last_chunk(valid)
    x, read, valid, weights = jax.tree.map(
      lambda a: jax.lax.dynamic_slice_in_dim(a, last, 1),
      (x, read, valid, weights),
    )

  def decode(key, x, read, valid):
    args = x, read, valid, mode.train, reading
    return call(parts.decoder, params["decoder"], *args, key=key)

  x = checkpointed_map(decode, key, x, read, valid, size=c.chunks_per_call)
  if c.per_token:
    return x.reshape(-1, x.shape[-1])
  return enc.mean_pool(x, weights)


def _text(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  text: Mapping[str, Array],
  removed: Array | None,
  before: tuple[MemoryState, Array] | None = None,
) -> tuple[Array, StepOutput | None, MemoryState | None]:
  """One text: features [D] ([L, D] per token), its steps, its last memory.

  `before` is the memory to start from, and how many chunks it has read.
  """
  keys = jax.random.split(key, 3)
  made = _encode(c, parts, params, mode, keys[0], text)
  if parts.recurrent is not None:
    x = scan_recurrent(
      parts.recurrent,
      params["recurrent"],
      keys[1],
      made.x,
      made.valid,
      train=mode.train,
    )
    made = made._replace(x=x)
  if parts.policies is None:
    return _decode(c, parts, params, mode, keys[2], made, None), None, None
  remembered = remember(
    c,
    parts.policies,
    params["policy"],
    keys[1],
    made.chunks,
    mode,
    removed=removed,
    before=before,
  )
  features = _decode(c, parts, params, mode, keys[2], made, remembered)
  return features, remembered.steps.replace(read=None), remembered.state


def _texts(c: ModelConfig, batch: Mapping[str, Array], keys: Array):
  """All texts of a batch, [B, L] or to match [2*B, L], and their keys."""
  texts = {k: batch[k] for k in TEXT if k in batch}
  if c.head != "match":
    return texts, keys
  texts = {
    name: jnp.concatenate([batch[name], batch[name + "2"]])
    for name in ("inputs", "mask")
  }
  fold = jax.vmap(jax.random.fold_in, (0, None))
  return texts, jnp.concatenate([keys, fold(keys, 1)])


def build_model(**fields) -> Model:
  """A Transformer with a slot memory beside it.

  Args:
    **fields: those of `ModelConfig`; head, vocab_size and num_classes have no
      defaults.

  Raises:
    ValueError: naming the value and what is allowed.
  """
  unknown = set(fields) - {f.name for f in dataclasses.fields(ModelConfig)}
  if unknown:
    raise ValueError(
      f"a model has no field {sorted(unknown)[0]!r}; see"
      " nema_lc_jax.models.ModelConfig."
    )
  c = ModelConfig(**fields)
  parts = _parts(c)

  def apply(
    params,
    keys,
    batch,
    *,
    train=False,
    num_slots=None,
    budget=None,
    all_pairs=False,
    gather=None,
    removed=None,
  ):
    mode = Mode(
      train,
      c.num_slots if num_slots is None else num_slots,
      c.budget if budget is None else budget,
    )
    text = functools.partial(_text, c, parts, params, mode)
    texts, text_keys = _texts(c, batch, keys)
    features, steps, state = jax.vmap(text)(text_keys, texts, removed)
    if c.head == "match":
      x1, x2 = jnp.split(features, 2)
      if all_pairs:
        x2 = x2 if gather is None else gather(x2)
        x1, x2 = x1[:, None], x2[None, :]
      features = enc.pair_features(x1, x2)
    return ModelOutput(answer(params, features), steps, state)

  def read_on(params, key, tokens, valid, state, start):
    mode = Mode(False, state.age.shape[0], c.budget)
    text = {"inputs": tokens, "mask": valid}
    features, _, state = _text(
      c, parts, params, mode, key, text, None, (state, start)
    )
    return features, state

  def answer(params, features):
    return call(parts.head, params["head"], features)

  return Model(
    init=functools.partial(_init, c, parts),
    apply=apply,
    read_on=read_on if parts.policies is not None else None,
    answer=answer,
  )
