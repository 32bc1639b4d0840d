"""Continues a text with the best checkpoint of a run that predicts bytes.

The prompt may have any length, and the cost of a byte does not depend on it.
"""

import codecs
import sys
from collections.abc import Sequence

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.command_line import Parser, run_command

EXAMPLES = """\
  python -m nema_lc_jax.generate --workdir runs/lm-learned-seed0 \\
      --prompt "def main("
      500 bytes after the prompt
  python -m nema_lc_jax.generate --workdir RUN --temperature 0.7 --seed 1 < book
      a prompt of any length from standard input
"""


def make_parser() -> Parser:
  """The parser of the flags."""
  parser = Parser("nema_lc_jax.generate", __doc__, EXAMPLES)
  add = parser.add_argument
  add("--workdir", required=True, metavar="DIR", help="folder of the run")
  add("--prompt", metavar="TEXT", help="default: standard input")
  about = "bytes to generate; default: 500"
  add("--length", type=int, default=500, metavar="N", help=about)
  about = "0: always the most probable byte; default: 0.8"
  add("--temperature", type=float, metavar="X", help=about)
  about = (
    "draws from the fewest bytes whose probabilities add up to P, nucleus"
    " sampling; default: 1"
  )
  add("--top_p", type=float, default=1.0, metavar="P", help=about)
  about = "of the draws; default: 0"
  add("--seed", type=int, default=0, metavar="N", help=about)
  return parser


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  # Imported after parsing, so that --help and typos are instant.
  from nema_lc_jax.stream import Stream, sampling

  if args.temperature is None:
    args.temperature = sampling.TEMPERATURE
  sampling.require_options(args.length, args.temperature, args.top_p, args.seed)
  stream = Stream(args.workdir)
  if stream.kind != "bytes":
    raise ConfigError(
      f"{args.workdir}: its model reads {stream.kind}, not bytes."
    )
  if args.prompt is None:
    if sys.stdin.isatty():
      print("reading the prompt, until Ctrl-D", file=sys.stderr)
    stream.push(sys.stdin.buffer.read())
  else:
    stream.push(args.prompt.encode())
  pieces = stream.generate(
    args.length,
    temperature=args.temperature,
    top_p=args.top_p,
    seed=args.seed,
  )
  # A character may be in two pieces.
  decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
  if args.prompt is not None:
    print(args.prompt, end="")
  for piece in pieces:
    text = decoder.decode((piece - 1).astype("uint8").tobytes())
    print(text, end="", flush=True)
  print(decoder.decode(b"", final=True))


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the prompt and what follows it, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
