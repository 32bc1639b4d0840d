"""Evaluates a run's best checkpoint on every example of a split.

The result, with the memory on and off, is printed as JSON.
"""

import sys
from collections.abc import Sequence

from nema_lc_jax.runs.command_line import FROM_RUN, Parser, run_command
from nema_lc_jax.runs.files import json_text
from nema_lc_jax.training.evaluation import memory_verdict, on_and_off
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.restore import open_run

EXAMPLES = """\
  python -m nema_lc_jax.evaluate --workdir=runs/rebind-learned-seed0 \\
      --split=validation
      validation in place of test
  python -m nema_lc_jax.evaluate --workdir=runs/rebind-learned-seed0 \\
      --config.data.length=4096
      texts longer than in training
  python -m nema_lc_jax.evaluate --workdir=RUN --config.data.name=file \\
      --config.data.path=my.npz
      your own file
"""


def make_parser() -> Parser:
  """The parser of the flags."""
  parser = Parser("nema_lc_jax.evaluate", __doc__, EXAMPLES, config=FROM_RUN)
  splits = ("validation", "test")  # Training data may be endless.
  parser.add_argument(
    "--split", default="test", choices=splits, help="default: test"
  )
  return parser


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  config = args.config
  settle(config, args.given)
  experiment, state = open_run(args.workdir, config)
  result = on_and_off(
    experiment, state.params, args.split, at_step=int(state.step)
  )
  baselines = experiment.dataset.baselines(args.split, config.data.length)
  report = {
    "workdir": str(args.workdir),
    "split": args.split,
    "length": config.data.length,
    "step": int(state.step),
    **result,
    "baselines": baselines,
  }
  print(json_text(report))
  if verdict := memory_verdict(experiment, result):
    print(f"warning: {verdict}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the result as JSON, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
