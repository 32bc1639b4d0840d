"""Trains policies, encoders, seeds and settings, and draws up the result.

python -m nema_lc_jax.sweep --config=FILE[:VARIANT] --policies=fifo,learned \
    --seeds=5 [--encoders=full,ssm] [--grid 'config.memory.budget=1,2,4'] \
    [--ablate ...] [--jobs=2]

A sweep is a folder: runs/ holds each run as main would leave it, logs/ what it
printed, sweep.json the config that they share. The same command resumes it,
runs what is missing, and makes the tables and figures anew.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from nema_lc_jax import plan, pool, report, tables, workdir
from nema_lc_jax.errors import ConfigError, RunError, one_line
from nema_lc_jax.experiment import load_data
from nema_lc_jax.models import BASELINES
from nema_lc_jax.plotting import sweep as figures
from nema_lc_jax.plotting.records import SUMMARY_FILE
from nema_lc_jax.saved_run import first_difference

EPILOG = """\
examples:
  python -m nema_lc_jax.sweep --config=configs/lifecycle_lc.py:rebind \\
      --policies=none,fifo,lru,learned --seeds=5 --jobs=2
      every policy on seeds 0 to 4, two runs at a time
  ... --encoders=local,full,recurrent,ssm
      beside them, models without slots, whose mlp_ratio is set so that they
      have as many parameters as the memory model, within 10%
  ... --learning_rates=5e-4,1e-3,2e-3
      first finds each policy's best rate by validation accuracy, on a seed
      that is not among those of the result; on several by --tuning_seeds=3
  ... --grid 'config.memory.num_slots=2,4,8' --grid 'config.memory.budget=1,2'
      every combination, for every policy
  ... --policies=learned --ablate 'config.loss.write=0' \\
      --ablate 'config.memory.controller.blind=age,usage'
      the config as it is, and with one change at a time
"""
SWEEP_FILE = "sweep.json"


class Arguments(NamedTuple):
  """The command line, checked."""

  config: ConfigDict
  plan: plan.Plan
  out: Path
  jobs: int


def make_parser() -> argparse.ArgumentParser:
  """The flags of a sweep; those of its config are parsed apart."""
  parser = argparse.ArgumentParser(
    prog="python -m nema_lc_jax.sweep",
    description="Trains several policies on several seeds and settings, and"
    " compares them. Any field of the config may be set for all of them, such"
    " as --config.train.steps=500.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    "--policies", default="fifo,lru,learned", help="names, or module:function"
  )
  add(
    "--encoders",
    default="",
    metavar="A,B,...",
    help=f"encoders without slots to compare with: {', '.join(BASELINES)}",
  )
  add(
    "--seeds",
    default="3",
    help="how many, from 0; or which ones, such as 10-14 or 10,12-14",
  )
  add(
    "--grid",
    action="append",
    default=[],
    metavar="FIELD=A,B,...",
    help="values of a field, in all combinations with other grids",
  )
  add(
    "--ablate",
    action="append",
    default=[],
    metavar="FIELD=A,B,...",
    help="the same, one change at a time",
  )
  add(
    "--learning_rates",
    default="",
    metavar="A,B,...",
    help="tune the learning rate of each policy and encoder among these",
  )
  add(
    "--tuning_seeds",
    type=int,
    default=1,
    help="runs of each that decide on the learning rate",
  )
  add("--reference", default="learned", help="what the others are compared to")
  add("--out", default=None, help="folder; by default sweeps/TASK")
  add("--jobs", type=int, default=1, help="runs at a time")  # fmt: skip
  return parser


def parse(argv: Sequence[str]) -> Arguments:
  """Reads the command line.

  Raises:
    ConfigError: in one line, on anything that cannot be.
  """
  parser = make_parser()
  args, rest = parser.parse_known_args(argv)
  config = load_config(parser.prog, rest)
  if args.jobs < 1:
    raise ConfigError(f"--jobs must be at least 1, got {args.jobs}.")
  wanted = plan.make_plan(
    config,
    policies=_names(args.policies),
    encoders=_names(args.encoders),
    seeds=args.seeds,
    grid=args.grid,
    ablate=args.ablate,
    learning_rates=args.learning_rates,
    tuning_seeds=args.tuning_seeds,
    reference=args.reference,
  )
  out = Path(args.out or f"sweeps/{workdir.task_name(config)}")
  return Arguments(config, wanted, out, args.jobs)


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(",")] if text else []


def load_config(
  program: str, rest: Sequence[str], *, default: str | None = None
) -> ConfigDict:
  """The config that the flags name and change.

  Args:
    program: for messages.
    rest: flags, without any but those of the config.
    default: the file, where --config does not name one.

  Raises:
    ConfigError: in one line, on anything that cannot be.
  """
  values = flags.FlagValues()
  given = any(arg.lstrip("-").split("=")[0] == "config" for arg in rest)
  if default is not None and not given:
    rest = [f"--config={default}", *rest]
  arguments = [program, *rest]
  holder = config_flags.DEFINE_config_file(
    "config", None, flag_values=values, sys_argv=arguments
  )
  try:
    left = values(arguments)[1:]
    config = holder.value
    if config is None:
      raise ConfigError("--config is required: --config=configs/toy_lc.py")
    _ = config.seed  # A file that failed to load says so only now.
  except (
    flags.Error, AttributeError, ImportError, KeyError, TypeError
  ) as error:  # fmt: skip
    raise ConfigError(one_line(error).removeprefix("error: ")) from None
  if left:
    raise ConfigError(f"unknown argument {left[0]!r}; see --help.")
  return config


def _claim(out: Path, config: ConfigDict) -> None:
  """Makes the folder of a sweep; refuses one of another config."""
  shared = json.loads(config.to_json())
  path = out / SWEEP_FILE
  if path.exists():
    found = json.loads(path.read_text())
    if found != shared:
      raise ConfigError(
        f"{out} holds a sweep of another config"
        f" ({first_difference(found, shared)}): choose another --out."
      )
  elif out.exists() and any(path.name != "runs" for path in out.iterdir()):
    raise ConfigError(f"{out} is not empty, and holds no sweep.")
  out.mkdir(parents=True, exist_ok=True)
  report.write_json(path, shared)


def _finished(run: plan.Run, out: Path) -> dict[str, Any] | None:
  """The summary of a run that is there; None where it has to be trained."""
  folder = out / run.folder
  path = folder / SUMMARY_FILE
  if not path.exists():
    return None
  summary = json.loads(path.read_text())
  wanted = json.loads(run.config.to_json())
  if summary["config"] != wanted:
    raise ConfigError(
      f"{folder} holds a run of another config"
      f" ({first_difference(summary['config'], wanted)}): choose another --out."
    )
  return summary


def _require_same_data(runs: Sequence[plan.Run], args: Arguments) -> None:
  """Raises ConfigError on data that have changed, before hours of training."""
  found = [(run, _finished(run, args.out)) for run in runs]
  done = [(run, summary) for run, summary in found if summary]
  tables.require_same_data(tables.cells_of(done))
  plain = [(run, s) for run, s in done if not tables.of_data(run.cell)]
  if plain and len(done) < len(runs):
    run, summary = plain[0]
    if load_data(args.config).fingerprint != summary["data_fingerprint"]:
      raise ConfigError(
        f"the data have changed since {args.out / run.folder} was trained:"
        " choose another --out."
      )


def _train(runs: Iterable[plan.Run], args: Arguments, title: str) -> list[str]:
  """Trains what is missing; returns what failed, a line each."""
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
  return pool.work(jobs, processes=args.jobs, out=args.out, title=title)


def _tune(args: Arguments) -> tuple[dict[str, float], list[str]]:
  """Each contestant's best learning rate, by mean validation accuracy."""
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
    found.append(summary["validation_accuracy"])
  best = {
    policy: max(rates, key=lambda rate: np.mean(rates[rate]))
    for policy, rates in scores.items()
  }
  return best, failed


def run(args: Arguments) -> list[str]:
  """The whole sweep; returns what failed, a line each."""
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
  rows = tables.make_rows(done, reference=args.plan.reference)
  written = tables.write(rows, done, args.out)
  written += figures.draw(done, args.out)
  print((args.out / tables.MARKDOWN_FILE).read_text())
  print(f"wrote {len(written)} files to {args.out}")
  return failed


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sweep; 2 is a user's mistake, 1 a sweep that is not complete."""
  logging.set_verbosity(logging.WARNING)
  try:
    args = parse(sys.argv[1:] if argv is None else argv)
    failed = run(args)
  except (ValueError, OSError, RunError) as error:
    print(one_line(error), file=sys.stderr)
    return 1 if isinstance(error, RunError) else 2
  for line in failed:
    print(f"failed: {line}", file=sys.stderr)
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
