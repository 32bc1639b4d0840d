"""What --help and docs/configuration.md say of configs and their fields.

python -m nema_lc_jax.runs.config_help > docs/configuration.md

Descriptions are the comments of the config files, which are their one source.
"""

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import config_file
from nema_lc_jax.runs.config_json import (
  FIXED,
  RENAMED,
  RENAMED_VALUES,
  field_names,
)
from nema_lc_jax.runs.markup import markdown_table

WIDTH = 80
INDENT = 30  # column of the descriptions


class Field(NamedTuple):
  """A field of a config, or a section of fields."""

  path: str
  value: Any
  about: str


def comments(source: str) -> dict[str, str]:
  """What a config file's comments say of the fields that it sets, in order.

  A comment belongs to a field if it stands in the lines right above
  `c.FIELD = VALUE`, or behind it. If a field is set more than once, the first
  comment counts; where there is none, it is "".
  """
  alone, behind = {}, {}  # comments by line
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      where = behind if token.line[: token.start[1]].strip() else alone
      where[token.start[0]] = token.string.lstrip("# ").strip()
  found: dict[str, str] = {}
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Assign):
      continue
    target = ast.unparse(node.targets[0])
    first = node.lineno
    while first - 1 in alone:
      first -= 1
    lines = [alone[line] for line in range(first, node.lineno)]
    lines += [behind[node.end_lineno]] if node.end_lineno in behind else []
    if target.startswith("c."):
      path = target.removeprefix("c.")
      found[path] = found.get(path) or " ".join(lines)
  return found


def fields_of(spec: str | None = None) -> tuple[list[Field], dict[str, str]]:
  """All fields of a config, and what each section is about.

  Args:
    spec: FILE[:VARIANT]; None: the defaults.

  Raises:
    ConfigError: if there are none.
  """
  config = config_file.load_file(spec or str(config_file.DEFAULT))
  about = comments(config_file.DEFAULT.read_text(encoding="utf-8"))
  if spec:
    own = Path(spec.partition(":")[0]).read_text(encoding="utf-8")
    about |= {k: v for k, v in comments(own).items() if k not in about}
  # A ConfigDict sorts by name; the file has an order that explains.
  order = {path: i for i, path in enumerate(about)}
  names = sorted(field_names(config), key=lambda n: order.get(n, len(order)))
  found = [Field(n, _value(config, n), about.get(n, "")) for n in names]
  return found, about


def _value(config: ConfigDict, path: str) -> Any:
  for name in path.split("."):
    config = config[name]
  return config


def by_section(fields: list[Field]) -> dict[str, list[Field]]:
  """The fields by the section that they are in; "" holds those in none."""
  sections: dict[str, list[Field]] = {}
  for field in fields:
    sections.setdefault(field.path.rpartition(".")[0], []).append(field)
  return sections


def fields(spec: str | None = None) -> str:
  """What --help prints of the fields of a config."""
  try:
    found, about = fields_of(spec)
  except ConfigError as error:
    if spec:
      raise
    return f"The fields of a config are not listed: {error}\n"
  values = f"the values of {spec}" if spec else "their defaults"
  lines = [f"config fields, --config.FIELD=VALUE, with {values}:"]
  for section, members in by_section(found).items():
    if section:
      lines += ["", *_wrapped(f"{section}: {about.get(section, '')}", 2)]
    for field in members:
      lines += _entry(f"{field.path}={field.value!r}", field.about)
  return "\n".join(lines) + "\n"


def configs() -> str:
  """What --list prints: config files and variants, a line about each."""
  files = config_file.config_files()
  if not files:
    return (
      f"There are no config files in {config_file.FOLDER}/ of the current"
      " folder; run this from the root of the checkout.\n"
    )
  lines = []
  for path in files:
    try:
      module = config_file.load_module(path)
    except ConfigError as error:
      lines += _entry(str(path), f"cannot be read: {error}")
      continue
    lines += _entry(f"{path}", _first_line(module))
    default = config_file.default_variant(module)
    for name, line in config_file.variants(module).items():
      ending = " (the default)" if name == default else ""
      lines += _entry(f"  {path.name}:{name}", line + ending)
  return "\n".join(lines) + "\n"


def _first_line(module: Any) -> str:
  return (module.__doc__ or "").strip().partition("\n")[0]


def _wrapped(text: str, indent: int) -> list[str]:
  return textwrap.wrap(
    text,
    WIDTH,
    initial_indent=" " * indent,
    subsequent_indent=" " * indent,
    break_long_words=False,
    break_on_hyphens=False,
  )


def _entry(name: str, text: str) -> list[str]:
  """A name, and beside it or below it what is said of it."""
  lines = _wrapped(text, INDENT) or [""]
  name = f"  {name}"
  if len(name) > INDENT - 2:
    return [name, *filter(None, lines)]
  return [f"{name:<{INDENT}}{lines[0].strip()}".rstrip(), *lines[1:]]


# The page.

HEAD = """\
# Configuration

<!-- Generated by `python -m nema_lc_jax.runs.config_help >
docs/configuration.md` from the comments in configs/; do not edit. -->

A run is described by a config: `--config=FILE[:VARIANT]` names one, and
`--config.FIELD=VALUE` changes any field, such as `--config.memory.num_slots=32`
or `--config.train.curriculum='((0.5, 256, 16),)'`. What a run was started with
is in its folder, in `config.json`. `python -m nema_lc_jax.main --list` prints
the configs, and `python -m nema_lc_jax.main --config=configs/toy_lc.py --help`
the fields with that config's values.
"""


def page() -> str:
  """docs/configuration.md."""
  found, about = fields_of()
  parts = [HEAD, "## Configs\n", _configs_table(), "## Fields\n"]
  for section, members in by_section(found).items():
    parts.append(f"### {section or 'Of the whole run'}\n")
    if section:
      parts.append(f"{about[section]}\n")
    rows = [[f"`{f.path}`", f"`{f.value!r}`", f.about] for f in members]
    parts.append(_table(["field", "default", "meaning"], rows))
  parts += [
    "## Fields of single tasks\n",
    "Options of a data set that its config sets; other data sets have no such"
    " field.\n",
    _table(["field", "config", "meaning"], list(_of_tasks())),
    "## Renamed fields\n",
    "Configs of older runs are read with the old names; on a command line only"
    " the new ones count.\n",
    _table(
      ["old", "new"],
      [[f"`{old}`", f"`{new}`"] for old, new in RENAMED.items()]
      + [
        [f"`{path}={old}`", f"`{path}={new}`"]
        for path, values in RENAMED_VALUES.items()
        for old, new in values.items()
      ]
      + [[f"`{p}`", f"none: it is {v} in all runs"] for p, v in FIXED.items()],
    ),
  ]
  return "\n".join(parts).rstrip() + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
  return markdown_table(header, rows) + "\n"


def _configs_table() -> str:
  rows = []
  for path in config_file.config_files():
    module = config_file.load_module(path)
    rows.append([f"`{path}`", _first_line(module)])
    default = config_file.default_variant(module)
    for name, line in config_file.variants(module).items():
      ending = " (the default)" if name == default else ""
      rows.append([f"`{path}:{name}`", line + ending])
  return _table(["config", "what it is"], rows)


def _of_tasks() -> Iterator[list[str]]:
  """Rows of the fields that a config adds to the default ones."""
  common = {field.path for field in fields_of()[0]}
  files: dict[Field, list[str]] = {}
  for path in config_file.config_files():
    module = config_file.load_module(path)
    for variant in config_file.variants(module) or [None]:
      spec = str(path) if variant is None else f"{path}:{variant}"
      for field in fields_of(spec)[0]:
        if field.path not in common:
          of = files.setdefault(field._replace(value=None), [])
          of += [] if f"`{path}`" in of else [f"`{path}`"]
  for field, of in files.items():
    yield [f"`{field.path}`", ", ".join(of), field.about]


if __name__ == "__main__":
  print(page(), end="")
