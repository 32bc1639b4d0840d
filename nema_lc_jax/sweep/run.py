"""A sweep: trains the missing runs, then writes tables and figures."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import files
from nema_lc_jax.runs.config_json import first_difference, upgraded
from nema_lc_jax.runs.files import SUMMARY_FILE
from nema_lc_jax.runs.lock import locked
from nema_lc_jax.runs.summary import Summary, read_summary
from nema_lc_jax.sweep import aggregate, figures, plan, pool, tables
from nema_lc_jax.training.experiment import load_data

SWEEP_FILE = "sweep.json"


class Arguments(NamedTuple):
  """The checked command line."""

  config: ConfigDict
  plan: plan.Plan
  out: Path
  jobs: int


def _claim(out: Path, config: ConfigDict) -> None:
  """Writes the shared config; raises ConfigError on other contents."""
  shared = json.loads(config.to_json())
  path = out / SWEEP_FILE
  if path.exists():
    found = upgraded(json.loads(path.read_text()))
    if found != shared:
      raise ConfigError(
        f"{out} holds a sweep of another config"
        f" ({first_difference(found, shared)}): choose another --out."
      )
  elif files.contents(out) - {"runs"}:
    raise ConfigError(f"{out} is not empty, and holds no sweep.")
  files.write_json(path, shared)


def _finished(run: plan.PlannedRun, out: Path) -> Summary | None:
  """The summary of a finished run; None if it has to be trained."""
  folder = out / run.folder
  if not (folder / SUMMARY_FILE).exists():
    return None
  summary = read_summary(folder)
  wanted = json.loads(run.config.to_json())
  if summary.config != wanted:
    raise ConfigError(
      f"{folder} holds a run of another config"
      f" ({first_difference(summary.config, wanted)}): choose another --out."
    )
  return summary


def _require_same_data(
  runs: Sequence[plan.PlannedRun], args: Arguments
) -> None:
  """Raises ConfigError, before training, if the data have changed."""
  found = [(run, _finished(run, args.out)) for run in runs]
  done = [(run, summary) for run, summary in found if summary]
  aggregate.require_same_data(aggregate.cells_of(done))
  plain = [(run, s) for run, s in done if not aggregate.of_data(run.cell)]
  if plain and len(done) < len(runs):
    run, summary = plain[0]
    if load_data(run.config).fingerprint != summary.data_fingerprint:
      raise ConfigError(
        f"the data have changed since {args.out / run.folder} was trained:"
        " choose another --out."
      )


def _train(
  runs: Iterable[plan.PlannedRun], args: Arguments, title: str
) -> list[str]:
  """Trains the missing runs; returns a line per failure."""
  missing = [run for run in runs if _finished(run, args.out) is None]
  jobs = [
    pool.Job(
      workdir=str(args.out / run.folder),
      config=run.config.to_json(),
      title=run.title,
      log=str(args.out / "logs" / f"{run.folder}.txt"),
    )
    for run in missing
  ]
  return pool.work(jobs, processes=args.jobs, title=title)


def _tune(args: Arguments) -> tuple[dict[str, float], list[str]]:
  """Learning rates by policy with the best mean validation accuracy.

  Of equal ones, which are common at an accuracy of 1, the config's own rate is
  chosen, or else the first.

  Also returns a line per failure.
  """
  runs = list(args.plan.tuning_runs(args.config))
  if not runs:
    return {}, []
  failed = _train(runs, args, "learning rates")
  results = [(run, _finished(run, args.out)) for run in runs]
  done = [(run, summary) for run, summary in results if summary]
  tables.write_tuning(args.out / "tuning.csv", done)
  scores: dict[str, dict[float, list[float]]] = {}
  for run, summary in done:
    rates = scores.setdefault(run.cell.policy, {})
    found = rates.setdefault(run.config.train.learning_rate, [])
    found.append(summary.validation_accuracy)
  own = args.config.train.learning_rate
  best = {
    policy: max(rates, key=lambda rate: (np.mean(rates[rate]), rate == own))
    for policy, rates in scores.items()
  }
  return best, failed


def run(args: Arguments) -> list[str]:
  """Runs the whole sweep; returns a line per failure.

  Raises:
    ConfigError: if the folder holds something else, or is in use.
  """
  with locked(args.out):
    return _run(args)


def _run(args: Arguments) -> list[str]:
  _claim(args.out, args.config)
  rates, failed = _tune(args)
  runs = list(args.plan.runs(args.config, rates))
  _require_same_data(runs, args)
  failed += _train(runs, args, "runs")
  done = [
    (run, summary) for run in runs if (summary := _finished(run, args.out))
  ]
  if not done:
    return failed
  rows = aggregate.make_rows(done, reference=args.plan.reference)
  written = tables.write(rows, done, args.out)
  written += figures.draw(done, args.out)
  print((args.out / tables.MARKDOWN_FILE).read_text())
  print(f"wrote {len(written)} files to {args.out}")
  return failed
