"""Reads standard input as one text of any length, and prints answers.

The model is the best checkpoint of a run. Its memory does not grow with the
text. At the end, tokens per second and the memory of the process are printed to
standard error.
"""

import argparse
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.command_line import Parser, run_command
from nema_lc_jax.runs.files import json_text

if TYPE_CHECKING:
  from nema_lc_jax.stream.run import Stream, Tokens

EXAMPLES = """\
  python -m nema_lc_jax.stream --workdir runs/imdb < review.txt
      one answer, after the whole text
  tail -f log | python -m nema_lc_jax.stream --workdir RUN --every 4096
      an answer after every 4,096 tokens
  python -m nema_lc_jax.stream --workdir RUN --query "Who ran?" < story.txt
      the answer to a question, from a run on questions about documents
  python -m nema_lc_jax.stream --workdir RUN --query "where is anna" \\
      --receipt text < story.txt
      the answer, and the sentences that it was read from
  python -m nema_lc_jax.stream --workdir RUN --save state < part1
  python -m nema_lc_jax.stream --workdir RUN --load state < part2
      the same answer as for both parts in one text
  python -m nema_lc_jax.stream --workdir RUN --export folder
      StableHLO programs for serving, which need only jax
"""
HISTORY = 8  # chunks of an item in a receipt
READ = 1 << 16  # bytes at a time
SPACE, SENTENCE_END = re.compile(rb"\s"), re.compile(rb"[.!?:;]\s|\n\s*\n")


def make_parser() -> Parser:
  """The flags."""
  parser = Parser("nema_lc_jax.stream", __doc__, EXAMPLES)
  add = parser.add_argument
  add("--workdir", required=True, metavar="DIR", help="folder of the run")
  add(
    "--tokens",
    choices=("bytes", "words", "ids"),
    help="input format: bytes, text, or ids separated by white space; default:"
    " what the model reads, bytes or words, else ids",
  )
  add(
    "--every",
    type=int,
    metavar="N",
    help="answer after every N tokens, padding of sentences included",
  )
  add(
    "--query",
    help="tokens (bytes, words or ids) that are read after the text for each"
    " answer; the question, for a run on questions",
  )
  add(
    "--slots", type=int, metavar="M", help="number of slots; default: the run's"
  )
  add(
    "--receipt",
    choices=("text", "json"),
    help="with each answer, the slots that it was read from, what was written"
    " into them, and the answer without them",
  )
  add("--load", metavar="FILE", help="continue from a saved state")
  add("--save", metavar="FILE", help="save the state at the end")
  add(
    "--export", metavar="FOLDER", help="write programs, and do not read input"
  )
  return parser


def _numbers(text: bytes) -> np.ndarray:
  try:
    return np.array([int(word) for word in text.split()], np.int64)
  except ValueError as error:
    raise ConfigError(f"ids must be whole numbers: {error}.") from None


def read_tokens(file: BinaryIO, kind: str) -> Iterator["Tokens"]:
  """The contents of a file in pieces, as soon as they are available.

  Args:
    file: opened in binary mode.
    kind: "bytes", "words", of which a piece has whole sentences, or "ids".
  """
  rest, parse, end = b"", _numbers, SPACE
  if kind == "words":
    end = SENTENCE_END
    parse = lambda piece: piece.decode("utf-8", errors="replace")
  # read1 returns available bytes, and does not wait for a full block.
  while piece := file.read1(READ):
    if kind == "bytes":
      yield piece
      continue
    piece = rest + piece
    # The last sentence, or number, may continue in the next piece.
    ends = [match.end() for match in end.finditer(piece)]
    cut = ends[-1] if ends else 0
    piece, rest = piece[:cut], piece[cut:]
    if piece.strip():
      yield parse(piece)
  if rest.strip():
    yield parse(rest)


def _line(
  count: int, stream: "Stream", query: "Tokens | None", form: str | None
) -> str:
  if form:
    receipt = stream.ask(query)
    if form == "json":
      line = {"tokens": int(count)} | receipt.to_dict()
      return json_text(line, indent=None)
    return f"{count} tokens\tanswer {receipt}"
  probabilities = stream.answer(query)
  best = int(probabilities.argmax())
  return (
    f"{count} tokens\tanswer {stream.name(best)}"
    f"\tprobability {probabilities[best]:.4f}"
  )


def _check_export(args: argparse.Namespace, stream: "Stream") -> None:
  """Raises ConfigError if programs would not do what was asked for."""
  for name in ("query", "every", "load", "save", "receipt"):
    if getattr(args, name) is not None:
      raise ConfigError(f"--{name} and --export cannot be combined.")
  if stream.task.asks:
    raise ConfigError(
      "--export is not possible for a run on questions about documents: its"
      " programs answer without a question."
    )


def _query(
  args: argparse.Namespace, stream: "Stream", kind: str
) -> "Tokens | None":
  """The query in the form of the input, whose flags are checked."""
  sentence = stream.task.sentence_length
  if kind == "words" and sentence and (args.every or 0) % sentence:
    raise ConfigError(
      f"--every must be a multiple of {sentence}, the tokens of a sentence, got"
      f" {args.every}."
    )
  if args.query is None and stream.task.asks:
    raise ConfigError(
      "the run answers questions about documents: give one by --query."
    )
  if args.query is None or kind == "words":
    return args.query
  query = args.query.encode()
  return query if kind == "bytes" else _numbers(query)


def _run(args: argparse.Namespace) -> None:
  from nema_lc_jax.stream.export import export
  from nema_lc_jax.stream.run import Stream

  if args.every is not None and args.every < 1:
    raise ConfigError(f"--every must be at least 1 token, got {args.every}.")
  if args.slots is not None and args.slots < 1:
    raise ConfigError(f"--slots must be at least 1, got {args.slots}.")
  history = HISTORY if args.receipt else 0
  stream = Stream(args.workdir, num_slots=args.slots, history=history)
  if args.export:
    _check_export(args, stream)
    written = export(
      stream.functions,
      stream.params,
      args.export,
      block=stream.block,
      num_slots=args.slots,
    )
    print("\n".join(map(str, written)))
    return
  kind = args.tokens or stream.kind
  query = _query(args, stream, kind)
  if args.load:
    stream.load(args.load)
  stream.compile(query)
  place, count, began = 0, 0, time.monotonic()
  for piece in read_tokens(sys.stdin.buffer, kind):
    ids = stream.ids(piece)
    while len(ids):
      room = len(ids) if not args.every else args.every - place % args.every
      now, ids = ids[:room], ids[room:]
      stream.push(now)
      place += len(now)
      # The padding of sentences is no token.
      count += np.count_nonzero(now) if kind == "words" else len(now)
      if args.every and place % args.every == 0:
        print(_line(count, stream, query, args.receipt), flush=True)
  if not args.every or place % args.every:
    print(_line(count, stream, query, args.receipt), flush=True)
  if args.save:
    stream.save(args.save)
  seconds = time.monotonic() - began
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  memory = stream.state.memory
  live = int(memory.alive.sum())
  print(
    f"{count:,} tokens in {seconds:.1f} s, {count / seconds:,.0f} tokens/s;"
    f" {live} of {memory.strength.size} slots alive; peak memory of the process"
    f" {peak:,.0f} MB",
    file=sys.stderr,
  )


def main(argv: Sequence[str] | None = None) -> int:
  """Reads the input, prints answers, and returns the exit code."""
  return run_command(lambda: _run(make_parser().parse(argv)))


if __name__ == "__main__":
  sys.exit(main())
