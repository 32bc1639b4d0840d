"""Speeds and the time left, by a clock that is turned by hand."""

import re
from types import SimpleNamespace

import pytest

from nema_lc_jax.runs.metrics_log import read_metrics
from nema_lc_jax.training import loop, progress
from nema_lc_jax.training.experiment import Experiment
from tests.helpers import run, small_config

COMPILING, STEP, VALIDATION = 1000.0, 2.0, 6.0


@pytest.fixture
def clock(monkeypatch):
  """Steps and validations take these times, and longer where they compile."""
  now, compiled = [0.0], set()

  def spend(seconds, program):
    now[0] += seconds if program in compiled else COMPILING
    compiled.add(program)

  real_step, real_evaluate = Experiment.train_step, loop.evaluate

  def train_step(self, stage):
    update = real_step(self, stage)

    def timed(*args):
      spend(STEP, stage)
      return update(*args)

    timed.lower = update.lower
    return timed

  def evaluate(*args, **options):
    spend(VALIDATION, "validation")
    return real_evaluate(*args, **options)

  monkeypatch.setattr(Experiment, "train_step", train_step)
  monkeypatch.setattr(loop, "evaluate", evaluate)
  for module in (loop, progress):
    by_hand = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(module, "time", by_hand)
  return now


def speeds(workdir):
  """Of the training lines; None where there is none."""
  return {
    row["step"]: row.get("examples_per_second")
    for row in read_metrics(workdir)
    if row["split"] == "train"
  }


def time_left(printed):
  """The time left by step; "" where none is shown."""
  lines = [line for line in printed.splitlines() if " · " in line]
  found = [re.match(r"step (\d+)/.*?(?: · (\S+) left)?$", x) for x in lines]
  return {int(match[1]): match[2] or "" for match in found}


def test_speed_and_time_left_leave_compiling_out(clock, tmp_path, capsys):
  # Lines at 2, 3, 4, 6, 8; validation at 3, 6, 8; another stage from step 4 on.
  run(small_config(), tmp_path)
  fast = 8 / STEP
  assert speeds(tmp_path) == {2: fast, 3: fast, 4: None, 6: fast, 8: fast}
  found = time_left(capsys.readouterr().err)
  assert found == {2: "12s", 3: "10s", 4: "", 6: "4s", 8: "0s"}


def test_of_a_compiled_step_alone_there_is_no_speed(clock, tmp_path):
  config = small_config()
  config.train.update(log_every=1, steps=3, curriculum=())
  run(config, tmp_path)
  assert speeds(tmp_path) == {1: None, 2: 8 / STEP, 3: 8 / STEP}


def test_validation_counts_for_the_time_left_and_not_for_the_speed(
  clock, tmp_path, capsys
):
  config = small_config()
  config.train.update(steps=32, curriculum=(), log_every=4, eval_every=4)
  run(config, tmp_path)
  assert set(speeds(tmp_path).values()) == {8 / STEP}
  # From step 4 on, whose validation compiled: 8 steps and a validation in 22 s.
  assert time_left(capsys.readouterr().err)[12] == "55s"
