"""What all commands share: flags, config overrides, errors, exit codes."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence

from absl import logging
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError, RunError, StoppedError, one_line
from nema_lc_jax.runs import config_help, process
from nema_lc_jax.runs.config_file import load_file
from nema_lc_jax.runs.config_json import (
  field_names,
  override,
  read_config,
)

# The (path, value) of each given field of a config.
Fields = list[tuple[str, str | None]]

# Where a command's config comes from: the file named by --config, or the run in
# the folder named by --workdir. --config.FIELD=VALUE changes either.
FROM_FILE, FROM_RUN = "file", "run"


def run_command(
  command: Callable[[], int | None], *, label: Callable[[], str] = str
) -> int:
  """Runs a command, and returns its exit code.

  0: success, also if a signal stopped a run after it saved; 1: a run had to
  stop, or lacked memory; 2: a user's mistake; 130: Ctrl-C. Errors are one line
  on standard error.

  Args:
    command: returns its own exit code; None means 0.
    label: returns the prefix of that line.
  """
  logging.set_verbosity(logging.WARNING)
  try:
    return command() or 0
  except StoppedError as stop:
    print(f"{label()}{stop}", file=sys.stderr)
    return 0
  except (ValueError, OSError, RunError) as error:
    print(label() + one_line(error), file=sys.stderr)
    return 1 if isinstance(error, RunError) else 2
  except RuntimeError as error:  # As JAX raises it, which is not imported here.
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    print(label() + one_line(str(error).splitlines()[0]), file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    return process.interrupted()


class Parser(argparse.ArgumentParser):
  """The flags of one command; a mistake in them is a ConfigError."""

  def __init__(
    self,
    module: str,
    purpose: str,
    examples: str,
    *,
    config: str | None = None,
    config_file: str | None = None,
  ):
    """Makes a parser with the flags of its kind of config.

    Args:
      module: what follows `python -m`.
      purpose: what the command does; the first line is a full sentence.
      examples: command lines, each with an indented line that explains it.
      config: FROM_FILE or FROM_RUN, if the command has a config.
      config_file: the default of --config.
    """
    super().__init__(
      prog=f"python -m {module}",
      description=purpose,
      epilog=f"examples:\n{examples}",
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    self._config, self._file = config, config_file
    if config == FROM_FILE:
      default = f"; by default {config_file}" if config_file else ""
      self.add_argument(
        "--config",
        metavar="FILE[:VARIANT]",
        default=config_file,
        help=f"config file and variant{default}",
      )
      self.add_argument(
        "--list",
        action="store_true",
        help="print all config files and variants, and exit",
      )
    elif config == FROM_RUN:
      self.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of the run"
      )

  def error(self, message: str):
    """Raises ConfigError."""
    raise ConfigError(f"{message}; see --help.")

  def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the flags; `config` among them is a ConfigDict.

    `given` among them has the names of the config's fields that were given.

    --help and --list print, and end the process.

    Raises:
      ConfigError: in one line, on an invalid command line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(argv):
      self.exit(message=self._help(argv), status=0)
    if self._config == FROM_FILE and "--list" in argv:
      self.exit(message=config_help.configs(), status=0)
    args, rest = self.parse_known_args(argv)
    fields, others = split_fields(rest)
    if self._config is None:
      self._refuse([f"--config.{path}" for path, _ in fields] + others, None)
      return args
    if self._config == FROM_RUN:
      config = read_config(args.workdir)
    else:
      config = parse_config(args.config)
      _require_data_once(args.config, config, fields)
    self._refuse(others, config)
    args.config = override(config, fields)
    args.given = tuple(path.partition("[")[0] for path, _ in fields)
    return args

  def exit(self, status: int = 0, message: str | None = None):
    """Ends the process; the message goes to standard output."""
    print(message or "", end="")
    sys.exit(status)

  def _help(self, argv: Sequence[str]) -> str:
    """The text of --help, with the values of the config that `argv` names."""
    text = self.format_help()
    if self._config is None:
      return text
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--config", default=self._file)
    config = chosen.parse_known_args(argv)[0].config
    if self._config == FROM_FILE:
      text += f"\nconfigs:\n{config_help.configs()}"
    return text + "\n" + config_help.fields(config)

  def _refuse(self, others: Sequence[str], config: ConfigDict | None) -> None:
    """Raises ConfigError if there are unknown arguments."""
    if not others:
      return
    flag, equals, value = others[0].partition("=")
    if not re.match(r"--?[a-zA-Z]", flag):
      raise ConfigError(f"unknown argument {others[0]!r}; see --help.")
    names = [] if config is None else field_names(config)
    meant = [
      f"--config.{path}{equals}{value}"
      for path in names
      if path.rpartition(".")[2] == flag.lstrip("-")
    ]
    own = [name for name in self._option_string_actions if name[:2] == "--"]
    meant = meant or difflib.get_close_matches("--" + flag.lstrip("-"), own, 1)
    hint = f"did you mean {' or '.join(meant)}?" if meant else "see --help."
    raise ConfigError(f"unknown flag {flag}; {hint}")


def parse_config(spec: str | None, arguments: Sequence[str] = ()) -> ConfigDict:
  """The config of FILE[:VARIANT], changed by --config.FIELD=VALUE.

  Raises:
    ConfigError: in one line, on an unknown file, field or value.
  """
  if not spec:
    raise ConfigError("--config is required: --config=configs/toy_lc.py")
  fields, others = split_fields(arguments)
  if others:
    raise ConfigError(f"unknown argument {others[0]!r}; see --help.")
  config = load_file(spec)
  _require_data_once(spec, config, fields)
  return override(config, fields)


def _require_data_once(spec: str, config: ConfigDict, fields: Fields) -> None:
  """Raises ConfigError if fields change the data that a variant names."""
  file, _, variant = spec.partition(":")
  if not variant or variant != config.data.get("path"):
    return
  for path, value in fields:
    if path in ("data.name", "data.path"):
      raise ConfigError(
        f"{spec} chooses sizes for its data, and --config.{path}={value} would"
        f" change these: give the data once, --config={file}:FILE."
      )


def split_fields(arguments: Sequence[str]) -> tuple[Fields, list[str]]:
  """(path, value) of each --config.PATH, and all other arguments.

  The value is None if none follows.
  """
  fields, others = [], []
  remaining = list(arguments)
  while remaining:
    argument = remaining.pop(0)
    match = re.fullmatch(r"--?(no)?config\.([^=]*)(?:=(.*))?", argument, re.S)
    if not match:
      others.append(argument)
      continue
    no, path, value = match.groups()
    if no:
      value = "false"
    elif value is None and remaining and not remaining[0].startswith("--"):
      value = remaining.pop(0)
    fields.append((path, value))
  return fields, others
