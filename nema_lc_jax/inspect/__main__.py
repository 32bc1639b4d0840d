"""The command line of the inspector."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError, RunError, one_line
from nema_lc_jax.inspect.horizon import write_horizon
from nema_lc_jax.inspect.record import require_memory
from nema_lc_jax.inspect.run import inspect_example
from nema_lc_jax.runs.config_json import load_config, override
from nema_lc_jax.runs.files import INSPECT
from nema_lc_jax.training.restore import open_run

DESCRIPTION = """\
Shows what the memory of a trained model did with one example: a page on which
every slot at every step can be looked into, and a picture of it. Or, with
--horizon, how long items stay in the memory in texts many times as long as in
training.
"""
EXAMPLES = """\
examples:
  python -m nema_lc_jax.inspect --workdir runs/rebind --example 3
      writes runs/rebind/inspect/example_3.html and .png
  python -m nema_lc_jax.inspect --workdir runs/pytext --text my.py
      reads the bytes of a file, at most data.length of them
  python -m nema_lc_jax.inspect --workdir runs/rebind --horizon 64
      writes runs/rebind/inspect/horizon.png and .json

Any field of the run's config may be overridden as in training, such as
--config.data.length=4096.
"""


class _Parser(argparse.ArgumentParser):
  """Mistakes become errors like all others: one line, exit code 2."""

  def error(self, message):
    """Raises ConfigError."""
    raise ConfigError(f"{message}; see --help.")


def _make_parser() -> argparse.ArgumentParser:
  parser = _Parser(
    prog="python -m nema_lc_jax.inspect",
    description=DESCRIPTION,
    epilog=EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument("--workdir", required=True, help="folder of the run")
  parser.add_argument(
    "--split", default="validation", choices=("validation", "test")
  )
  parser.add_argument(
    "--example", type=int, default=0, metavar="I", help="number in the split"
  )
  parser.add_argument(
    "--text",
    nargs="+",
    metavar="FILE",
    help="read a file in place of the example, if the model reads bytes; a"
    " model that compares two texts takes a second file, or the second text of"
    " the example",
  )
  parser.add_argument(
    "--horizon",
    type=int,
    metavar="N",
    help="look at texts N times as long as in training",
  )
  parser.add_argument(
    "--examples", type=int, default=64, help="how many, for --horizon"
  )
  parser.add_argument(
    "--out", metavar="FILE", help="FILE.html, or with --horizon FILE.png"
  )
  return parser


def _parse(
  argv: Sequence[str] | None,
) -> tuple[argparse.Namespace, ConfigDict]:
  parser = _make_parser()
  args, rest = parser.parse_known_args(argv)
  if args.horizon is not None and args.text:
    raise ConfigError("--text and --horizon don't go together.")
  suffix = ".html" if args.horizon is None else ".png"
  if args.out and Path(args.out).suffix != suffix:
    raise ConfigError(f"--out {args.out} must end in {suffix}.")
  return args, override(load_config(args.workdir), [parser.prog, *rest])


def _write(args: argparse.Namespace, config: ConfigDict) -> list[Path]:
  folder = Path(args.workdir) / INSPECT
  require_memory(config)
  experiment, state = open_run(args.workdir, config)
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
    experiment, state.params, args.example, split=args.split, text=args.text
  )
  return found.save(args.out or folder / f"{name}.html")


def main(argv: Sequence[str] | None = None) -> int:
  """Writes the files, prints their paths, and returns the exit code."""
  try:
    written = _write(*_parse(argv))
  except (ValueError, OSError, RunError) as error:
    print(one_line(error), file=sys.stderr)
    return 2
  print("\n".join(map(str, written)))
  return 0


if __name__ == "__main__":
  sys.exit(main())
