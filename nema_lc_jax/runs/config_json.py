"""A run's config as JSON, and its overrides on a command line."""

import copy
import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.files import CONFIG_FILE

# Renamed fields, old to new: configs of older runs still load.
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
# Renamed values, by the new name of their field.
RENAMED_VALUES = {
  "memory.controller.gradient_estimator": {"strength": "continuous"},
  "pretrain.objective": {"masked": "masked_lm", "next": "causal_lm"},
  "train.on_save_error": {"go_on": "continue"},
}
# Renamed heads of models, old to new.
RENAMED_HEADS = {"fill": "masked_lm", "predict": "causal_lm"}
# Removed fields, with the value that all runs have.
FIXED = {
  "memory.controller.noise": 0.3,
  "memory.controller.update_bias": 0.0,
  "memory.controller.write_bias": 1.0,
}
# Newer fields, with what models did before.
ADDED = {
  "model.candidate_weights": "softmax",
  "model.cosine": False,
  "model.ngram_sizes": [],
  "model.ngram_rows": 2**14,
  "model.read_gain": 1.0,
  "train.buckets": [],
  "train.carry": 0.0,
  "train.init_from": None,
}
# Fields that may be None; JSON does not keep their types.
UNSET = {
  "data.background": str,
  "data.dir": str,
  "data.path": str,
  "model.bptt_chunks": int,
  "train.init_from": str,
}


def read_config(workdir: str | Path) -> ConfigDict:
  """The config that a run was started with.

  Raises:
    ConfigError: if the folder holds no run.
  """
  return config_from_json(read_json(workdir, CONFIG_FILE))


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
  """A saved config with the current names of its fields and values."""
  values = copy.deepcopy(dict(values))
  for old, new in RENAMED.items():
    section, name = locate(values, old)
    if name in section:
      section[new.rpartition(".")[2]] = section.pop(name)
  for path, names in RENAMED_VALUES.items():
    section, name = locate(values, path)
    if name in section:
      section[name] = names.get(section[name], section[name])
  for path, value in FIXED.items():
    section, name = locate(values, path)
    if section.get(name) == value:
      del section[name]
  for path, value in ADDED.items():
    section, name = locate(values, path)
    section.setdefault(name, value)
  return values


def locate(
  values: dict[str, Any] | ConfigDict, path: str
) -> tuple[dict[str, Any] | ConfigDict, str]:
  """The section of a field, empty where there is none, and its name in it."""
  *sections, name = path.split(".")
  return functools.reduce(lambda v, s: v.get(s, {}), sections, values), name


def config_from_json(values: Mapping[str, Any]) -> ConfigDict:
  """A ConfigDict from a saved config, with tuples in place of lists.

  Configs of older runs, whose fields had other names, load as well.
  """
  config = ConfigDict(upgraded(values))
  for path, kind in UNSET.items():
    section, field = path.split(".")
    if config[section].get(field, 0) is None:
      config[section][field] = config_dict.placeholder(kind)
  config.train.curriculum = tuple(map(tuple, config.train.curriculum))
  config.eval.length_multipliers = tuple(config.eval.length_multipliers)
  config.model.ngram_sizes = tuple(config.model.ngram_sizes)
  config.train.buckets = tuple(config.train.buckets)
  return config


def first_difference(saved: Any, wanted: Any, path: str = "config") -> str:
  """The first difference of two configs, given as JSON values, in words."""
  for name in sorted({*saved, *wanted}):
    there, here = saved.get(name), wanted.get(name)
    if isinstance(there, dict) and isinstance(here, dict):
      if there != here:
        return first_difference(there, here, f"{path}.{name}")
    elif there != here:
      return f"{path}.{name} is {there!r} there and {here!r} here"
  return "no difference"


def field_names(config: ConfigDict) -> list[str]:
  """The dotted names of all fields."""
  names = []
  for name in config:
    if isinstance(config[name], ConfigDict):
      names += [f"{name}.{below}" for below in field_names(config[name])]
    else:
      names.append(name)
  return names


def require_field(config: ConfigDict, path: str) -> None:
  """Raises ConfigError, with a suggestion, if there is no such field."""
  section = config
  for name in path.split("."):
    if not isinstance(section, ConfigDict) or name not in section:
      break
    section = section[name]
  else:
    return
  if path in RENAMED:
    raise ConfigError(f"config.{path} is now config.{RENAMED[path]}.")
  if path in FIXED:
    raise ConfigError(
      f"config.{path} cannot be set any more: it is {FIXED[path]} in all runs."
    )
  names = field_names(config)
  last = path.rpartition(".")[2]
  meant = [name for name in names if name.rpartition(".")[2] == last]
  meant = meant or difflib.get_close_matches(path, names, 1)
  raise ConfigError(
    f"there is no field config.{path};"
    + (
      f" did you mean config.{' or config.'.join(meant)}?"
      if meant
      else " --help lists all."
    )
  )


# The values of a type, in words for messages.
KINDS = {
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  tuple: "a tuple such as (1, 2)",
}


def override(
  config: ConfigDict, fields: Iterable[tuple[str, str | None]]
) -> ConfigDict:
  """A copy of a config with the fields that a command line sets.

  Args:
    config: is not changed.
    fields: (name, value) of each --config.NAME=VALUE; the value is None if none
      was given, as only a bool allows.

  Raises:
    ConfigError: on an unknown field, or a value of another type.
  """
  given: dict[str, list[str | None]] = {}
  for path, value in fields:
    given.setdefault(path, []).append(value)
  config = copy.deepcopy(config).lock()
  for path, values in given.items():
    # FIELD[0], an element of a tuple, cannot be set, which `_set` says.
    field = path.partition("[")[0]
    require_field(config, field)
    if values[-1] == "None" and _may_be_unset(path):
      section, name = path.split(".")
      kind = UNSET.get(path) or config[section].get_type(name)
      with config.unlocked():
        config[section][name] = config_dict.placeholder(kind)
      continue
    try:
      config = _set(config, path, values)
    except (
      flags.Error, AttributeError, LookupError, MemoryError, RecursionError,
      TypeError, ValueError, SyntaxError,
    ):  # fmt: skip
      got = "no value" if None in values else repr(values[-1])
      raise ConfigError(
        f"config.{field} must be {kind_of(config, field)}, got {got}."
      ) from None
  return config


def _may_be_unset(path: str) -> bool:
  """Whether None is a value of a field: of all options of the data set."""
  own = path.startswith("data.") and path.count(".") == 1
  return path in UNSET or (own and path not in ("data.name", "data.length"))


def _set(
  config: ConfigDict, path: str, values: Iterable[str | None]
) -> ConfigDict:
  """The config with one field set; a tuple may be given one value per flag."""
  field, bracket, index = path.partition("[")
  section, name = locate(config, field)
  if hasattr(ConfigDict, name):  # It would be taken for the method, as `items`.
    alone = ConfigDict({"value": section[name]})
    section[name] = _set(alone, f"value{bracket}{index}", values)["value"]
    return config
  flag = f"--config.{path}"
  argv = ["", *(flag if v is None else f"{flag}={v}" for v in values)]
  flag_values = flags.FlagValues()
  holder = config_flags.DEFINE_config_dict(
    "config", config, flag_values=flag_values, sys_argv=argv
  )
  flag_values(argv)
  return holder.value


def kind_of(config: ConfigDict, path: str) -> str:
  """The allowed values of a field, in words."""
  section, name = locate(config, path)
  if isinstance(section[name], ConfigDict):
    return f"given field by field: {', '.join(section[name])}"
  return KINDS.get(section.get_type(name), "a value of its type")


def read_json(workdir: str | Path, name: str) -> dict[str, Any]:
  """Reads a JSON file of a run's folder.

  Raises:
    ConfigError: in one line, if it is missing or damaged.
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
