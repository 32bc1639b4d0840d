"""What a user has given on the command line, beside what the config does.

A config file or a saved run may hold fields for its own data set or policy,
which others ignore. A field that was given was meant.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory import policies as heuristics
from nema_lc_jax.models.config import STATEFUL, WHOLE_TEXT
from nema_lc_jax.models.policies import POLICIES, policy_options


def settle(config: ConfigDict, given: Iterable[str]) -> None:
  """Checks the options of the data set that were given.

  `data.dir` and `data.path` of a config for another data set become None, if
  they were not given.

  Raises:
    ConfigError: naming the first given option that the data set does not have.
  """
  accepted = data.options_of(config.data.name) | {"name"}
  for option in config.data:
    value = config.data[option]
    if option in accepted or (option in data.PLACES and value is None):
      continue
    if f"data.{option}" in set(given):
      raise ConfigError(
        f"config.data.{option} is given, but data set {config.data.name!r} has"
        " no such option; those that have it: --config.data.name="
        f"{', '.join(data.names_with(option)) or 'none'}."
      )
    if option in data.PLACES:
      with config.unlocked():
        config.data[option] = None


class Rule(NamedTuple):
  """Fields that have no effect under a condition."""

  fields: tuple[str, ...]  # names, or sections that end in a dot
  holds: Callable[[ConfigDict], bool]
  why: str  # with fields of the config in braces


def _no_layers(c: ConfigDict) -> bool:
  return c.model.num_layers + c.model.num_layers_after == 0


def _is_heuristic(c: ConfigDict) -> bool:
  return vars(heuristics).get(c.memory.policy) is POLICIES.get(
    c.memory.policy, ""
  )


RULES = (
  Rule(
    ("memory.", "loss.", "model.query_norm", "model.num_hops",
     "train.policy_lr_factor", "train.carry"),
    lambda c: c.model.encoder not in ("memory", *STATEFUL),
    "config.model.encoder={model.encoder} has no slots",
  ),
  Rule(
    ("memory.policy", "memory.overprovisioned_slots", "memory.num_candidates",
     "memory.budget", "memory.controller.", "loss.", "model.query_norm",
     "model.num_hops", "train.policy_lr_factor", "train.carry"),
    lambda c: c.model.encoder in STATEFUL,
    "config.model.encoder={model.encoder} has no policy",
  ),
  Rule(
    ("loss.", "train.policy_lr_factor", "memory.overprovisioned_slots"),
    _is_heuristic,
    "config.memory.policy={memory.policy} learns nothing",
  ),
  Rule(
    ("loss.forget", "loss.stability"),
    lambda c: c.memory.policy in ("write_gate", "write_gate_lru"),
    "config.memory.policy={memory.policy} only learns to write",
  ),
  Rule(
    ("loss.forget",),
    lambda c: not c.memory.controller.allow_forget,
    "config.memory.controller.allow_forget=False",
  ),
  Rule(
    ("loss.start", "loss.ramp"),
    lambda c: c.loss.write == 0 and c.loss.stability == 0,
    "config.loss.write and config.loss.stability are 0",
  ),
  Rule(
    ("memory.controller.soft_eviction_decay",),
    lambda c: c.memory.overprovisioned_slots == 0,
    "config.memory.overprovisioned_slots=0",
  ),
  Rule(
    ("pretrain.",),
    lambda c: c.pretrain.steps == 0,
    "config.pretrain.steps=0",
  ),
  Rule(
    ("pretrain.mask_rate",),
    lambda c: c.pretrain.objective == "causal_lm",
    "config.pretrain.objective=causal_lm hides no tokens",
  ),
  Rule(
    ("model.sequence_mixer", "model.chunk_batch_size"),
    lambda c: c.model.encoder in WHOLE_TEXT,
    "config.model.encoder={model.encoder} decides it",
  ),
  Rule(
    ("model.bptt_chunks",),
    lambda c: c.model.encoder not in ("memory", *STATEFUL),
    "config.model.encoder={model.encoder} passes nothing between chunks",
  ),
  Rule(
    ("model.num_heads", "model.position_embedding"),
    lambda c: c.model.encoder == "ssm",
    "config.model.encoder=ssm has no attention",
  ),
  Rule(
    ("model.ngram_rows",),
    lambda c: not c.model.ngram_sizes,
    "config.model.ngram_sizes is empty",
  ),
  Rule(
    ("model.read_gain",),
    lambda c: c.model.encoder in ("local", *WHOLE_TEXT),
    "config.model.encoder={model.encoder} reads nothing",
  ),
  Rule(
    ("model.read_gain",),
    lambda c: c.model.encoder == "memory" and c.model.pool == "slots",
    "config.model.pool=slots has no tokens to which reads are added",
  ),
  Rule(
    ("model.mlp_ratio", "model.gated_mlp", "model.sequence_mixer",
     "model.dropout"),
    _no_layers,
    "the model has no layers",
  ),
)  # fmt: skip


def without_effect(config: ConfigDict, given: Iterable[str]) -> Iterator[str]:
  """A line for each given field that has no effect with the others chosen."""
  options = policy_options(config.memory.policy)
  for path in dict.fromkeys(given):
    option = path.removeprefix("memory.controller.")
    for rule in RULES:
      named = any(
        path == f or (f.endswith(".") and path.startswith(f))
        for f in rule.fields
      )
      if named and path != "pretrain.steps" and rule.holds(config):
        yield f"config.{path} has no effect: {rule.why.format(**config)}."
        break
    else:
      if option != path and option not in options:
        yield (
          f"config.{path} has no effect: policy {config.memory.policy!r} has no"
          " such option."
        )
