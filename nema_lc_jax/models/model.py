"""`build_model`: encoder, memory, decoder and head as pure functions.

The functions are written for one text and vmapped once over the batch.
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
from nema_lc_jax.models import pure
from nema_lc_jax.models.between import Between, between_chunks
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.memory_layer import (
  TRUTH_FIELDS,
  MemoryResult,
  Mode,
  SlotPolicies,
  chunks_of,
  ground_truth_of,
  last_chunk,
  run_memory,
  slot_policies,
)

# Fields of a batch that describe a text.
TEXT_FIELDS = ("inputs", "mask", *TRUTH_FIELDS)


@struct.dataclass
class ModelOutput:
  """A model's logits for a batch, and what its memory did."""

  # [B, C]; heads causal_lm, masked_lm: [B, L, C]; all_pairs: [B, B, C].
  logits: Array
  # Leaves [B, N, ...], of pairs [2*B, N, ...]; None without a memory.
  steps: StepOutput | None
  # The memory after the last chunk, leaves [B, ...], of pairs [2*B, ...].
  state: MemoryState | None


class Model(NamedTuple):
  """A model as pure functions.

  init(key) -> params
  apply(params, keys, batch, *, train=False, num_slots=None, budget=None,
        all_pairs=False, gather=None, removed=None, initial=None) -> output
    keys [B]: one per example, for dropout, exploration and random policies.
    batch: `inputs` [B, L] ids and `mask` [B, L]; for the head match also
      `inputs2` and `mask2`; optionally `ground_truth`, `invalidates` and
      `updates` [B, L], see data.Dataset.
    num_slots, budget: override the model's own; budget 0 turns the memory off.
    all_pairs: match every first text with every second text of the batch, or
      with those that `gather` [B, D] -> [B', D] returns.
    removed [B, M] bool, of pairs [2*B, M]: slots hidden from the last chunk's
      read and from the pooling of slots. The memory steps do not change.
    initial: memories to start from, leaves [B, ...]; None: empty ones.

  apply_segment(params, key, tokens, valid, state, start)
    -> (features, state, steps)
    Runs a segment of one text, one or more whole chunks, from the memory
    `state` that the `start` chunks before it left. Applying a text in segments
    leaves the same memory as applying it at once. None without a memory.
    tokens [L] ids, valid [L] bool; features [L, D] for causal_lm and masked_lm,
    otherwise [D], where tokens are pooled over this segment alone.

  answer(params, features) -> logits
    The head: [..., D], for match [..., 4 * D], to [..., C].
  """

  init: Callable[[Array], Params]
  apply: Callable[..., ModelOutput]
  apply_segment: Callable[..., tuple[Array, MemoryState, StepOutput]] | None
  answer: Callable[[Params, Array], Array]


class _Parts(NamedTuple):
  encoder: enc.Encoder
  interface: enc.MemoryInterface
  policies: SlotPolicies | None
  between: Between | None  # in place of the memory
  decoder: enc.Decoder
  head: enc.Head


def _parts(c: ModelConfig) -> _Parts:
  # Made for every encoder, so that the policy's options are always checked.
  policies = slot_policies(c)
  outer = c
  if c.encoder == "recurrent":  # It has all the layers.
    outer = dataclasses.replace(c, num_layers=0, num_layers_after=0)
  return _Parts(
    encoder=enc.Encoder(outer),
    interface=enc.MemoryInterface(c),
    policies=policies if c.encoder == "memory" else None,
    between=between_chunks(c),
    decoder=enc.Decoder(outer),
    head=enc.Head(
      c.num_classes,
      hidden=2 * c.width,
      cosine=c.cosine and c.head == "match",
    ),
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

  between = {}
  if parts.between is not None:
    between[c.encoder] = parts.between.init(keys[4], x, valid)
    args = between[c.encoder], key, x, valid, False
    read = jax.eval_shape(lambda: parts.between.apply(*args)[1])
    read = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), read)

  params = between | {
    "encoder": pure.init(parts.encoder, keys[0], tokens, valid, False),
    "decoder": pure.init(
      parts.decoder, keys[1], x, read, valid, False, reading
    ),
    "head": pure.init(parts.head, keys[2], jnp.zeros(features)),
  }
  if has_memory:
    params["interface"] = pure.init(parts.interface, keys[3], x, valid)
    params["policy"] = parts.policies.base.init(
      keys[4], num_slots=c.num_slots, num_candidates=c.num_candidates
    )
  return params


class EncodedText(NamedTuple):
  """The chunks of one text after the layers before the memory."""

  x: Array  # [N, T, D]
  valid: Array  # [N, T]
  chunks: Chunk | None  # inputs of the memory, leaves [N, ...]


def _encode(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  text: Mapping[str, Array],
) -> EncodedText:
  """Applies the layers before the memory to the chunks of a text [L]."""
  L, T = text["inputs"].shape[0], c.chunk_length
  if L % T:
    raise ValueError(
      f"config.data.length={L} is not covered by chunks of"
      f" config.model.chunk_length={T}: it must be a multiple."
    )
  chunked = {name: x.reshape(L // T, T) for name, x in text.items()}

  def encode(key, tokens, valid):
    x = pure.apply(
      parts.encoder, params["encoder"], tokens, valid, mode.train, key=key
    )
    if parts.policies is None:
      return x, None
    return x, pure.apply(parts.interface, params["interface"], x, valid)

  x, memory_inputs = pure.checkpointed_map(
    encode, key, chunked["inputs"], chunked["mask"], size=c.chunks_per_call
  )
  if parts.policies is None:
    return EncodedText(x, chunked["mask"], None)
  truth = ground_truth_of(chunked) if "ground_truth" in text else None
  chunks = chunks_of(*memory_inputs, chunked["mask"], truth)
  return EncodedText(x, chunked["mask"], chunks)


def _decode(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  text: EncodedText,
  read: Array | None = None,
  memory: MemoryResult | None = None,
) -> Array:
  """Applies the layers after the memory, and pools their outputs.

  `read` is what the tokens read without slots, [N, T, D].

  Returns features [D], or [L, D] for causal_lm and masked_lm.
  """
  x, valid, weights = text.x, text.valid, text.valid
  reading = None
  if memory is not None:
    read, reading = memory.steps.read, memory.reading
  if c.pools_slots:
    # The slots take the place of the tokens of one chunk.
    state = memory.state
    read, weights = state.content[None], state.strength[None]
    x, valid = jnp.zeros_like(read, x.dtype), state.alive[None]
  elif c.pools_last:
    # Layers are chunk-local: the other chunks cannot change the last one.
    last = last_chunk(valid)
    x, read, valid, weights = jax.tree.map(
      lambda a: jax.lax.dynamic_slice_in_dim(a, last, 1),
      (x, read, valid, weights),
    )

  def decode(key, x, read, valid):
    args = x, read, valid, mode.train, reading
    return pure.apply(parts.decoder, params["decoder"], *args, key=key)

  x = pure.checkpointed_map(decode, key, x, read, valid, size=c.chunks_per_call)
  if c.per_token:
    return x.reshape(-1, x.shape[-1])
  return enc.mean_pool(x, weights)


def _apply_text(
  c: ModelConfig,
  parts: _Parts,
  params: Params,
  mode: Mode,
  key: Array,
  text: Mapping[str, Array],
  removed: Array | None,
  initial: tuple[MemoryState, Array] | None = None,
) -> tuple[Array, StepOutput | None, MemoryState | None]:
  """The features of one text (see `_decode`), its steps and final memory.

  `initial` is the memory to start from, and how many chunks it has read.
  """
  keys = jax.random.split(key, 3)
  encoded = _encode(c, parts, params, mode, keys[0], text)
  if parts.policies is None:
    read = None
    if parts.between is not None:
      args = params[c.encoder], keys[1], encoded.x, encoded.valid, mode.train
      x, read = parts.between.apply(*args)
      encoded = encoded._replace(x=x)
    features = _decode(c, parts, params, mode, keys[2], encoded, read)
    return features, None, None
  memory = run_memory(
    c, parts.policies, params["policy"], keys[1], encoded.chunks, mode,
    removed=removed, initial=initial,
  )  # fmt: skip
  features = _decode(c, parts, params, mode, keys[2], encoded, memory=memory)
  return features, memory.steps.replace(read=None), memory.state


def _texts(c: ModelConfig, batch: Mapping[str, Array], keys: Array):
  """All texts of a batch, [B, L], for match [2*B, L], and their keys."""
  texts = {k: batch[k] for k in TEXT_FIELDS if k in batch}
  if c.head != "match":
    return texts, keys
  texts = {
    name: jnp.concatenate([batch[name], batch[name + "2"]])
    for name in ("inputs", "mask")
  }
  fold = jax.vmap(jax.random.fold_in, (0, None))
  return texts, jnp.concatenate([keys, fold(keys, 1)])


def build_model(**fields) -> Model:
  """Builds an encoder with a slot memory, or a baseline without one.

  Args:
    **fields: of `ModelConfig`; head, vocab_size and num_classes have no
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
    initial=None,
  ):
    mode = Mode(
      train,
      c.num_slots if num_slots is None else num_slots,
      c.budget if budget is None else budget,
    )
    text = functools.partial(_apply_text, c, parts, params, mode)
    texts, text_keys = _texts(c, batch, keys)
    started = (
      None if initial is None else (initial, jnp.zeros(len(keys), jnp.int32))
    )
    features, steps, state = jax.vmap(text)(text_keys, texts, removed, started)
    if c.head == "match":
      x1, x2 = jnp.split(features, 2)
      if all_pairs:
        x2 = x2 if gather is None else gather(x2)
        x1, x2 = x1[:, None], x2[None, :]
      features = enc.pair_features(x1, x2)
    return ModelOutput(answer(params, features), steps, state)

  def apply_segment(params, key, tokens, valid, state, start):
    mode = Mode(False, state.age.shape[0], c.budget)
    text = {"inputs": tokens, "mask": valid}
    features, steps, state = _apply_text(
      c, parts, params, mode, key, text, None, (state, start)
    )
    return features, state, steps

  def answer(params, features):
    return pure.apply(parts.head, params["head"], features)

  return Model(
    init=functools.partial(_init, c, parts),
    apply=apply,
    apply_segment=apply_segment if parts.policies is not None else None,
    answer=answer,
  )
