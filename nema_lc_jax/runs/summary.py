"""The summary of a finished run, as summary.json has it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import config_json
from nema_lc_jax.runs.files import SUMMARY_FILE, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
  """What a finished run was, and what it reached.

  Of the test split, unless the name says otherwise, with the best parameters.
  Summaries of older runs lack the fields that have a default here.
  """

  task: str
  policy: str  # of a run without slots, the name of its encoder
  seed: int
  test_accuracy: float
  test_accuracy_interval: tuple[float, float]  # 95%
  # None without slots, as is the interval of what the memory adds.
  test_accuracy_memory_off: float | None
  test_memory_gain_interval: tuple[float, float] | None
  test_examples: int
  # By the task's number; None where examples name no task.
  test_error_by_task: dict[str, float] | None = None
  test_metrics: dict[str, float]
  baselines: dict[str, float]
  num_parameters: int
  params_sha256: str  # of the last parameters, not of the best
  data_fingerprint: str
  steps: int
  skipped_steps: int  # with gradients that were not finite
  versions: dict[str, str]
  hardware: dict[str, Any]
  git_commit: str | None
  config: dict[str, Any]
  best_step: int
  validation_accuracy: float | None = None  # at the best step
  # By how many times data.length the texts have, such as "4".
  test_accuracy_by_length: dict[str, float] = dataclasses.field(
    default_factory=dict
  )
  # None where the ground truth is not known.
  oracle_accuracy_by_length: dict[str, float] | None = None
  test_metrics_by_length: dict[str, dict[str, float]] = dataclasses.field(
    default_factory=dict
  )
  memory_warning: str | None
  peak_memory_bytes: int | None = None  # of a training step
  wall_seconds: float

  def to_json(self) -> dict[str, Any]:
    """The values of summary.json, in its order."""
    return dataclasses.asdict(self)

  def write(self, workdir: str | Path) -> None:
    """Writes summary.json into the folder of the run."""
    write_json(Path(workdir) / SUMMARY_FILE, self.to_json())


FIELDS = dataclasses.fields(Summary)


def read_summary(path: str | Path) -> Summary:
  """The summary of a finished run.

  Args:
    path: the run's folder, or the file itself.

  Raises:
    ConfigError: in one line, if there is none, or if it is damaged.
  """
  path = Path(path)
  if not path.is_file():
    path /= SUMMARY_FILE
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
  except OSError:
    raise ConfigError(
      f"{path.parent} is no finished run: it has no {path.name}."
    ) from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged: {error}.") from None
  if not isinstance(values, dict):
    raise ConfigError(f"{path} is damaged: it holds no summary.")
  found = {f.name: values[f.name] for f in FIELDS if f.name in values}
  for field in FIELDS:
    optional = {field.default, field.default_factory} != {dataclasses.MISSING}
    if field.name not in found and not optional:
      raise ConfigError(f"{path} lacks {field.name!r}.")
  for name in ("test_accuracy_interval", "test_memory_gain_interval"):
    found[name] = found[name] and tuple(found[name])
  return Summary(**found | {"config": config_json.upgraded(found["config"])})
