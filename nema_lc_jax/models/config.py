"""The fields of a model, and their validation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nema_lc_jax.models import ranges

# Encoders without slots.
BASELINES = ("local", "full", "recurrent", "ssm", "delta", "routed")
# Of these, those that carry as many numbers from chunk to chunk as the slots
# hold, and those whose layers see more than a chunk.
STATEFUL = ("recurrent", "delta", "routed")
WHOLE_TEXT = ("full", "ssm", "recurrent")
CHOICES = {
  "head": ("classify", "match", "causal_lm", "masked_lm"),
  "encoder": ("memory", *BASELINES),
  "pool": ("last", "mean", "slots"),
  "sequence_mixer": ("attention", "ssm"),
  "position_embedding": ("learned", "rotary"),
  "candidate_weights": ("sigmoid", "softmax"),
  "dtype": ("float32", "bfloat16"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """The fields of a model.

  Raises:
    ValueError: naming the field, its value, and what is allowed.
  """

  # "classify" a text, "match" a pair of texts, or predict at every token the
  # next token ("causal_lm") or the masked one ("masked_lm").
  head: str
  vocab_size: int  # V; ids lie in [0, V)
  num_classes: int  # C
  chunk_length: int = 64  # T; texts are cut into chunks of T tokens
  width: int = 64  # D, of tokens and slots
  num_layers: int = 2  # chunk-local layers before the memory read
  num_layers_after: int = 1  # chunk-local layers after the memory read
  num_heads: int = 4  # of the attention layers; divides width
  mlp_ratio: float = 4.0  # hidden width of the MLPs, divided by D
  # Layers that mix the tokens of a chunk: "attention", or linear recurrences
  # ("ssm", see models/ssm.py). "full" and "recurrent" always use attention.
  sequence_mixer: str = "attention"
  gated_mlp: bool = False  # GEGLU in place of GELU; "ssm" always uses it
  # "learned" per chunk and added to the tokens; or "rotary", applied to queries
  # and keys.
  position_embedding: str = "learned"
  # Sizes of n-grams of tokens whose hashed embeddings are added to those of the
  # tokens, and the rows of each size's table; see models/ngrams.py.
  ngram_sizes: Sequence[int] = ()
  ngram_rows: int = 2**14
  # Window in tokens of a convolution over each chunk's embeddings; 0: none.
  conv_kernel_size: int = 0
  dropout: float = 0.0  # probability in training
  # "memory", or a baseline without slots: "local" (block-local attention),
  # "full" (attention over the whole text), "recurrent" (num_slots memory tokens
  # are passed from chunk to chunk, see models/recurrent.py), "ssm" (a linear
  # recurrence over the whole text, see models/ssm.py), "delta" or "routed" (as
  # "local", and a gated delta rule or routed slots over all tokens in place of
  # the memory, see models/linear_memory.py).
  encoder: str = "memory"
  # The vector of a text is the mean of the tokens of the "last" chunk, which
  # know the other chunks by reading the memory; the "mean" of all tokens; or
  # the mean of the final "slots", weighted by strength. "slots" without a
  # memory, and "last" with "full" and "ssm", mean the same as "mean".
  pool: str = "last"
  dtype: str = "float32"  # of activations; memory and parameters: float32
  # Norm of read queries, the most that content can add to a read logit. A small
  # norm makes strengths matter in reads, so that they are learned.
  query_norm: float = 5.0
  # Size of the projection of what is read, at first, in that of the other
  # projections. 0: tokens are learned first, and then what reads add to them.
  read_gain: float = 1.0
  # Whether a multiple of the cosine of two texts is added to the logits of
  # "match".
  cosine: bool = True
  # Weights of a chunk's tokens in a candidate: "sigmoid", or "softmax".
  candidate_weights: str = "sigmoid"
  # Successive reads of the last chunk; each query depends on the read before,
  # see `ReadHop`. More than 1 needs pool "last".
  num_hops: int = 1
  remat: bool = False  # recompute layers and steps in the backward pass
  # Chunks that layers process at a time, with recomputation of layers and
  # memory steps in the backward pass, and dropout drawn per chunk. 0, and with
  # "full", "ssm" and "recurrent": all at once.
  chunk_batch_size: int = 0
  bptt_chunks: int | None = None  # chunks of truncated BPTT; None: all
  policy: str = "learned"  # see make_policy
  num_slots: int = 16  # M
  # Additional slots in training, for learned policies: items beyond num_slots
  # decay instead of being evicted, and so get a gradient.
  overprovisioned_slots: int = 0
  num_candidates: int = 2  # K, per chunk
  budget: int = 2  # hard limit on memory operations per chunk
  # Options of the learned policies; the other policies ignore them.
  controller: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for field, known in CHOICES.items():
      value = getattr(self, field)
      if value not in known:
        raise ValueError(
          f"config.model.{field}={value!r} is unknown; known:"
          f" {', '.join(known)}."
        )
    for path, allowed in ranges.MODEL.items():
      value = getattr(self, path.rpartition(".")[2])
      several = path in ranges.TUPLES
      if several and not isinstance(value, tuple | list):
        raise ValueError(
          f"config.{path} must be a tuple such as (3, 4), got {value!r}."
        )
      for element in value if several else (value,):
        allowed.require(f"config.{path}", element)
    ranges.require_options(self.controller)
    if self.width % self.num_heads:
      raise ValueError(
        f"config.model.num_heads={self.num_heads} does not divide"
        f" config.model.width={self.width}."
      )
    if self.position_embedding == "rotary" and self.width // self.num_heads % 2:
      raise ValueError(
        "config.model.position_embedding='rotary' needs heads of an even width,"
        f" got config.model.width={self.width} over config.model.num_heads="
        f"{self.num_heads}."
      )
    if self.encoder == "routed" and self.width // self.num_heads % 2:
      raise ValueError(
        "config.model.encoder='routed' needs heads of an even width, half for"
        f" keys and half for values, got config.model.width={self.width} over"
        f" config.model.num_heads={self.num_heads}."
      )
    if self.mlp_ratio * self.width < 1:
      raise ValueError(
        f"config.model.mlp_ratio={self.mlp_ratio} times config.model.width="
        f"{self.width} must be at least 1."
      )
    if self.num_hops > 1 and self.encoder == "memory" and not self.pools_last:
      raise ValueError(
        f"config.model.num_hops={self.num_hops} needs"
        " config.model.pool='last' and a head other than causal_lm and"
        f" masked_lm; got pool={self.pool!r} and head {self.head!r}."
      )
    if self.pools_slots and self.uses_ssm and self.num_layers_after:
      raise ValueError(
        "config.model.sequence_mixer='ssm' needs an order, and slots have none:"
        " with config.model.pool='slots' it needs"
        " config.model.num_layers_after=0, got"
        f" {self.num_layers_after}."
      )

  @property
  def chunks_per_call(self) -> int:
    """Chunks that layers process at a time; 0: all."""
    return self.chunk_batch_size if self.chunk_local else 0

  @property
  def chunk_local(self) -> bool:
    """Whether layers are applied to each chunk alone."""
    return self.encoder not in WHOLE_TEXT

  @property
  def uses_ssm(self) -> bool:
    """Whether the layers are linear recurrences."""
    in_chunks = self.sequence_mixer == "ssm" and self.chunk_local
    return in_chunks or self.encoder == "ssm"

  @property
  def remat_steps(self) -> bool:
    """Whether the backward pass recomputes memory steps."""
    return self.remat or self.chunks_per_call > 0

  @property
  def causal(self) -> bool:
    """Whether a token sees only itself and the tokens before it."""
    return self.head == "causal_lm"

  @property
  def per_token(self) -> bool:
    """Whether every token has its own logits."""
    return self.head in ("causal_lm", "masked_lm")

  @property
  def sees_whole_text(self) -> bool:
    """Whether layers see the whole text instead of one chunk."""
    return self.encoder in ("full", "ssm")

  @property
  def pools_last(self) -> bool:
    """Whether only the last chunk is pooled."""
    whole = self.per_token or self.sees_whole_text
    return self.pool == "last" and not whole

  @property
  def pools_slots(self) -> bool:
    """Whether the slots are pooled instead of tokens."""
    return (
      self.pool == "slots" and not self.per_token and self.encoder == "memory"
    )
