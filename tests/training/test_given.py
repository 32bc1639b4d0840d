"""What is given on a command line acts, or is said not to."""

import json

import pytest

from nema_lc_jax import evaluate, main
from nema_lc_jax.benchmark.__main__ import parse as parse_benchmark
from nema_lc_jax.data import DataError
from nema_lc_jax.inspect.__main__ import main as inspect
from nema_lc_jax.inspect.run import show
from nema_lc_jax.runs.command_line import FROM_FILE, Parser
from nema_lc_jax.runs.files import CONFIG_FILE
from nema_lc_jax.stream import retention
from nema_lc_jax.sweep.__main__ import parse as parse_sweep
from nema_lc_jax.training.experiment import load_data
from nema_lc_jax.training.given import RULES, settle, without_effect
from nema_lc_jax.training.restore import open_run
from tests.commands import ROOT
from tests.helpers import tiny_config

TOY = "--config=configs/toy_lc.py"
NAMED = "--config.data.name=file"
LOST = (
  "config.data.path is given, but data set {} has no such option;"
  " those that have it: --config.data.name=file, lm."
)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def parsed(*flags):
  args = Parser("x", "X.", "", config=FROM_FILE).parse([TOY, *flags])
  return args.config, args.given


def told(error):
  text = str(error.value)
  assert "\n" not in text
  return text


def test_the_parser_keeps_what_is_given():
  config, given = parsed(
    "--config.train.steps=3", "--config.eval.length_multipliers=2"
  )
  assert given == ("train.steps", "eval.length_multipliers")
  assert config.eval.length_multipliers == (2,)


# Options of the data set.


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config.data.path=own.npz"], LOST.format("'toy'")),
    (
      ["--config.data.dir=mine"],
      "config.data.dir is given, but",
    ),
    (
      ["--config.data.name=recall", "--config.data.num_classes=3"],
      "has no such option; those that have it: --config.data.name=toy.",
    ),
    (
      [NAMED, "--config.data.path=x.npz", "--config.data.noise_vocab=3"],
      "config.data.noise_vocab is given, but data set 'file'",
    ),
  ],
)
def test_an_option_that_the_data_set_lacks_is_an_error(
  flags, message, tmp_path, capsys
):
  with pytest.raises(ValueError, match=r".") as error:
    settle(*parsed(*flags))
  assert message in told(error)
  assert main.main([TOY, f"--workdir={tmp_path / 'run'}", *flags]) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "run").exists()
  with pytest.raises(ValueError, match=r".") as error:
    parse_sweep([TOY, *flags])
  assert message in told(error)


@pytest.mark.parametrize(
  "flags",
  [
    [],
    ["--config.data.path=None", "--config.data.dir=None"],
    ["--config.data.name=recall", "--config.data.noise_vocab=5"],
    ["--config.data.name=recall", "--config.data.length=128"],
    [NAMED, "--config.data.path=x.npz", "--config.seed=3"],
  ],
)
def test_what_the_data_set_has_and_what_the_file_holds_is_no_error(flags):
  config, given = parsed(*flags)
  settle(config, given)
  assert config.data.num_classes == 4  # Of toy; `load_data` drops it.


def test_a_grid_is_checked_like_a_field():
  grid = "--grid=config.data.num_classes=3,4"
  assert len(parse_sweep([TOY, grid]).plan.cells) == 6
  with pytest.raises(ValueError, match=r"data\.num_classes is given") as error:
    parse_sweep([TOY, "--config.data.name=recall", grid])
  assert "have it: --config.data.name=toy." in told(error)
  # A place of the files of one cell is not one of the others'.
  args = parse_sweep(
    [TOY, "--policies=fifo", "--seeds=1", "--grid=config.data.name=toy,recall"]
  )
  args.config.data.path = "own.npz"
  runs = list(args.plan.runs(args.config, {}))
  assert [run.config.data.path for run in runs] == [None, None]


def test_from_python_a_lost_place_is_an_error():
  config = tiny_config("toy")
  config.data.path = "own.npz"
  with pytest.raises(DataError, match=r"unknown option 'path' .* it: file"):
    load_data(config)
  config.data.path = None
  assert load_data(config).name == "toy"


@pytest.fixture
def old_run(finished, tmp_path):
  """A run whose config names a file that its data set does not read."""
  folder = tmp_path / "run"
  folder.mkdir()
  for path in finished[0].iterdir():
    (folder / path.name).symlink_to(path)
  values = json.loads((folder / CONFIG_FILE).read_text())
  (folder / CONFIG_FILE).unlink()
  values["data"]["path"] = "own.npz"
  (folder / CONFIG_FILE).write_text(json.dumps(values))
  return folder


def test_an_old_run_is_opened_and_what_is_given_is_checked(old_run, capsys):
  workdir = f"--workdir={old_run}"
  assert open_run(old_run)[0].dataset.name == "recall"
  lost = "--config.data.path=mine.npz"
  for command in (evaluate.main, inspect, retention.main):
    assert command([workdir, lost]) == 2
    assert LOST.format("'recall'") in capsys.readouterr().err
  with pytest.raises(ValueError, match=r"config\.data\.path is given"):
    show(old_run, overrides={"data.path": "mine.npz"})
  assert evaluate.main([workdir]) == 0


def test_the_benchmark_reads_no_data_set(tmp_path):
  with pytest.raises(ValueError, match=r"data\.path is given, but the bench"):
    parse_benchmark(["--config.data.path=x.npz", f"--out={tmp_path}"])


# Fields without an effect.


@pytest.mark.parametrize(
  ("flags", "messages"),
  [
    (["--config.train.steps=3", "--config.loss.write=0.1"], []),
    (
      ["--config.memory.policy=fifo", "--config.memory.controller.hidden=8"],
      ["controller.hidden has no effect: policy 'fifo' has no such option."],
    ),
    (
      ["--config.memory.policy=fifo", "--config.loss.write=1"],
      ["config.loss.write has no effect: config.memory.policy=fifo learns not"],
    ),
    (
      ["--config.memory.policy=write_gate", "--config.loss.forget=1"],
      ["config.loss.forget has no effect: config.memory.policy=write_gate"],
    ),
    (
      [
        "--config.model.encoder=local",
        "--config.memory.budget=3",
        "--config.model.num_hops=2",
      ],
      ["config.memory.budget has no", "config.model.num_hops has no effect"],
    ),
    (
      ["--config.model.encoder=recurrent", "--config.memory.num_slots=3"],
      [],
    ),
    (
      ["--config.model.encoder=recurrent", "--config.memory.budget=3"],
      ["config.memory.budget has no effect"],
    ),
    (
      ["--config.pretrain.steps=0", "--config.pretrain.mask_rate=0.5"],
      ["config.pretrain.mask_rate has no effect: config.pretrain.steps=0."],
    ),
    (["--config.pretrain.steps=1", "--config.pretrain.mask_rate=0.5"], []),
    (
      ["--config.model.encoder=ssm", "--config.model.num_heads=8"],
      ["config.model.num_heads has no effect: config.model.encoder=ssm"],
    ),
  ],
)
def test_a_field_without_effect_is_said_in_a_line(flags, messages):
  lines = list(without_effect(*parsed(*flags)))
  assert len(lines) == len(messages)
  for line, message in zip(lines, messages, strict=True):
    assert message in line
    assert "\n" not in line


def test_main_says_it_and_goes_on(tmp_path, capsys):
  flags = ["--config.memory.policy=lru", "--config.loss.write=1"]
  bad = ["--config.train.log_every=0", f"--workdir={tmp_path}"]
  assert main.main([TOY, *flags, *bad]) == 2
  first, second = capsys.readouterr().err.splitlines()
  assert first.startswith("warning: config.loss.write has no effect")
  assert second.startswith("error: config.train.log_every")


def test_the_rules_name_fields_that_exist():
  config, _ = parsed()
  for rule in RULES:
    rule.why.format(**config)
    for path in rule.fields:
      section = config
      for name in path.rstrip(".").split("."):
        section = section[name]
