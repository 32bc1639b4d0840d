"""Shows the memory of a trained model on one example, slot by slot.

It writes an HTML page with every slot at every step, and a picture of it. With
--horizon, it writes how long items survive in the memory, in texts many times
as long as in training.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.inspect.horizon import write_horizon
from nema_lc_jax.inspect.record import require_memory
from nema_lc_jax.inspect.run import inspect_example
from nema_lc_jax.runs.command_line import FROM_RUN, Parser, run_command
from nema_lc_jax.runs.files import INSPECT
from nema_lc_jax.training.given import settle
from nema_lc_jax.training.restore import open_run

EXAMPLES = """\
  python -m nema_lc_jax.inspect --workdir runs/rebind --example 3
      writes runs/rebind/inspect/example_3.html and .png
  python -m nema_lc_jax.inspect --workdir runs/pytext --text my.py
      reads the beginning of a file, at most data.length bytes or words
  python -m nema_lc_jax.inspect --workdir runs/rebind --horizon 64
      writes runs/rebind/inspect/horizon.png and .json
"""


def make_parser() -> Parser:
  """The flags."""
  parser = Parser("nema_lc_jax.inspect", __doc__, EXAMPLES, config=FROM_RUN)
  parser.add_argument(
    "--split",
    default="validation",
    choices=("validation", "test"),
    help="default: validation",
  )
  parser.add_argument(
    "--example",
    type=int,
    default=0,
    metavar="I",
    help="index of the example in the split; default: 0",
  )
  parser.add_argument(
    "--text",
    nargs="+",
    metavar="FILE",
    help="text file instead of the example, for models of bytes or words; a"
    " model that matches two texts takes a second file, or the second text of"
    " the example",
  )
  parser.add_argument(
    "--question",
    metavar="TEXT",
    help="question about the text file, for a run on questions about documents",
  )
  parser.add_argument(
    "--horizon",
    type=int,
    metavar="N",
    help="measure survival in texts N times as long as in training",
  )
  parser.add_argument(
    "--examples",
    type=int,
    default=64,
    metavar="N",
    help="number of examples for --horizon; default: 64",
  )
  parser.add_argument(
    "--out",
    metavar="FILE",
    help="output file, .html, or .png with --horizon",
  )
  return parser


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  args = make_parser().parse(argv)
  if args.horizon is not None and args.text:
    raise ConfigError("--text and --horizon cannot be combined.")
  if args.horizon is not None and args.question is not None:
    raise ConfigError("--question and --horizon cannot be combined.")
  suffix = ".html" if args.horizon is None else ".png"
  if args.out and Path(args.out).suffix != suffix:
    raise ConfigError(f"--out {args.out} must end in {suffix}.")
  return args


def _write(args: argparse.Namespace) -> list[Path]:
  folder = Path(args.workdir) / INSPECT
  require_memory(args.config)
  settle(args.config, args.given)
  experiment, state = open_run(args.workdir, args.config)
  if args.horizon is not None:
    return write_horizon(
      experiment,
      state.params,
      args.out or folder / "horizon.png",
      times=args.horizon,
      examples=args.examples,
      split=args.split,
    )
  name = f"example_{args.example}"
  if args.split != "validation":
    name = f"{args.split}_{args.example}"
  if args.text:
    name = f"text_{Path(args.text[0]).stem}"
  found = inspect_example(
    experiment,
    state.params,
    args.example,
    split=args.split,
    text=args.text,
    question=args.question,
  )
  return found.save(args.out or folder / f"{name}.html")


def _main(argv: Sequence[str] | None) -> None:
  print("\n".join(map(str, _write(_parse(argv)))))


def main(argv: Sequence[str] | None = None) -> int:
  """Writes the files, prints their paths, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
