"""What a model can be made of, checked when it is made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Encoders without slots, to compare the memory with.
BASELINES = ("local", "full", "recurrent", "ssm")
CHOICES = {
  "head": ("classify", "match", "causal_lm", "masked_lm"),
  "encoder": ("memory", *BASELINES),
  "pool": ("last", "mean", "slots"),
  "sequence_mixer": ("attention", "ssm"),
  "position_embedding": ("learned", "rotary"),
  "dtype": ("float32", "bfloat16"),
}
# Least values of the integer fields, and the section of a run's config they
# are in, for error messages.
LEAST = {
  "vocab_size": (1, "model"),
  "num_classes": (1, "model"),
  "chunk_length": (1, "model"),
  "width": (1, "model"),
  "num_layers": (0, "model"),
  "num_layers_after": (0, "model"),
  "num_heads": (1, "model"),
  "conv_kernel_size": (0, "model"),
  "num_hops": (1, "model"),
  "chunk_batch_size": (0, "model"),
  "num_slots": (1, "memory"),
  "overprovisioned_slots": (0, "memory"),
  "num_candidates": (1, "memory"),
  "budget": (0, "memory"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """The fields of a model.

  Raises:
    ValueError: naming the field, its value, and what is allowed.
  """

  # "classify" one text, "match" two; at every token, predict what follows
  # ("causal_lm") or what is hidden ("masked_lm").
  head: str
  vocab_size: int  # V; ids lie in [0, V)
  num_classes: int  # C
  chunk_length: int = 64  # T; texts are cut into chunks of T tokens
  width: int = 64  # D, of tokens and slots
  num_layers: int = 2  # chunk-local layers before the memory read
  num_layers_after: int = 1  # chunk-local layers after it
  num_heads: int = 4  # of the attention layers; divides width
  mlp_ratio: float = 4.0  # hidden width of the MLPs over D
  # What mixes the tokens of a chunk: "attention", or linear recurrences ("ssm",
  # see models/ssm.py). "full" and "recurrent" have attention anyway.
  sequence_mixer: str = "attention"
  gated_mlp: bool = False  # MLPs with gated units; those of "ssm" always are
  # "learned" in each chunk, and added to the tokens; or "rotary": queries and
  # keys are turned by their place in what is attended.
  position_embedding: str = "learned"
  # Tokens in the window of a convolution over each chunk's embeddings, before
  # the layers; 0: none.
  conv_kernel_size: int = 0
  dropout: float = 0.0  # probability, in training
  # "memory"; for comparison, without slots: "local" (chunks alone), "full"
  # (attention over the whole text), "recurrent" (num_slots memory tokens beside
  # each chunk, see models/recurrent.py) or "ssm" (a linear recurrence over the
  # whole text, see models/ssm.py).
  encoder: str = "memory"
  # What becomes a text's vector: the tokens of the "last" chunk, which know of
  # the others by reading the memory; the "mean" of all tokens; or the "slots"
  # as they are in the end, weighted by strength. Without slots "slots", and
  # with "full" and "ssm" also "last", are the mean.
  pool: str = "last"
  dtype: str = "float32"  # of activations; memory and parameters: float32
  # Norm of read queries: the most that content can add to a read logit. Where
  # it is small, strengths have to tell what is worth reading, and are learned.
  query_norm: float = 5.0
  # Reads of the last chunk, one after another: each asks for what the reads
  # before it make worth asking for, or for what came just before or after that.
  # More than 1 only where pool is "last".
  num_hops: int = 1
  remat: bool = False  # recompute layers and steps in the backward pass
  # Chunks that layers run on at once, one group after another; these and memory
  # steps are computed again in the backward pass, and each chunk draws its own
  # dropout. 0: all side by side, as always with "full", "ssm" and "recurrent".
  chunk_batch_size: int = 0
  bptt_chunks: int | None = None  # backpropagate through so many steps at most
  policy: str = "learned"  # see make_policy
  num_slots: int = 16  # M
  # So many more in training, for policies that know a capacity: what is too
  # much fades there instead of being lost at once, and can be learned from.
  overprovisioned_slots: int = 0
  num_candidates: int = 2  # K per chunk
  budget: int = 2  # hard limit on memory operations per chunk
  # Options of the learned policies, which the others ignore.
  controller: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Checks every field."""
    for field, known in CHOICES.items():
      value = getattr(self, field)
      if value not in known:
        raise ValueError(
          f"config.model.{field}={value!r} is unknown; known:"
          f" {', '.join(known)}."
        )
    for field, (least, section) in LEAST.items():
      value = getattr(self, field)
      if value < least:
        raise ValueError(
          f"config.{section}.{field} must be at least {least}, got {value}."
        )
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
    if self.mlp_ratio * self.width < 1:
      raise ValueError(
        f"config.model.mlp_ratio={self.mlp_ratio} times config.model.width="
        f"{self.width} must be at least 1."
      )
    if not 0 <= self.dropout < 1:
      raise ValueError(
        f"config.model.dropout must be in [0, 1), got {self.dropout}."
      )
    if self.query_norm <= 0:
      raise ValueError(
        f"config.model.query_norm must be above 0, got {self.query_norm}."
      )
    if self.num_hops > 1 and self.encoder == "memory" and not self.pools_last:
      raise ValueError(
        f"config.model.num_hops={self.num_hops} needs"
        " config.model.pool='last' and a head other than causal_lm and"
        f" masked_lm; got pool={self.pool!r} and head {self.head!r}."
      )
    if self.pools_slots and self.recurs and self.num_layers_after:
      raise ValueError(
        "config.model.sequence_mixer='ssm' reads in order, and slots have none:"
        " with config.model.pool='slots' it needs"
        " config.model.num_layers_after=0, got"
        f" {self.num_layers_after}."
      )
    if self.bptt_chunks is not None and self.bptt_chunks < 1:
      raise ValueError(
        "config.model.bptt_chunks must be None or at least 1 chunk, got"
        f" {self.bptt_chunks}."
      )

  @property
  def chunks_per_call(self) -> int:
    """Chunks that layers run on at once; 0: all."""
    alone = self.encoder in ("memory", "local")
    return self.chunk_batch_size if alone else 0

  @property
  def recurs(self) -> bool:
    """Whether layers are linear recurrences."""
    in_chunks = self.sequence_mixer == "ssm" and self.encoder in (
      "memory",
      "local",
    )
    return in_chunks or self.encoder == "ssm"

  @property
  def remat_steps(self) -> bool:
    """Whether memory steps are computed again in the backward pass."""
    return self.remat or self.chunks_per_call > 0

  @property
  def causal(self) -> bool:
    """Whether a token may see only those before it."""
    return self.head == "causal_lm"

  @property
  def per_token(self) -> bool:
    """Whether every token has an answer of its own."""
    return self.head in ("causal_lm", "masked_lm")

  @property
  def sees_whole_text(self) -> bool:
    """Whether layers run over a text at once, whatever its chunks are."""
    return self.encoder in ("full", "ssm")

  @property
  def pools_last(self) -> bool:
    """Whether layers after the read are needed for the last chunk alone."""
    whole = self.per_token or self.sees_whole_text
    return self.pool == "last" and not whole

  @property
  def pools_slots(self) -> bool:
    """Whether the memory itself is what is pooled."""
    return (
      self.pool == "slots" and not self.per_token and self.encoder == "memory"
    )
