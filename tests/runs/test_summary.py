"""summary.json: what is written, read back, and read of older runs."""

import json
from pathlib import Path

import pytest

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.summary import read_summary
from tests.summaries import SUMMARY, a_summary

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# The order is that of the file, which no version has changed.
FIELDS = """
  task policy seed test_accuracy test_accuracy_interval
  test_accuracy_memory_off test_memory_gain_interval test_accuracy_under_fifo
  test_fifo_gain_interval test_accuracy_relaxed test_relaxed_gain_interval
  test_examples test_error_by_task test_metrics baselines num_parameters
  params_sha256 data_fingerprint steps skipped_steps versions hardware
  git_commit config best_step validation_accuracy test_accuracy_by_length
  oracle_accuracy_by_length test_metrics_by_length memory_warning
  peak_memory_bytes wall_seconds
"""


def saved():
  """Summaries of runs of all versions."""
  found = {}
  for path in sorted(RESULTS.rglob("*.json")):
    values = json.loads(path.read_text())
    if isinstance(values, dict) and "params_sha256" in values:
      found[path] = values
  return found


def test_what_is_written_is_read_back(tmp_path):
  summary = a_summary(test_error_by_task={"2": 0.25}, peak_memory_bytes=7)
  summary.write(tmp_path)
  assert read_summary(tmp_path) == summary
  assert read_summary(tmp_path / "summary.json") == summary
  values = json.loads((tmp_path / "summary.json").read_text())
  assert list(values) == FIELDS.split()
  assert values["test_accuracy_interval"] == [0.68, 0.72]


def test_summaries_of_older_runs_are_read_and_their_configs_are_todays():
  found, renamed = saved(), []
  for path, values in found.items():
    summary = read_summary(path)
    again = json.loads(json.dumps(summary.to_json()))
    if values.pop("config") != summary.config:
      renamed.append(path)
    assert not {"layers", "num_reads"} & set(summary.config["model"]), path
    assert {name: again[name] for name in values} == values, path
  assert len(renamed) > 40  # have old names of fields


def test_what_the_oldest_run_lacks_has_a_default():
  summary = read_summary(RESULTS / "toy-learned-seed0.json")
  assert summary.test_error_by_task is None
  assert summary.validation_accuracy is None
  assert summary.test_accuracy_by_length == {}


@pytest.mark.parametrize(
  ("text", "words"),
  [
    (None, "is no finished run: it has no summary.json."),
    ('{"task": "toy", "po', "summary.json is damaged: "),
    ("[]", "summary.json is damaged: it holds no summary."),
    ('{"task": "toy"}', "summary.json lacks 'policy'."),
  ],
)
def test_what_is_no_summary_is_one_line(tmp_path, text, words):
  if text is not None:
    (tmp_path / "summary.json").write_text(text)
  with pytest.raises(ConfigError) as caught:
    read_summary(tmp_path)
  assert str(caught.value).startswith(str(tmp_path))
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_summary_cannot_be_changed():
  with pytest.raises(AttributeError):
    SUMMARY.test_accuracy = 1.0
