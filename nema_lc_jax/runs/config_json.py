"""A run's config as JSON, and what a command line changes in it."""

import copy
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import CONFIG_FILE

# Fields that were renamed, old to new: configs of older runs still load.
RENAMED = {
  "eval.lengths": "eval.length_multipliers",
  "memory.controller.blind": "memory.controller.ablate_input",
  "memory.controller.fade": "memory.controller.soft_eviction_decay",
  "memory.controller.forget": "memory.controller.allow_forget",
  "memory.controller.keep": "memory.controller.eviction",
  "memory.controller.relax": "memory.controller.gradient_estimator",
  "memory.controller.update": "memory.controller.allow_update",
  "memory.spare_slots": "memory.overprovisioned_slots",
  "model.chunks_at_once": "model.chunk_batch_size",
  "model.convolution": "model.conv_kernel_size",
  "model.gated": "model.gated_mlp",
  "model.layers": "model.sequence_mixer",
  "model.num_reads": "model.num_hops",
  "model.positions": "model.position_embedding",
  "model.read_scale": "model.query_norm",
  "model.truncate": "model.bptt_chunks",
  "train.max_skipped": "train.max_consecutive_nonfinite",
}
# Values that were renamed, by the new name of their field.
RENAMED_VALUES = {
  "memory.controller.gradient_estimator": {"strength": "continuous"},
  "pretrain.objective": {"masked": "masked_lm", "next": "causal_lm"},
  "train.on_save_error": {"go_on": "continue"},
}
# Fields that no config sets any more, with the value that they have.
FIXED = {
  "memory.controller.noise": 0.3,
  "memory.controller.update_bias": 0.0,
  "memory.controller.write_bias": 1.0,
}
# Fields that may be unset, whose types JSON does not keep.
UNSET = {"data.dir": str, "data.path": str, "model.bptt_chunks": int}


def load_config(workdir: str | Path) -> ConfigDict:
  """The config that a run was started with.

  Raises:
    ConfigError: if the folder holds no run.
  """
  return config_from_json(read_json(workdir, CONFIG_FILE))


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
  """A saved config with the names that its fields and values have now."""
  values = copy.deepcopy(dict(values))
  for old, new in RENAMED.items():
    *sections, name = old.split(".")
    section = functools.reduce(lambda v, s: v.get(s, {}), sections, values)
    if name in section:
      section[new.rpartition(".")[2]] = section.pop(name)
  for path in (*RENAMED_VALUES, *FIXED):
    *sections, name = path.split(".")
    section = functools.reduce(lambda v, s: v.get(s, {}), sections, values)
    if path in RENAMED_VALUES and name in section:
      section[name] = RENAMED_VALUES[path].get(section[name], section[name])
    if path in FIXED and section.get(name) == FIXED[path]:
      del section[name]
  return values


def config_from_json(values: Mapping[str, Any]) -> ConfigDict:
  """A config as it was before it became JSON, which knows no tuples.

  Of older runs, too, whose fields had other names.
  """
  config = ConfigDict(upgraded(values))
  for path, kind in UNSET.items():
    section, field = path.split(".")
    if config[section][field] is None:
      config[section][field] = config_dict.placeholder(kind)
  config.train.curriculum = tuple(map(tuple, config.train.curriculum))
  config.eval.length_multipliers = tuple(config.eval.length_multipliers)
  return config


def first_difference(found: Any, wanted: Any, path: str = "config") -> str:
  """Where two configs, as JSON values, first differ, in words."""
  for name in sorted({*found, *wanted}):
    here, there = found.get(name), wanted.get(name)
    if isinstance(here, dict) and isinstance(there, dict):
      if here != there:
        return first_difference(here, there, f"{path}.{name}")
    elif here != there:
      return f"{path}.{name} is {here!r} there and {there!r} here"
  return "no difference"


def override(config: ConfigDict, argv: list[str]) -> ConfigDict:
  """A config with what `--config.FIELD=VALUE` of a command line sets.

  Raises:
    ConfigError: on an unknown field or argument, or a value of another type.
  """
  values = flags.FlagValues()
  try:
    holder = config_flags.DEFINE_config_dict(
      "config", config, flag_values=values, sys_argv=argv
    )
    left = values(argv)[1:]
  except (flags.Error, AttributeError, KeyError, TypeError) as error:
    raise ConfigError(" ".join(str(error).split())) from None
  if left:
    raise ConfigError(f"unknown argument {left[0]!r}; see --help.")
  return holder.value


def read_json(workdir: str | Path, name: str) -> dict[str, Any]:
  """A JSON file of a run's folder.

  Raises:
    ConfigError: in one line, if it is not there or damaged.
  """
  path = Path(workdir) / name
  try:
    return json.loads(path.read_text())
  except OSError:
    raise ConfigError(
      f"{workdir} is not the folder of a run: it has no {name}."
    ) from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged: {error}.") from None
