"""`build_model`: encoder, memory and head as one pair of pure functions.

Written for one text, then vmapped once over the batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from nema_lc_jax.memory import (
  Candidates,
  Chunk,
  Policy,
  StepOutput,
  init_state,
  scan_chunks,
)
from nema_lc_jax.memory.types import Array, Params
from nema_lc_jax.models import encoder as enc
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.policies import make_policy, policy_options


@struct.dataclass
class ModelOutput:
  """What a model says of a batch, and what its memory did."""

  # classify, match: [B, C]; predict: [B, L, C]; all pairs: [B, B, C].
  logits: Array
  # Leaves [B, N, ...], of two texts [2*B, N, ...]; None without a memory.
  steps: StepOutput | None


class Model(NamedTuple):
  """A model: two pure functions.

  init(key) -> params
  apply(params, keys, batch, *, train=False, num_slots=None, budget=None,
        all_pairs=False, axis_name=None) -> ModelOutput
    keys [B]: one per example (dropout, exploration, the random policy).
    batch: `inputs` [B, L] ids and `mask` [B, L]; `inputs2`, `mask2` to match;
      optionally `truth` [B, L].
    num_slots, budget: in place of the model's own; budget 0 is memory off.
    all_pairs: match every first text with every second text of the batch,
      under pmap over all devices of `axis_name`.
  """

  init: Callable[[Array], Params]
  apply: Callable[..., ModelOutput]


class _Parts(NamedTuple):
  encoder: enc.Encoder
  interface: enc.Interface
  policy: Policy | None
  decoder: enc.Decoder
  head: enc.Head


def _parts(c: ModelConfig) -> _Parts:
  known = policy_options(c.policy)
  learned = {k: v for k, v in c.controller.items() if k in known}
  for option in set(c.controller) - set(policy_options("learned")):
    raise ValueError(
      f"config.memory.controller has no field {option!r}; known:"
      f" {', '.join(policy_options('learned'))}."
    )
  policy = make_policy(c.policy, width=c.width, **learned)
  return _Parts(
    encoder=enc.Encoder(c),
    interface=enc.Interface(c),
    policy=policy if c.encoder == "memory" else None,
    decoder=enc.Decoder(c),
    head=enc.Head(c.num_classes, hidden=2 * c.width),
  )


def _call(module, params, *args, key=None):
  rngs = {} if key is None else {"dropout": key}
  return module.apply({"params": params}, *args, rngs=rngs)


def _init(c: ModelConfig, parts: _Parts, key: Array) -> Params:
  keys = jax.random.split(key, 5)
  tokens = jnp.zeros((1, c.chunk_length), jnp.int32)
  valid = jnp.ones(tokens.shape, bool)
  x = jnp.zeros((*tokens.shape, c.width), c.dtype)
  features = (4 if c.head == "match" else 1) * c.width
  has_memory = parts.policy is not None
  read = jnp.zeros(x.shape) if has_memory else None

  def init(module, key, *args):
    return module.init(key, *args)["params"]

  params = {
    "encoder": init(parts.encoder, keys[0], tokens, valid, False),
    "decoder": init(parts.decoder, keys[1], x, read, valid, False),
    "head": init(parts.head, keys[2], jnp.zeros(features)),
  }
  if has_memory:
    params["interface"] = init(parts.interface, keys[3], x, valid)
    params["policy"] = parts.policy.init(
      keys[4], num_slots=c.num_slots, num_candidates=c.num_candidates
    )
  return params


def _remember(c, parts, params, key, x, valid, truth, train, num_slots, budget):
  """The memory scan of one text: reads [N, T, D] and step outputs [N, ...]."""
  query, content, age_bias = _call(
    parts.interface, params["interface"], x, valid
  )
  N, K = content.shape[:2]
  chunks = Chunk(
    query=query,
    candidates=Candidates(
      content=content, valid=jnp.repeat(valid.any(1)[:, None], K, axis=1)
    ),
    valid=valid,
    age_bias=jnp.broadcast_to(age_bias, (N,)),
    truth=truth,
  )
  _, steps = scan_chunks(
    params["policy"],
    key,
    init_state(num_slots=num_slots, width=c.width),
    chunks,
    policy=parts.policy,
    budget=budget,
    train=train,
    remat=c.remat,
    truncate=c.truncate,
  )
  return steps


def _text(c, parts, params, key, text, *, train, num_slots, budget):
  """One text: pooled [D], or every token [L, D] to predict; and its steps."""
  tokens, valid = text["inputs"], text["mask"]
  L, T = tokens.shape[0], c.chunk_length
  if L % T:
    raise ValueError(
      f"a text of {L} tokens is not covered by chunks of"
      f" config.model.chunk_length={T}: it must be a multiple."
    )
  chunked = lambda x: x.reshape(L // T, T)
  tokens, valid = chunked(tokens), chunked(valid)
  truth = chunked(text["truth"]).max(1) if "truth" in text else None
  keys = jax.random.split(key, 3)
  x = _call(parts.encoder, params["encoder"], tokens, valid, train, key=keys[0])
  read, steps = None, None
  if parts.policy is not None:
    steps = _remember(
      c, parts, params, keys[1], x, valid, truth, train, num_slots, budget
    )
    read, steps = steps.read, steps.replace(read=None)
  if c.head != "predict" and c.pool == "last" and c.encoder != "full":
    # Layers are chunk-local: of the others nothing more is needed.
    last = jnp.max(jnp.where(valid.any(1), jnp.arange(valid.shape[0]), 0))
    x, read, valid = jax.tree.map(
      lambda a: jax.lax.dynamic_slice_in_dim(a, last, 1), (x, read, valid)
    )
  x = _call(
    parts.decoder, params["decoder"], x, read, valid, train, key=keys[2]
  )
  if c.head == "predict":
    return x.reshape(L, -1), steps
  return enc.mean_pool(x, valid), steps


def build_model(**fields) -> Model:
  """A Transformer with a slot memory beside it.

  Args:
    **fields: those of `ModelConfig`; head, vocab_size and num_classes have no
      defaults.

  Raises:
    ValueError: naming the value and what is allowed.
  """
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
    axis_name=None,
  ):
    def text(key, example):
      return _text(
        c,
        parts,
        params,
        key,
        example,
        train=train,
        num_slots=c.num_slots if num_slots is None else num_slots,
        budget=c.budget if budget is None else budget,
      )

    first = {k: batch[k] for k in ("inputs", "mask", "truth") if k in batch}
    if c.head != "match":
      features, steps = jax.vmap(text)(keys, first)
      return ModelOutput(_call(parts.head, params["head"], features), steps)
    second = {"inputs": batch["inputs2"], "mask": batch["mask2"]}
    first.pop("truth", None)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)
    second_keys = jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys)
    keys = jnp.concatenate([keys, second_keys])
    features, steps = jax.vmap(text)(keys, both)
    x1, x2 = jnp.split(features, 2)
    if all_pairs:
      if axis_name is not None:
        x2 = jax.lax.all_gather(x2, axis_name, tiled=True)
      x1, x2 = x1[:, None], x2[None, :]
    pairs = enc.pair_features(x1, x2)
    return ModelOutput(_call(parts.head, params["head"], pairs), steps)

  return Model(init=lambda key: _init(c, parts, key), apply=apply)
