"""The runs of a sweep: all methods in all settings with all seeds.

A method is a policy of the memory, or an encoder without slots with as many
parameters as the memory model with the reference policy.
"""

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.models import BASELINES
from nema_lc_jax.models.policies import policy_options
from nema_lc_jax.runs.config_json import kind_of, require_field
from nema_lc_jax.training import matching
from nema_lc_jax.training.checks import RANGES, require_number, require_numbers
from nema_lc_jax.training.experiment import load_data
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.task import task_spec

# First seed of tuning runs; results use smaller seeds.
TUNING_SEED = 1000
# Fields that a sweep sets, and the flags for them.
OWN = {
  "seed": "--seeds",
  "memory.policy": "--policies",
  "model.encoder": "--encoders",
}

Setting = tuple[tuple[str, Any], ...]  # (field, value) pairs


class Cell(NamedTuple):
  """One row of the result: a policy or an encoder in a setting."""

  policy: str  # name of the policy or the encoder; these are distinct
  setting: Setting = ()

  @property
  def setting_name(self) -> str:
    """The changes to the config, such as "memory.budget=1"."""
    return ", ".join(f"{field}={value}" for field, value in self.setting)

  @property
  def name(self) -> str:
    """The policy and the changes."""
    return " · ".join(filter(None, (self.policy, self.setting_name)))


class PlannedRun(NamedTuple):
  """One training run of a sweep."""

  cell: Cell
  seed: int
  config: ConfigDict
  folder: str  # below the sweep's

  @property
  def title(self) -> str:
    """The name of the run in progress messages."""
    rate = self.config.train.learning_rate
    return f"{self.cell.name} · rate {rate:g} · seed {self.seed}"


class Plan(NamedTuple):
  """All runs of a sweep."""

  cells: tuple[Cell, ...]
  seeds: tuple[int, ...]
  learning_rates: tuple[float, ...]
  tuning_seeds: tuple[int, ...]
  reference: str
  # Of encoders without slots, in each of their cells and in the plain setting.
  mlp_ratios: Mapping[Cell, float]

  def runs(
    self, config: ConfigDict, rates: Mapping[str, float]
  ) -> Iterator[PlannedRun]:
    """The runs of the result; `rates` has tuned learning rates by policy."""
    # Seeds vary slowest, so that an interrupted sweep has every cell.
    for seed, cell in itertools.product(self.seeds, self.cells):
      changes = dict(cell.setting) | self._method_changes(cell)
      if cell.policy in rates and "train.learning_rate" not in changes:
        changes["train.learning_rate"] = rates[cell.policy]
      yield _run(config, cell, seed, changes, "runs")

  def tuning_runs(self, config: ConfigDict) -> Iterator[PlannedRun]:
    """The runs of tuning: each policy with each learning rate."""
    policies = dict.fromkeys(cell.policy for cell in self.cells)
    for seed, rate, policy in itertools.product(
      self.tuning_seeds, self.learning_rates, policies
    ):
      cell = Cell(policy)
      changes = {"train.learning_rate": rate, "eval.length_multipliers": (1,)}
      changes |= self._method_changes(cell)
      yield _run(config, cell, seed, changes, "tuning")

  def _method_changes(self, cell: Cell) -> dict[str, Any]:
    """Changes that select the policy or encoder of a cell."""
    if cell.policy not in BASELINES:
      return {"memory.policy": cell.policy}
    return {
      "model.encoder": cell.policy,
      "memory.policy": "none",
      "model.mlp_ratio": self.mlp_ratios[cell],
    }


def _run(
  config: ConfigDict,
  cell: Cell,
  seed: int,
  changes: Mapping[str, Any],
  section: str,
) -> PlannedRun:
  own = changed(config, {"seed": seed, **changes})
  settle(own, ())
  names = [cell.policy.replace(":", ".")]
  names += [f"{field}={value}" for field, value in cell.setting]
  if section == "tuning":
    names.append(f"rate={own.train.learning_rate:g}")
  # Without path separators, blanks or brackets: values may be tuples.
  safe = "-".join("".join(c for c in n if c.isalnum() or c in "._=,-")
                  for n in names)  # fmt: skip
  return PlannedRun(cell, seed, own, f"{section}/{safe}/seed{seed}")


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
  """A copy of the config with changed fields, by their dotted names.

  Raises:
    ConfigError: on an unknown field or a value of another type.
  """
  own = config.copy_and_resolve_references().lock()
  for field, value in changes.items():
    require_field(own, field)
    try:
      own.update_from_flattened_dict({field: value})
    except (KeyError, TypeError, AttributeError, ValueError):
      require_number(field, value)  # Says which numbers are allowed.
      raise ConfigError(
        f"config.{field} must be {kind_of(own, field)}, got {value!r}."
      ) from None
  return own


def make_plan(
  config: ConfigDict,
  *,
  policies: Sequence[str],
  seeds: str,
  encoders: Sequence[str] = (),
  grid: Sequence[str] = (),
  ablate: Sequence[str] = (),
  learning_rates: str = "",
  tuning_seeds: int = 1,
  reference: str = "learned",
  given: Sequence[str] = (),
) -> Plan:
  """Makes a plan from the arguments of a sweep, and checks them.

  Args:
    config: the shared config.
    policies: names of policies.
    seeds: their number, from 0 on; or a list such as "10-14" or "10,12-14".
    encoders: names of encoders without slots, of `models.BASELINES`.
    grid: "field=a,b", in all combinations.
    ablate: "field=a,b", one change at a time, in addition to no change.
    learning_rates: "a,b", candidates for tuning; empty: no tuning.
    tuning_seeds: number of seeds per candidate.
    reference: the policy that the others are compared with, and whose number of
      parameters the encoders match.
    given: fields of the config that the command line has set.

  Raises:
    ConfigError: in one line, on an invalid argument.
  """
  if len(set(policies)) < len(policies):
    raise ConfigError(f"--policies names one twice: {','.join(policies)}.")
  for policy in (*policies, reference):
    policy_options(policy)
  _check_encoders(config, encoders)
  names = (*policies, *encoders)
  if not names:
    raise ConfigError("--policies and --encoders name nothing to run.")
  fields = [_values(text) for text in grid]
  settings = [
    tuple(zip([field for field, _ in fields], values, strict=True))
    for values in itertools.product(*(values for _, values in fields))
  ]
  cells = [Cell(name, s) for s in settings for name in names]
  for field, values in map(_values, ablate):
    cells += [
      Cell(name, (*setting, (field, value)))
      for setting in settings
      for value in values
      for name in names
    ]
  seen = set()
  for cell in cells:
    own = changed(config, dict(cell.setting))
    require_numbers(own)
    settle(own, (*given, *dict(cell.setting)))
    own = own.to_json()
    fields = [field for field, _ in cell.setting]
    if (cell.policy, own) in seen or len(set(fields)) < len(fields):
      raise ConfigError(
        f"--grid or --ablate gives a setting twice: {cell.setting_name}."
      )
    seen.add((cell.policy, own))
  if tuning_seeds < 1:
    raise ConfigError(f"--tuning_seeds must be at least 1, got {tuning_seeds}.")
  return Plan(
    cells=tuple(cells),
    seeds=_seeds(seeds),
    learning_rates=_rates(learning_rates),
    tuning_seeds=tuple(range(TUNING_SEED, TUNING_SEED + tuning_seeds)),
    reference=reference,
    mlp_ratios=_mlp_ratios(config, encoders, cells, reference),
  )


def _rates(text: str) -> tuple[float, ...]:
  """The learning rates of "a,b"."""
  rates = [_literal(part) for part in split(text)]
  for rate in rates:
    RANGES["train.learning_rate"].require("--learning_rates", rate)
  if len(set(rates)) < len(rates):
    raise ConfigError(f"--learning_rates names one twice: {text}.")
  return tuple(map(float, rates))


def _check_encoders(config: ConfigDict, encoders: Sequence[str]) -> None:
  for encoder in encoders:
    if encoder not in BASELINES:
      raise ConfigError(
        f"--encoders: {encoder!r} is unknown; known: {', '.join(BASELINES)}."
      )
  if len(set(encoders)) < len(encoders):
    raise ConfigError(f"--encoders names one twice: {','.join(encoders)}.")
  if encoders and config.model.encoder != "memory":
    raise ConfigError(
      "--encoders are compared with the memory: config.model.encoder must be"
      f" 'memory', got {config.model.encoder!r}."
    )


def _mlp_ratios(
  config: ConfigDict,
  encoders: Sequence[str],
  cells: Sequence[Cell],
  reference: str,
) -> dict[Cell, float]:
  """Ratios that match the parameters, in all settings and the plain one."""
  ratios: dict[Cell, float] = {}
  if not encoders:
    return ratios
  for setting in dict.fromkeys(((), *(cell.setting for cell in cells))):
    own = changed(config, dict(setting))
    settle(own, ())
    interface = task_spec(load_data(own))
    for encoder in encoders:
      ratios[Cell(encoder, setting)] = matching.matched_ratio(
        own, interface, encoder=encoder, policy=reference
      )
  return ratios


def _seeds(text: str) -> tuple[int, ...]:
  """The seeds of "5" (a number of seeds), "10-14" or "10,12-14"."""
  count = re.fullmatch(r"\s*(\d+)\s*", text, re.ASCII)
  spans = [(0, int(count[1]) - 1)] if count else map(_span, text.split(","))
  seeds: list[int] = []
  for first, last in spans:
    if not first <= last < TUNING_SEED:
      raise ConfigError(
        f"--seeds must be at least one seed below {TUNING_SEED}, got {text}."
      )
    seeds += range(first, last + 1)
  if len(set(seeds)) < len(seeds):
    raise ConfigError(f"--seeds names one twice: {text}.")
  return tuple(seeds)


def _span(text: str) -> tuple[int, int]:
  """The first and last seed of "12" or "10-14"."""
  found = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip(), re.ASCII)
  if not found:
    raise ConfigError(
      "--seeds must be a number, a range such as 10-14, or a list of these such"
      f" as 10,12-14; got {text!r}."
    )
  return int(found[1]), int(found[2] or found[1])


def _values(text: str) -> tuple[str, list[Any]]:
  """A field and its values from "config.field=a,b"."""
  field, equals, values = text.partition("=")
  field = field.strip().removeprefix("config.")
  if not equals or not field or not values:
    raise ConfigError(f"{text!r} must have the form config.FIELD=A,B,...")
  if field in OWN:
    raise ConfigError(f"config.{field} is set by {OWN[field]}.")
  found = [_literal(value) for value in split(values)]
  if not found:
    raise ConfigError(f"{text!r} has no values.")
  return field, found


def split(text: str) -> list[str]:
  """Splits at commas outside brackets."""
  parts, depth = [""], 0
  for c in text:
    depth += (c in "([{") - (c in ")]}")
    if c == "," and not depth:
      parts.append("")
    else:
      parts[-1] += c
  return [part.strip() for part in parts if part.strip()]


def _literal(text: str) -> Any:
  """A Python literal; anything else is a string."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
