"""Descriptions of configs and fields, for --help and docs/configuration.md.

python -m nema_lc_jax.runs.config_help > docs/configuration.md

They come from the comments of the config files.
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
  locate,
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
  """The comment of each field that a config file sets, in order.

  It is in the lines directly above `c.FIELD = VALUE`, or at the end of the
  statement. If a field is set more than once, the first comment counts; a field
  without a comment has "".
  """
  above, behind = {}, {}  # comments by line
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      where = behind if token.line[: token.start[1]].strip() else above
      where[token.start[0]] = token.string.lstrip("# ").strip()
  found: dict[str, str] = {}
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Assign):
      continue
    target = ast.unparse(node.targets[0])
    first = node.lineno
    while first - 1 in above:
      first -= 1
    lines = [above[line] for line in range(first, node.lineno)]
    lines += [behind[node.end_lineno]] if node.end_lineno in behind else []
    if target.startswith("c."):
      path = target.removeprefix("c.")
      found[path] = found.get(path) or " ".join(lines)
  return found


def fields_of(spec: str | None = None) -> tuple[list[Field], dict[str, str]]:
  """All fields of a config, and all descriptions by path.

  Args:
    spec: FILE[:VARIANT]; None: the defaults.

  Raises:
    ConfigError: if a file or variant does not exist.
  """
  config = config_file.load_file(spec or str(config_file.DEFAULT))
  about = comments(config_file.DEFAULT.read_text(encoding="utf-8"))
  if spec:
    own = Path(spec.partition(":")[0]).read_text(encoding="utf-8")
    about |= {k: v for k, v in comments(own).items() if k not in about}
  # A ConfigDict sorts by name; the order of the file explains more.
  order = {path: i for i, path in enumerate(about)}
  names = sorted(field_names(config), key=lambda n: order.get(n, len(order)))
  found = [Field(n, _value(config, n), about.get(n, "")) for n in names]
  return found, about


def _value(config: ConfigDict, path: str) -> Any:
  section, name = locate(config, path)
  return section[name]


def by_section(fields: list[Field]) -> dict[str, list[Field]]:
  """The fields by their section; "" for those without one."""
  sections: dict[str, list[Field]] = {}
  for field in fields:
    sections.setdefault(field.path.rpartition(".")[0], []).append(field)
  return sections


def fields(spec: str | None = None) -> str:
  """The part of --help that lists the fields of a config."""
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
  """The text of --list: config files and variants with a line for each."""
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
  """A name with its description beside it or, if long, below it."""
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

A config describes a run. `--config=FILE[:VARIANT]` names a config, and
`--config.FIELD=VALUE` changes any field, such as `--config.memory.num_slots=32`
or `--config.train.curriculum='((0.5, 256, 16),)'`. A run saves its config as
`config.json` in its folder. `python -m nema_lc_jax.main --list` prints the
configs, and `python -m nema_lc_jax.main --config=configs/toy_lc.py --help` the
fields with that config's values.

Every number must be finite. Whole numbers are at most 2147483647, and others at
most 1e38, where no smaller bound is said.
"""


def page() -> str:
  """docs/configuration.md."""
  found, about = fields_of()
  parts = [HEAD, "## Configs\n", _configs_table(), "## Fields\n"]
  for section, members in by_section(found).items():
    parts.append(f"### {section or 'General'}\n")
    if section:
      parts.append(f"{about[section]}\n")
    rows = [[f"`{f.path}`", f"`{f.value!r}`", f.about] for f in members]
    parts.append(_table(["field", "default", "meaning"], rows))
  parts += [
    "## Fields of single tasks\n",
    "Options of single data sets, which only their configs have.\n",
    _table(["field", "config", "meaning"], list(_of_tasks())),
    "## Renamed fields\n",
    "Saved configs of older runs may have the old names; the command line takes"
    " only the new ones.\n",
    _table(
      ["old", "new"],
      [[f"`{old}`", f"`{new}`"] for old, new in RENAMED.items()]
      + [
        [f"`{path}={old}`", f"`{path}={new}`"]
        for path, values in RENAMED_VALUES.items()
        for old, new in values.items()
      ]
      + [[f"`{p}`", f"removed: {v} in all runs"] for p, v in FIXED.items()],
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
  return _table(["config", "description"], rows)


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
