"""Texts that are read in pieces get the answers of whole ones."""

import json

import pytest

from configs import lifecycle_lc
from nema_lc_jax import evaluate
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import lengths
from nema_lc_jax.training import evaluation, restore
from nema_lc_jax.training.experiment import make_experiment
from tests.helpers import small_config


def test_pieces_give_the_accuracy_of_whole_texts(haystack_run, monkeypatch):
  folder, experiment = haystack_run
  params = restore.restore_best(experiment, folder).params
  few = experiment.config.eval.examples
  # Several batches, and several pieces, the last of which is shorter.
  monkeypatch.setattr(lengths, "HOST", few // 3 * 4 * 192)
  monkeypatch.setattr(lengths, "DEVICE", few // 3 * 80)
  rows = lengths.by_length(experiment, params, "test", (1, 4), few)
  for row, times in zip(rows, (1, 4), strict=True):
    whole = evaluation.evaluate(
      experiment, params, "test", times=times, limit=few
    )
    assert row["accuracy"] == pytest.approx(whole.metrics["accuracy"])
    assert (row["times"], row["length"]) == (times, 192 * times)
    assert row["examples"] == few
    low, high = row["interval"]
    assert low <= row["accuracy"] <= high
    assert 4 / 8 < row["tokens"] / row["length"] < 1


def test_the_command_prints_a_row_for_each_length(haystack_run, capsys):
  folder, _ = haystack_run
  arguments = [f"--workdir={folder}", "--split=validation", "--examples=3"]
  assert evaluate.main([*arguments, "--times=1,2"]) == 0
  report = json.loads(capsys.readouterr().out)
  assert report["split"] == "validation"
  assert [row["times"] for row in report["by_length"]] == [1, 2]
  assert [row["examples"] for row in report["by_length"]] == [3, 3]


@pytest.mark.parametrize("times", ["0", "1,x", "", "1,,2", "-4"])
def test_a_wrong_length_is_an_error(times, capsys):
  assert evaluate.main(["--workdir=x", f"--times={times}"]) == 2
  assert "must be whole numbers, each at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["--times=1", "--examples=0"], "--examples=0 must be at least 1"),
    (["--examples=10"], "--examples=10 needs --times"),
  ],
)
def test_a_wrong_number_of_examples_is_an_error(
  arguments, words, haystack_run, capsys
):
  folder, _ = haystack_run
  assert evaluate.main([f"--workdir={folder}", *arguments]) == 2
  assert words in capsys.readouterr().err


def test_questions_within_a_text_are_refused():
  config = lifecycle_lc.get_config("pi_updates")
  config.model.update(width=8, num_heads=2)
  experiment = make_experiment(config)
  params = experiment.init().params
  with pytest.raises(ConfigError, match=r"one question.*'pi_updates' do not"):
    lengths.by_length(experiment, params, "test", (1,), 2)


def test_an_encoder_without_slots_is_refused():
  experiment = make_experiment(small_config())
  params = experiment.init().params
  with pytest.raises(ConfigError, match=r"--times: .*'local' does not stream"):
    lengths.by_length(experiment, params, "test", (1,), 2)
