"""Compares the speed and memory use of NeMA-LC with those of other encoders.

It measures training steps and inference at several lengths, the parts of a
training step and their share of the machine's peak, the effect of the memory's
settings, and the time to the first step. The samples of the models are
interleaved on one device.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from nema_lc_jax.benchmark import figures, machine, models, parts, tables
from nema_lc_jax.benchmark.first_step import compile_seconds
from nema_lc_jax.benchmark.models import Comparison, Limits
from nema_lc_jax.benchmark.tables import Results
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.models import ModelConfig
from nema_lc_jax.models.ranges import real, whole
from nema_lc_jax.runs import files
from nema_lc_jax.runs.command_line import FROM_FILE, Parser, run_command
from nema_lc_jax.training import provenance
from nema_lc_jax.training.checks import require_numbers
from nema_lc_jax.training.experiment import model_fields
from nema_lc_jax.training.task import TaskSpec

EXAMPLES = """\
  python -m nema_lc_jax.benchmark --quick
      a rough measurement in a few minutes
  python -m nema_lc_jax.benchmark --lengths=1024,4096 \\
      --models=memory,local --parts=lengths --out=mine
      training steps and inference of two models at two lengths
  python -m nema_lc_jax.benchmark --config.model.chunk_batch_size=0
      all chunks in parallel instead of one at a time
"""
CONFIG = "configs/benchmark_lc.py"
PARTS = ("compile", "ceilings", "match", "lengths", "breakdown", "settings")
# Defaults. A quick run mostly compiles, and the settings need most programs.
QUICK = {
  "lengths": "256,1024",
  "parts": ",".join(PARTS[:-1]),
  "rounds": 3,
  "seconds": 0.05,
  "matrix": 1024,
}
USUAL = {
  "lengths": "1024,4096,16384,65536",
  "parts": ",".join(PARTS),
  "rounds": 7,
  "seconds": 0.5,
  "matrix": 2048,
}
QUICK_LENGTH = 1024
# The two models of the headline ratio, and one with as many parameters.
HEADLINE = ("memory", "encoder", "local")
FILE, TABLE = "benchmark.json", "benchmark.md"
# Flags that are saved under an older name.
JSON_NAMES = {"models": "contestants"}
Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Arguments:
  """The command line, checked."""

  config: ConfigDict
  task: TaskSpec  # classifies one text
  lengths: tuple[int, ...]
  models: tuple[str, ...]
  parts: tuple[str, ...]
  rounds: int
  seconds: float
  matrix: int
  max_seconds: float
  memory_limit: float | None  # bytes
  quick: bool
  out: Path


def make_parser() -> Parser:
  """The flags."""
  parser = Parser(
    "nema_lc_jax.benchmark",
    __doc__,
    EXAMPLES,
    config=FROM_FILE,
    config_file=CONFIG,
  )
  add = parser.add_argument
  names = {"metavar": "A,B,..."}
  number = {"type": int, "metavar": "N"}
  add(
    "--quick", action="store_true", help="short texts, few rounds, no settings"
  )
  add("--lengths", **names, help="tokens of a text")
  add(
    "--models",
    "--contestants",
    dest="models",
    default="memory,local,full,recurrent,ssm",
    **names,
    help=f"models to compare, of {', '.join(models.NAMES)}",
  )
  add("--parts", **names, help=f"what to measure, of {', '.join(PARTS)}")
  add("--rounds", **number, help="samples of each model")
  add("--seconds", type=float, metavar="S", help="least duration of a sample")
  add(
    "--matrix",
    **number,
    help="rows of the matrices that measure the machine's peak",
  )
  add(
    "--max_seconds",
    type=float,
    default=60.0,
    metavar="S",
    help="steps that take longer are skipped; default: 60",
  )
  add(
    "--memory_limit",
    type=float,
    metavar="GIB",
    help="memory limit of a program; default: the device's memory, or 80%% of"
    " the free main memory",
  )
  add(
    "--vocab_size",
    type=int,
    default=257,
    help="number of token ids; default: 257",
  )
  add("--num_classes", type=int, default=2, help="classes; default: 2")
  add(
    "--out",
    default="benchmark",
    metavar="DIR",
    help="output folder; default: benchmark",
  )
  add("--force", action="store_true", help="overwrite existing results")
  return parser


def parse(argv: Sequence[str] | None) -> Arguments:
  """Reads the command line.

  Raises:
    ConfigError: in one line, on an invalid argument.
  """
  args = make_parser().parse(argv)
  config = args.config
  for field in args.given:
    if field.startswith("data.") and field != "data.length":
      raise ConfigError(
        f"config.{field} is given, but the benchmark reads random tokens: of"
        " config.data it has only the length."
      )
  for name, value in (QUICK if args.quick else USUAL).items():
    if getattr(args, name) is None:
      setattr(args, name, value)
  if args.quick:
    config.data.length = min(config.data.length, QUICK_LENGTH)
  for name in ("rounds", "matrix", "vocab_size", "num_classes"):
    whole(1).require(f"--{name}", getattr(args, name))
  for name in ("seconds", "max_seconds", "memory_limit"):
    value = getattr(args, name)
    if value is not None:
      real(0, above=True).require(f"--{name}", value)
  lengths = _lengths(args.lengths, config)
  out = Path(args.out)
  if (out / FILE).exists() and not args.force:
    raise ConfigError(
      f"{out} holds results: choose another --out, or overwrite them with"
      " --force."
    )
  task = TaskSpec("classify", args.vocab_size, args.num_classes)
  _check_model(config, task)
  return Arguments(
    config=config,
    task=task,
    lengths=lengths,
    models=_names("models", args.models, models.NAMES),
    parts=_names("parts", args.parts, PARTS),
    rounds=args.rounds,
    seconds=args.seconds,
    matrix=args.matrix,
    max_seconds=args.max_seconds,
    memory_limit=args.memory_limit and args.memory_limit * 2**30,
    quick=args.quick,
    out=out,
  )


def _names(flag: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
  names = tuple(dict.fromkeys(text.split(",")))
  for name in names:
    if name not in known:
      raise ConfigError(
        f"--{flag}: {name!r} is unknown; known: {', '.join(known)}."
      )
  return names


def _lengths(text: str, config: ConfigDict) -> tuple[int, ...]:
  chunk = config.model.chunk_length
  try:
    lengths = tuple(sorted({int(part) for part in text.split(",")}))
  except ValueError:
    raise ConfigError(
      f"--lengths must be whole numbers separated by commas, got {text!r}."
    ) from None
  for length in (*lengths, config.data.length):
    if length < 1 or chunk < 1 or length % chunk:
      raise ConfigError(
        f"length {length} is not covered by chunks: --lengths and"
        " config.data.length must be multiples of"
        f" config.model.chunk_length={chunk}."
      )
  return lengths


def _check_model(config: ConfigDict, task: TaskSpec) -> None:
  if config.model.encoder != "memory":
    raise ConfigError(
      f"config.model.encoder={config.model.encoder!r}: it must be"
      " 'memory'; choose other encoders with --models."
    )
  require_numbers(config)
  ModelConfig(**model_fields(config, task))


def run(args: Arguments, log: Log) -> Results:
  """Measures what was asked for."""
  config, results = args.config, Results()
  size = {"batch": config.train.batch_size, "length": config.data.length}
  if "compile" in args.parts:
    # First, while no other process holds the device.
    log("measuring the time to the first step in separate processes")
    results.compile_seconds = compile_seconds(config, args.task, **size)
    log(f"seconds to the first step: {results.compile_seconds}")
  limit = args.memory_limit or machine.memory_limit()
  limits = Limits(limit, args.max_seconds, args.rounds, args.seconds)
  log(f"memory limit of a program: {limit / 2**30:,.1f} GiB")
  timing = {"rounds": args.rounds, "seconds": args.seconds}
  if {"ceilings", "breakdown"} & set(args.parts):
    results.ceilings = machine.measure_ceilings(size=args.matrix, **timing)
    log(
      f"peak of the machine: {results.ceilings.flops / 1e9:,.1f} GFLOP/s,"
      f" {results.ceilings.bytes / 1e9:,.1f} GB/s"
    )
  if "match" in args.parts:
    both = dataclasses.replace(args.task, head="match")
    comparison = Comparison(config, both, HEADLINE, limits, log)
    results.cases += comparison.run(config.data.length)
    log("; ".join(tables.headline(results.cases)))
  if "lengths" in args.parts:
    comparison = Comparison(config, args.task, args.models, limits, log)
    for length in args.lengths:
      results.cases += comparison.run(length)
  if "breakdown" in args.parts:
    log("measuring the parts of the training step")
    results.breakdown = parts.breakdown(
      config, args.task, limits, results.ceilings
    )
  if "settings" in args.parts:
    around = parts.AROUND_QUICK if args.quick else parts.AROUND
    results.sensitivity = parts.sensitivity(
      config, args.task, limits, around=around, log=log
    )
  return results


def write(args: Arguments, results: Results) -> list[Path]:
  """Writes the results, the table and the figure; returns the files."""
  args.out.mkdir(parents=True, exist_ok=True)
  flags = {
    JSON_NAMES.get(field.name, field.name): getattr(args, field.name)
    for field in dataclasses.fields(args)
    if field.name not in ("config", "task", "out")
  }
  record = {
    "versions": provenance.versions(),
    "hardware": provenance.hardware(),
    "git_commit": provenance.git_commit(),
    "flags": flags,
    "interface": dataclasses.asdict(args.task),
    "config": json.loads(args.config.to_json()),
    # What a backend does not measure is NaN.
    "results": files.finite_or_none(results.to_json()),
  }
  (args.out / TABLE).write_text(
    tables.markdown(results, _about(args, record)), encoding="utf-8"
  )
  drawn = figures.draw(results.cases, args.out)
  # Last: this file marks the results as complete.
  files.write_json(args.out / FILE, record)
  return [args.out / FILE, args.out / TABLE, *drawn]


def _about(args: Arguments, record: dict) -> list[str]:
  """Lines that describe the setup."""
  c, hardware = args.config, record["hardware"]
  size = c.model.chunk_batch_size
  schedule = f"{size} of them at a time" if size else "all of them in parallel"
  names = ("jax", "jaxlib", "flax", "python")
  versions = ", ".join(f"{n} {record['versions'][n]}" for n in names)
  return [
    f"{hardware['device']} ({hardware['platform']}, {hardware['machine']}),"
    f" {os.cpu_count()} CPUs; {versions}; commit {record['git_commit']}",
    f"width {c.model.width}, {c.model.num_layers} +"
    f" {c.model.num_layers_after} layers, {c.model.num_heads} heads, chunks of"
    f" {c.model.chunk_length}, {schedule}, {c.model.dtype}, vocabulary"
    f" {args.task.vocab_size}, pool {c.model.pool!r}; policy"
    f" {c.memory.policy}, {c.memory.num_slots} slots, budget"
    f" {c.memory.budget}, {c.memory.num_candidates} candidates",
    f"batches of at most {c.train.batch_size} texts of random tokens;"
    f" {args.rounds} rounds",
  ]


def _main(argv: Sequence[str] | None) -> None:
  args = parse(argv)
  results = run(args, lambda line: print(line, flush=True))
  written = write(args, results)
  print((args.out / TABLE).read_text())
  print(f"wrote {', '.join(path.name for path in written)} to {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the benchmark, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
