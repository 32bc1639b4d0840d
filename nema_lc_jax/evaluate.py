"""Evaluates a run's best checkpoint on every example of a split.

The result is printed as JSON: with the memory on and off, and for a learned
policy also under fifo and as in training.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from nema_lc_jax.data import ALL, SPLITS, Dataset
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.command_line import FROM_RUN, Parser, run_command
from nema_lc_jax.runs.files import json_text
from nema_lc_jax.runs.folder import other_data
from nema_lc_jax.stream import lengths
from nema_lc_jax.stream.receipt_quality import receipt_quality
from nema_lc_jax.training.by_position import by_position
from nema_lc_jax.training.evaluation import compare, memory_verdict
from nema_lc_jax.training.experiment import Experiment
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.restore import open_run, trained_examples

EXAMPLES = """\
  python -m nema_lc_jax.evaluate --workdir=runs/rebind-learned-seed0 \\
      --split=validation
      validation in place of test
  python -m nema_lc_jax.evaluate --workdir=runs/rebind-learned-seed0 \\
      --config.data.length=4096
      texts longer than in training
  python -m nema_lc_jax.evaluate --workdir=runs/haystack-learned-seed0 \\
      --times=1,64,4096 --examples=100
      several lengths, also far longer ones than fit in memory at once
  python -m nema_lc_jax.evaluate --workdir=runs/lm-learned-seed0 --positions \\
      --config.data.length=16384
      a language model's bits per byte by position, and of copied words
  python -m nema_lc_jax.evaluate --workdir=runs/haystack-learned-seed0 \\
      --receipts --examples=1000
      how often a receipt names the facts that its answer comes from
  python -m nema_lc_jax.evaluate --workdir=RUN --config.data.path=other.tsv
      all rows of another file, for a run on a file
"""


# Flags that ask for something else than the accuracy of a whole split.
PARTS = ("times", "positions", "receipts")
MOST_EXAMPLES = 2**24
AT_EACH_LENGTH = 100


def make_parser() -> Parser:
  """The parser of the flags."""
  parser = Parser("nema_lc_jax.evaluate", __doc__, EXAMPLES, config=FROM_RUN)
  parser.add_argument(
    "--split",
    choices=(*SPLITS, ALL),
    help="default: all of a single file that is not the run's own, else test",
  )
  parser.add_argument(
    "--times",
    type=_counts,
    metavar="A,B,...",
    help="only the accuracy at these multiples of data.length; texts are read"
    " in pieces, as a stream",
  )
  parser.add_argument(
    "--positions",
    action="store_true",
    help="only the bits per byte by position in the text, and of words that"
    " occurred more than a chunk ago; for language models of bytes",
  )
  parser.add_argument(
    "--receipts",
    action="store_true",
    help="only how often the receipt of an answer names its facts, for texts"
    " that end with their one question",
  )
  parser.add_argument(
    "--examples",
    type=int,
    metavar="N",
    help="with --times (at each length) and --receipts: examples; default:"
    f" {AT_EACH_LENGTH}",
  )
  return parser


def _counts(text: str) -> tuple[int, ...]:
  """The whole numbers, each at least 1, of a list with commas."""
  try:
    found = tuple(int(part) for part in text.split(","))
  except ValueError:
    found = (0,)
  if min(found) < 1:
    raise argparse.ArgumentTypeError(
      f"{text!r} must be whole numbers, each at least 1, such as 1,16,256"
    )
  return found


def default_split(dataset: Dataset, *, own: bool) -> str:
  """The split that is evaluated if none is named.

  Of another file than the run's own, the model has seen no part.
  """
  return "test" if own or ALL not in dataset.num_examples else ALL


def require_finite_split(dataset: Dataset, split: str) -> None:
  """Raises ConfigError if the examples of a split cannot all be evaluated."""
  size = dataset.num_examples.get(split, 0)
  if split == "train" and size > MOST_EXAMPLES:
    raise ConfigError(
      f"--split=train cannot be evaluated: {dataset.name} draws its training"
      f" examples anew ({size:,} of them)."
    )


def _partly(
  args: argparse.Namespace, experiment: Experiment, params: Params, split: str
) -> dict[str, Any]:
  """What --times, --positions or --receipts asks for."""
  if args.positions:
    return by_position(experiment, params, split)
  count = args.examples or AT_EACH_LENGTH
  if args.receipts:
    return receipt_quality(experiment, params, split, count)
  rows = lengths.by_length(experiment, params, split, args.times, count)
  return {"by_length": rows}


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  parts = [f"--{p}" for p in PARTS if getattr(args, p)]
  if len(parts) > 1:
    raise ConfigError(f"{' and '.join(parts)} are evaluations: name one.")
  if args.examples is not None and not (args.times or args.receipts):
    raise ConfigError(
      f"--examples={args.examples} needs --times or --receipts."
    )
  if args.examples is not None and args.examples < 1:
    raise ConfigError(f"--examples={args.examples} must be at least 1.")
  config = args.config
  settle(config, args.given)
  experiment, state = open_run(args.workdir, config)
  own = other_data(args.workdir, experiment.dataset.fingerprint) is None
  split = args.split or default_split(experiment.dataset, own=own)
  require_finite_split(experiment.dataset, split)
  if parts:
    report = {"workdir": str(args.workdir), "split": split}
    report |= _partly(args, experiment, state.params, split)
    print(json_text(report))
    return
  # The splits of the run's own data were told apart when they were made.
  trained = None
  if not (own and split in ("validation", "test")):
    trained = trained_examples(args.workdir, experiment, split)
  result = compare(experiment, state.params, split, at_step=int(state.step))
  report = {
    "workdir": str(args.workdir),
    "split": split,
    "examples": result["metrics"]["examples"],
    "trained_examples": trained,
    "length": config.data.length,
    "step": int(state.step),
    **result,
    "baselines": experiment.baselines(split),
  }
  print(json_text(report))
  if trained:
    print(
      f"warning: the run was trained on {trained} of these"
      f" {report['examples']} examples",
      file=sys.stderr,
    )
  if verdict := memory_verdict(experiment, result):
    print(f"warning: {verdict}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the result as JSON, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
