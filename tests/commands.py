"""Command lines in prose: finds them, and has their own parsers read them."""

import ast
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import command_line, config_file
from nema_lc_jax.runs.config_json import require_field
from nema_lc_jax.sweep import plan

ROOT = Path(__file__).parents[1]
PAGES = sorted(
  [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("launch/*.md"),
  ]
)
# What follows python -m, and the module with the command's make_parser.
COMMANDS = {
  f"nema_lc_jax.{name}": f"nema_lc_jax.{name}{main}"
  for name, main in {
    "main": "",
    "evaluate": "",
    "by_task": "",
    "generate": "",
    "plotting": ".__main__",
    "sweep": ".__main__",
    "inspect": ".__main__",
    "stream": ".__main__",
    "stream.retention": "",
    "benchmark": ".__main__",
  }.items()
}
# Commands without flags.
BARE = ("nema_lc_jax.runs.config_help",)
# Flags of other programs that pages name.
FOREIGN = ("--policy",)
# Two plain words after a flag: a message that begins with it.
PROSE = re.compile(r"^--\w+ [a-z]+ [a-z]+\b")
# A value that stands for one of the reader's: RUN, DIR, $i, ${SEEDS}.
STANDS_FOR = re.compile(r"[A-Z][A-Z0-9_]*|\$.*|")


def parser_of(command: str) -> command_line.Parser:
  """The parser of what follows python -m."""
  return importlib.import_module(COMMANDS[command]).make_parser()


def any_config() -> ConfigDict:
  """A config with the data options of all tasks: that of some run or other."""
  with mock.patch.object(config_file, "FOLDER", ROOT / "configs"):
    files = config_file.config_files()
  merged = config_file.load_file(str(ROOT / "configs/default.py")).unlock()
  for path in files:
    module = config_file.load_module(path)
    for variant in config_file.variants(module):
      for name, value in module.get_config(variant).data.items():
        if name not in merged.data:
          merged.data[name] = value
  return merged


# Finding them.


def code_of(text: str) -> tuple[list[str], list[str]]:
  """The fenced blocks of shell, and the inline code, of a page."""
  fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.M)
  blocks = [m[2] for m in fence.finditer(text) if m[1] in ("", "sh", "bash")]
  spans = re.findall(r"`([^`]+)`", fence.sub("\n\n", text))
  return blocks, [" ".join(s.split()) for s in spans if "\n\n" not in s]


def words_of(line: str) -> Iterator[list[str]]:
  """The commands of a line of shell, in words, without redirections."""
  lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
  lexer.whitespace_split, lexer.commenters = True, "#"
  words: list[str] = []
  skip = False
  for word in lexer:
    if skip:
      skip = False
    elif set(word) <= set("<>"):
      skip = True
    elif set(word) <= set("();|&"):
      yield words
      words = []
    else:
      words.append(word)
  yield words


def commands_in(shell: str) -> Iterator[tuple[str, list[str]]]:
  """(module, arguments) of all of this package's commands in shell text."""
  for line in re.sub(r"\\\n\s*", " ", shell).splitlines():
    if "nema_lc_jax" not in line:
      continue
    for words in words_of(line):
      for before, module in itertools.pairwise(words):
        if before == "-m" and module.startswith("nema_lc_jax"):
          yield module, words[words.index(module) + 1 :]


def found_in(text: str) -> Iterator[tuple[str, list[str]]]:
  """All commands of a page; flags that stand alone have the module ""."""
  blocks, spans = code_of(text)
  for block in blocks:
    yield from commands_in(block)
  for span in spans:
    if "-m nema_lc_jax" in span:
      yield from commands_in(span)
    elif re.match(r"--[a-z]", span) and not PROSE.search(span):
      yield "", shlex.split(span)


def found_in_source(path: Path) -> Iterator[tuple[str, list[str]]]:
  """The commands of a module's docstring."""
  return commands_in(ast.get_docstring(ast.parse(path.read_text())) or "")


# Reading them.


def check(module: str, arguments: list[str], run: ConfigDict) -> None:
  """Raises ConfigError unless a command can be read as it stands.

  Args:
    module: what follows python -m; "": any that has these flags.
    arguments: in which RUN, $i or TASK stand for values of the reader's.
    run: the config of runs that the arguments speak of.
  """
  arguments = [_bare(a) for a in arguments]
  arguments = [a for a in arguments if a not in ("...", "…")]
  if not module:
    return _check_flags(arguments, run)
  if module in BARE:
    return None if not arguments else _refuse(f"{module} takes no flags")
  if module not in COMMANDS:
    return _refuse(f"there is no command {module}")
  # A name in a sentence, unless it has arguments.
  return _parse(module, arguments, run) if arguments else None


def _bare(argument: str) -> str:
  """Without the brackets of what may be left out."""
  argument = argument.removeprefix("[")
  more = argument.count("]") > argument.count("[")
  return argument.removesuffix("]") if more else argument


def _refuse(why: str) -> None:
  raise ConfigError(why)


def _check_flags(arguments: list[str], run: ConfigDict) -> None:
  """Flags in a sentence: some command must have them."""
  flag = arguments[0].partition("=")[0]
  if flag in FOREIGN:
    return None
  if arguments == [flag]:  # Named, without a value.
    if flag.startswith("--config."):
      require_field(run, _path(flag))
    elif not any(flag in _options(parser_of(name)) for name in COMMANDS):
      raise ConfigError(f"no command has {flag}")
    return None
  errors = []
  for module in COMMANDS:
    needed = [f"--{a.dest}=x" for a in parser_of(module)._actions if a.required]
    if flag != "--config" and "--config" in _options(parser_of(module)):
      needed.append("--config=configs/toy_lc.py")
    try:
      with mock.patch.object(command_line, "load_file", return_value=run):
        return _parse(module, [*needed, *arguments], run)
    except ConfigError as error:
      errors.append(f"{module}: {error}")
  raise ConfigError("; ".join(errors))


def _options(parser: command_line.Parser) -> dict:
  return parser._option_string_actions


def _path(flag: str) -> str:
  return flag.partition("=")[0].removeprefix("--config.")


def _stands_for(flag: str) -> bool:
  return bool(re.fullmatch(r"--config\.[A-Z]+(=.*)?", flag))


def _parse(module: str, arguments: list[str], run: ConfigDict) -> None:
  parser = parser_of(module)
  arguments = list(_filled(parser, arguments, run))
  with mock.patch.object(command_line, "read_config", return_value=run):
    try:
      args = parser.parse(arguments)
    except SystemExit:  # --help and --list
      return
  for text in (*getattr(args, "grid", ()), *getattr(args, "ablate", ())):
    field, values = plan._values(text)
    if STANDS_FOR.fullmatch(field):
      continue
    for value in values:
      plan.changed(args.config, {field: value})


def _filled(
  parser: command_line.Parser, arguments: list[str], run: ConfigDict
) -> Iterator[str]:
  """The arguments, with values where words stand for them."""
  action = None
  for argument in arguments:
    flag, equals, value = argument.partition("=")
    if flag.startswith("--config.") and (equals or _stands_for(flag)):
      if _stands_for(flag):
        continue
      if STANDS_FOR.fullmatch(value):
        require_field(run, _path(flag))
        continue
    if flag == "--config" and equals:
      yield f"--config={_some_variant(value)}"
      continue
    if not argument.startswith("--"):
      yield _some_value(action, argument)
      continue
    action = _options(parser).get(flag)
    yield f"{flag}={_some_value(action, value)}" if equals else argument


def _some_value(action, value: str) -> str:
  if action is None or not STANDS_FOR.fullmatch(value):
    return value
  if action.choices:
    return next(iter(action.choices))
  return value if action.type is None else "1"


def _some_variant(spec: str) -> str:
  """FILE:VARIANT, where VARIANT may be written as TASK or TASK_small."""
  file, colon, variant = spec.partition(":")
  if STANDS_FOR.fullmatch(file) or file.startswith("FILE"):
    return "configs/toy_lc.py"
  if Path(file).name == "own_lc.py":  # Its variant is a file of the user's.
    return file
  if not colon or not re.search(r"[A-Z]", variant):
    return spec
  known = config_file.variants(config_file.load_module(Path(file)))
  pattern = re.sub(r"[A-Z]+", ".+", variant)
  fitting = [name for name in known if re.fullmatch(pattern, name)]
  if not fitting:
    raise ConfigError(f"{file} has no variant like {variant}")
  return f"{file}:{fitting[0]}"
