import dataclasses
import json

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import retention
from nema_lc_jax.training import evaluation


def test_one_document_is_an_evaluation(opened):
  experiment, params = opened
  found = retention.measure(
    experiment, params, documents=1, streams=40, oldest=2
  )
  right = evaluation.evaluate(experiment, params, "test").correct
  assert found["questions_by_age"] == [40, 0, 0]
  assert found["accuracy_by_age"][0] == pytest.approx(right.mean())
  assert found["accuracy_by_age"][1:] == [None, None]
  assert found["accuracy_by_document"] == [pytest.approx(right.mean())]


def test_what_is_said_anew_is_not_asked(opened):
  experiment, params = opened
  found = retention.measure(
    experiment, params, documents=8, streams=5, oldest=3
  )
  examples = experiment.dataset.evaluation("test", 80)
  rows = [examples[i] for i in range(40)]
  wanted = np.zeros(4, int)
  for stream in range(5):
    own = rows[8 * stream : 8 * stream + 8]
    facts = [
      set(row["inputs"][:-8][row["ground_truth"][:-8] > 0]) for row in own
    ]
    for n in range(8):
      for k in range(min(n, 3) + 1):
        key = own[n - k]["inputs"][-1]
        wanted[k] += not any(key in said for said in facts[n - k + 1 : n + 1])
  assert found["questions_by_age"] == wanted.tolist()
  assert 0 < wanted[3] < 25


@pytest.mark.parametrize("sizes", [(9, 9, 1), (0, 4, 1), (4, 4, -1)])
def test_sizes_that_cannot_be_are_named(opened, sizes):
  documents, streams, oldest = sizes
  with pytest.raises(ConfigError, match="from 40 examples"):
    retention.measure(
      *opened, documents=documents, streams=streams, oldest=oldest
    )


def test_a_task_without_questions_is_refused(opened):
  experiment, params = opened
  other = dataclasses.replace(
    experiment, dataset=data.load("toy", length=80, num_eval=4, num_test=4)
  )
  with pytest.raises(ConfigError, match="'toy' has none"):
    retention.measure(other, params, documents=1, streams=1, oldest=1)


def test_the_command_writes_a_figure_and_the_numbers(workdir, tmp_path, capsys):
  out = tmp_path / "out"
  # As above, so that programs are there.
  sizes = ["--documents", "8", "--streams", "5", "--oldest", "2"]
  argv = ["--workdir", str(workdir), "--out", str(out), *sizes]
  assert retention.main(argv) == 0
  assert {p.name for p in out.iterdir()} == {
    "retention.png", "retention.pdf", "retention.json"
  }  # fmt: skip
  found = json.loads((out / "retention.json").read_text())
  assert len(found["accuracy_by_age"]) == 3
  assert retention.main([*argv, "--documents", "999"]) == 2
  assert capsys.readouterr().err.startswith("error: 999 documents")
