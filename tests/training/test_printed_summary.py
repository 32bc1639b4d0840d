from pathlib import Path

from nema_lc_jax.training.summary import print_summary
from tests.summaries import a_summary, config_with


def test_a_run_says_how_it_does_at_all_lengths_and_without_its_decisions(
  capsys,
):
  summary = a_summary(
    test_accuracy_by_length={"1": 0.7, "4": 0.6, "16": 0.5},
    oracle_accuracy_by_length={"1": 1.0, "4": 0.9},
    test_accuracy_under_fifo=0.4,
    test_accuracy_relaxed=0.8,
    config=config_with() | {"eval": {"examples": 256}},
    memory_warning="COLLAPSED MEMORY: by hand",
  )
  print_summary(summary, Path("here"))
  assert capsys.readouterr().out.splitlines() == [
    "test accuracy 0.7000, 95% interval [0.6800, 0.7200], 1,000 examples, best"
    " checkpoint of step 40",
    "  at 4 times the length: 0.6000, oracle 0.9000",
    "  at 16 times the length: 0.5000",
    "  memory off: 0.1250",
    "  the same parameters under fifo, first 256: 0.4000",
    "  as in training, first 256: 0.8000",
    "  chance: 0.5000",
    "  byte_histogram: 0.6200",
    "60 s; summary, metrics and plots in here",
    "WARNING: COLLAPSED MEMORY: by hand",
  ]
