"""A summary by hand, for tests that train nothing."""

import dataclasses
from typing import Any

from nema_lc_jax.runs.summary import Summary

SUMMARY = Summary(
  task="pytext",
  policy="learned",
  seed=0,
  test_accuracy=0.7,
  test_accuracy_interval=(0.68, 0.72),
  test_accuracy_memory_off=0.125,
  test_memory_gain_interval=(0.5, 0.6),
  test_examples=1000,
  test_metrics={"accuracy": 0.7, "examples": 1000},
  baselines={"chance": 0.5, "byte_histogram": 0.62},
  num_parameters=1_234_567,
  params_sha256="def",
  data_fingerprint="abc",
  steps=40,
  skipped_steps=0,
  versions={"jax": "0.10.2"},
  hardware={"devices": 1, "device": "cpu", "machine": "x86_64"},
  git_commit="abc",
  config={
    "data": {"length": 4000},
    "model": {
      "encoder": "memory",
      "candidate_weights": "sigmoid",
      "cosine": True,
      "ngram_sizes": [],
      "ngram_rows": 2**14,
      "read_gain": 1.0,
    },
    "train": {
      "learning_rate": 2e-3,
      "carry": 0.0,
      "buckets": [],
      "init_from": None,
    },
  },
  best_step=40,
  memory_warning=None,
  wall_seconds=60.0,
)


def a_summary(**changes: Any) -> Summary:
  """SUMMARY with other values."""
  return dataclasses.replace(SUMMARY, **changes)


def config_with(**sections: dict[str, Any]) -> dict[str, Any]:
  """The config of SUMMARY with fields of its sections added or changed."""
  return {k: v | sections.get(k, {}) for k, v in SUMMARY.config.items()}
