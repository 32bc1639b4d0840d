"""The summary of a finished run: summary.json."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import config_json
from nema_lc_jax.runs.files import SUMMARY_FILE, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
  """The description and the results of a finished run.

  Results are of the test split with the best parameters, unless a name says
  otherwise. Summaries of older runs may lack the fields with a default.
  """

  task: str
  policy: str  # for a run without slots, the name of its encoder
  seed: int
  test_accuracy: float
  test_accuracy_interval: tuple[float, float]  # 95%
  # None without slots, as is the interval of the gain by the memory.
  test_accuracy_memory_off: float | None
  test_memory_gain_interval: tuple[float, float] | None
  # Of a learned policy, on the first eval.examples: the same parameters under
  # fifo, and the model as in training; the intervals of what they lack.
  test_accuracy_under_fifo: float | None = None
  test_fifo_gain_interval: tuple[float, float] | None = None
  test_accuracy_relaxed: float | None = None
  test_relaxed_gain_interval: tuple[float, float] | None = None
  test_examples: int
  # By the task's number; None for data sets of one task.
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
  # By length multiplier, such as "4".
  test_accuracy_by_length: dict[str, float] = dataclasses.field(
    default_factory=dict
  )
  # None for tasks without ground truth.
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
  """Reads the summary of a finished run.

  Args:
    path: the run's folder, or the file itself.

  Raises:
    ConfigError: in one line, if the file is missing or damaged.
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
  for name in found:
    if name.endswith("_interval"):
      found[name] = found[name] and tuple(found[name])
  return Summary(**found | {"config": config_json.upgraded(found["config"])})
