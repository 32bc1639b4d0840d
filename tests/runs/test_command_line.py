"""What all commands share: flags, configs, exit codes, help."""

import importlib
import re

import pytest
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError, RunError, StoppedError
from nema_lc_jax.runs import command_line, config_file, config_help, config_json
from nema_lc_jax.runs.command_line import parse_config, run_command
from nema_lc_jax.runs.config_json import field_names
from tests.commands import COMMANDS, ROOT

TOY = "configs/toy_lc.py"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def ending_with(error):
  def command():
    raise error

  return command


@pytest.mark.parametrize(
  ("command", "code", "message"),
  [
    (lambda: None, 0, ""),
    (lambda: 1, 1, ""),
    (ending_with(StoppedError("stopped after step 3")), 0, "it: stopped after"),
    (ending_with(RunError("no\nroom")), 1, "it: error: no room\n"),
    (ending_with(ValueError("a typo")), 2, "it: error: a typo\n"),
    (ending_with(OSError("no such file")), 2, "it: error: no such file\n"),
    (ending_with(KeyboardInterrupt()), 130, "interrupted: the same command"),
  ],
)
def test_how_a_command_ends_is_its_exit_code(command, code, message, capsys):
  assert run_command(command, label=lambda: "it: ") == code
  told = capsys.readouterr().err
  assert told.startswith(message)
  assert told.count("\n") == bool(message)


def test_what_is_no_mistake_has_a_traceback():
  with pytest.raises(ZeroDivisionError):
    run_command(lambda: 1 / 0)


@pytest.mark.parametrize(
  ("arguments", "value"),
  [
    (["--config.train.steps=3"], 3),
    (["--config.train.steps", "3"], 3),
    (["-config.train.steps=3"], 3),
    (["--config.train.steps=5", "--config.train.steps=3"], 3),
  ],
)
def test_a_field_is_set_with_and_without_an_equals_sign(arguments, value):
  assert parse_config(TOY, arguments).train.steps == value


def test_fields_keep_their_types():
  config = parse_config(
    TOY,
    [
      "--config.model.remat",
      "--noconfig.memory.controller.allow_update",
      "--config.train.learning_rate=1",
      "--config.data.dir=here=there",
      "--config.model.bptt_chunks", "-2",
      "--config.train.curriculum=((0.5, 64, 8),)",
      "--config.eval.length_multipliers=1",
      "--config.eval.length_multipliers=4",
    ],
  )  # fmt: skip
  assert config.model.remat is True
  assert config.memory.controller.allow_update is False
  assert type(config.train.learning_rate) is float
  assert config.data.dir == "here=there"
  assert config.model.bptt_chunks == -2
  assert config.train.curriculum == ((0.5, 64, 8),)
  assert config.eval.length_multipliers == (1, 4)
  assert config.is_locked
  # Without what was set, nothing has changed.
  again = parse_config(TOY)
  assert again.train.curriculum == ((0.5, 256, 16),)
  assert not again.model.remat


@pytest.mark.parametrize(
  ("source", "message"),
  [
    ("def get_config(:", "mine.py, line 1: invalid syntax"),
    ("x = 1", "has no function get_config"),
    ("def get_config(): return 3", "must return a ConfigDict"),
    ("import nothing_of_this_name", "line 1: ModuleNotFoundError: No module"),
    ("\ndef get_config():\n  return 1 / 0", "line 3: ZeroDivisionError"),
  ],
)
def test_a_config_file_that_fails_is_one_line(source, message, tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(source)
  with pytest.raises(ConfigError, match=r"mine\.py") as error:
    parse_config(str(path))
  assert message in str(error.value)
  assert "\n" not in str(error.value)


# Help.


def printed(capsys, command, *arguments):
  module = importlib.import_module(COMMANDS[command])
  with pytest.raises(SystemExit) as end:
    module.main(list(arguments))
  assert end.value.code == 0
  out, err = capsys.readouterr()
  assert err == ""
  return out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command, capsys):
  text = printed(capsys, command, "--help")
  assert text == printed(capsys, command, "-h")
  module = importlib.import_module(COMMANDS[command])
  parser = module.make_parser()
  assert module.__doc__.partition("\n")[0] in text
  examples = text.partition("examples:\n")[2]
  assert examples.count(f"python -m {command} ") >= 2
  for action in parser._actions:
    assert action.help, action.dest
  assert max(map(len, text.splitlines())) <= 80
  takes_fields = parser._config is not None
  assert ("memory.budget=2" in text) == takes_fields
  from_file = parser._config == command_line.FROM_FILE
  assert ("lifecycle_lc.py:rebind" in text) == from_file


def test_help_has_the_values_of_the_config_that_is_named(capsys):
  command = "nema_lc_jax.main"
  text = printed(capsys, command, "--help", f"--config={TOY}")
  assert "memory.num_slots=4 " in text
  assert re.search(
    r"data.noise_vocab=32 +number of token ids of the noise", text
  )
  text = printed(capsys, command, "--config", "configs/lra_lc.py:text", "-h")
  assert "model.width=256 " in text


def test_the_list_names_all_configs_and_variants(capsys):
  text = printed(capsys, "nema_lc_jax.main", "--list")
  assert " ".join(text.split()).count("(the default)") == 5
  for path in ROOT.glob("configs/*_lc.py"):
    assert f"  {path.relative_to(ROOT)} " in text
    for variant in config_file.variants(config_file.load_module(path)):
      assert f"    {path.name}:{variant}" in text


def test_elsewhere_help_says_where_configs_are(capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert "the root of the checkout" in printed(
    capsys, "nema_lc_jax.main", "--list"
  )
  assert "are not listed" in printed(capsys, "nema_lc_jax.main", "-h")
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/mine.py").write_text("oops(")
  text = printed(capsys, "nema_lc_jax.main", "--list")
  assert "configs/mine.py" in text
  assert "cannot be read" in text


# Descriptions.

SOURCE = """
def get_config():
  c = ConfigDict()
  # What it is:
  # two lines.
  c.one = 1  # and one

  # Not of the next field, which an empty line is between.

  c.two = 2
  c.three = "#"  # third
  c.three = 3  # why another value
  c.section = ConfigDict()  # all of it
  c.section.four = (
    4,
  )  # fourth
"""


def test_comments_describe_fields():
  assert config_help.comments(SOURCE) == {
    "one": "What it is: two lines. and one",
    "two": "",
    "three": "third",
    "section": "all of it",
    "section.four": "fourth",
  }


@pytest.mark.parametrize(
  "spec",
  [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("configs/*.py"))],
)
def test_every_field_is_described(spec):
  module = config_file.load_module(ROOT / spec)
  for variant in config_file.variants(module) or [None]:
    fields, about = config_help.fields_of(
      spec if variant is None else f"{spec}:{variant}"
    )
    assert {f.path for f in fields if not f.about} == set()
    for section in config_help.by_section(fields):
      assert about.get(section) or not section


def test_descriptions_name_all_allowed_values():
  from nema_lc_jax import data
  from nema_lc_jax.models import POLICIES, learned, updates
  from nema_lc_jax.models import config as models
  from nema_lc_jax.models.controller import ABLATED_INPUTS
  from nema_lc_jax.training import checks, sharding

  allowed = {f"model.{k}": v for k, v in models.CHOICES.items() if k != "head"}
  allowed |= {
    "data.name": data.NAMES,
    "memory.policy": POLICIES,
    "memory.controller.ablate_input": ABLATED_INPUTS,
    "memory.controller.eviction": learned.EVICTION_RULES,
    "memory.controller.gradient_estimator": learned.GRADIENT_ESTIMATORS,
    "memory.controller.update_relaxation": updates.UPDATE_RELAXATIONS,
    "memory.controller.update_rule": updates.UPDATE_RULES,
    "pretrain.objective": ("masked_lm", "causal_lm"),
    "train.on_save_error": checks.SAVE_ERRORS,
    "train.parallel": sharding.KINDS,
    "train.schedule": ("cosine", "constant", "rsqrt"),
  }
  about = {field.path: field.about for field in config_help.fields_of()[0]}
  for path, values in allowed.items():
    words = set(re.findall(r"\w+", about[path]))
    assert set(values) - {""} <= words, path


def test_the_page_is_up_to_date_and_has_every_field():
  page = (ROOT / "docs/configuration.md").read_text()
  assert page == config_help.page(), (
    "docs/configuration.md is out of date: run python -m"
    " nema_lc_jax.runs.config_help > docs/configuration.md"
  )
  for name in field_names(parse_config("configs/default.py")):
    assert f"| `{name}` | `" in page


@pytest.mark.parametrize("name", ["items", "keys", "get", "update", "lock"])
def test_a_field_may_have_the_name_of_a_method(name):
  config = ConfigDict({"data": {name: 3}, "other": (1, 2)})
  found = config_json.override(config, [(f"data.{name}", "4")])
  assert found["data"][name] == 4
  assert config["data"][name] == 3
  with pytest.raises(ConfigError, match=f"config.data.{name} must be a whole"):
    config_json.override(config, [(f"data.{name}", "x")])


@pytest.mark.parametrize("field", ["data.path=b.tsv", "data.name=toy"])
def test_a_config_made_for_a_file_is_for_no_other(tmp_path, field):
  file = tmp_path / "a.tsv"
  file.write_text("".join(f"{i % 2}\ttext {i}\n" for i in range(30)))
  spec = f"configs/own_lc.py:{file}"
  assert parse_config(spec, ["--config.seed=3"]).data.path == str(file)
  parser = command_line.Parser("m", "P.", "", config=command_line.FROM_FILE)
  for parse in (
    lambda: parse_config(spec, [f"--config.{field}"]),
    lambda: parser.parse([f"--config={spec}", f"--config.{field}"]),
  ):
    with pytest.raises(ConfigError, match="give the data once") as error:
      parse()
    assert f"--config.{field} would" in str(error.value)
