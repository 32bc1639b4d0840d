"""Evaluating a model on every example of a split, with the memory on and off.

python -m nema_lc_jax.evaluate --workdir RUN [--split test] [--config.data...]
"""

import argparse
import json
import sys

from ml_collections import ConfigDict

from nema_lc_jax.errors import RunError, one_line
from nema_lc_jax.runs.config_json import load_config, override
from nema_lc_jax.training.evaluation import memory_verdict, on_and_off
from nema_lc_jax.training.restore import open_run


def _parse(argv: list[str]) -> tuple[argparse.Namespace, ConfigDict]:
  parser = argparse.ArgumentParser(
    prog="python -m nema_lc_jax.evaluate",
    description="Evaluates a run's best checkpoint on every example of a"
    " split, with the memory on and off.",
    epilog="Any field of the run's config may be overridden as in training,"
    " such as --config.data.length=4096, or the user's own file:"
    " --config.data.name=file --config.data.path=my.npz",
  )
  parser.add_argument("--workdir", required=True, help="folder of the run")
  splits = ("validation", "test")  # Training streams need not end.
  parser.add_argument("--split", default="test", choices=splits)
  args, rest = parser.parse_known_args(argv)
  config = override(load_config(args.workdir), [parser.prog, *rest])
  return args, config


def main(argv: list[str] | None = None) -> int:
  """Prints the result as JSON, and returns the exit code."""
  try:
    args, config = _parse(sys.argv[1:] if argv is None else argv)
    experiment, state = open_run(args.workdir, config)
    result = on_and_off(experiment, state.params, args.split)
  except (ValueError, OSError, RunError) as error:
    print(one_line(error), file=sys.stderr)
    return 2
  baselines = experiment.dataset.baselines(args.split, config.data.length)
  report = {
    "workdir": str(args.workdir),
    "split": args.split,
    "length": config.data.length,
    "step": int(state.step),
    **result,
    "baselines": baselines,
  }
  print(json.dumps(report, indent=2))
  if verdict := memory_verdict(experiment, result):
    print(f"warning: {verdict}", file=sys.stderr)
  return 0


if __name__ == "__main__":
  sys.exit(main())
