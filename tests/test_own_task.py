"""A task of the user's own, from a module that is no part of the package."""

import json
import sys

import pytest

from nema_lc_jax import data, evaluate
from nema_lc_jax.data import registry
from nema_lc_jax.inspect.__main__ import main as inspect
from nema_lc_jax.runs import naming
from tests.helpers import mistake_in, run, tiny_config
from tests.inspect.untrained import data_of

# One fact in the first block, asked for in the last.
SOURCE = """
import dataclasses

from nema_lc_jax.data.lifecycle.facts import Facts, Item, Script, loader

SAY, ASK = 1, 2
NUMBER = 70


@dataclasses.dataclass(frozen=True, kw_only=True)
class Said(Facts):
  shift: int = 0

  name = "said"
  summary = "what was said first"
  commands = ("SAY", "ASK")
  min_blocks = 2

  def write(self, rng, blocks):
    value = int(rng.integers(self.num_values))
    fact = Item(0, (SAY, self.first_value + value), is_fact=True)
    label = (value + self.shift) % self.num_values
    return Script([fact], (ASK,), label, source=0)


load = loader(Said)


def nothing():
  return NUMBER
"""
NAME = "mine_of_data:load"


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
  """The module on the path, for one test."""
  (tmp_path / "mine_of_data.py").write_text(SOURCE)
  monkeypatch.syspath_prepend(tmp_path)
  yield
  sys.modules.pop("mine_of_data", None)


def test_it_is_loaded_by_its_name_with_its_own_options():
  assert data.options_of(NAME) > {"shift", "num_values", "length", "seed"}
  plain = data.load(NAME, length=16, dir=None)
  shifted = data.load(NAME, length=16, shift=1)
  assert plain.name == "said"
  assert plain.fingerprint != shifted.fingerprint
  labels = [
    int(dataset.evaluation("test", 16)[5]["label"])
    for dataset in (plain, shifted)
  ]
  assert labels[1] == (labels[0] + 1) % plain.num_classes


def test_one_row_makes_it_one_of_the_package_s(monkeypatch):
  from mine_of_data import load

  monkeypatch.setitem(registry._LOADERS, "said", load)
  assert data.options_of("said") == data.options_of(NAME)
  found = [data.load(name, length=16, seed=3) for name in ("said", NAME)]
  assert found[0].fingerprint == found[1].fingerprint


def test_it_is_trained_evaluated_and_inspected(tmp_path, capsys):
  c = tiny_config()
  c.data.name = NAME
  c.memory.policy = "fifo"
  c.train.curriculum = ()
  c.eval.length_multipliers = (1,)
  workdir = tmp_path / "run"
  summary = run(c, workdir)
  assert summary.task == "said"
  assert summary.oracle_accuracy_by_length["1"] == 1
  capsys.readouterr()

  assert evaluate.main(["--workdir", str(workdir), "--split=test"]) == 0
  told = json.loads(capsys.readouterr().out)
  assert told["accuracy"] == summary.test_accuracy_by_length["1"]
  assert told["baselines"]["chance"] == 1 / 8

  page = tmp_path / "page.html"
  assert inspect(["--workdir", str(workdir), "--out", str(page)]) == 0
  shown = data_of(page.read_text())
  assert f"SAY {shown['answer']['label']}" in shown["texts"][0]
  assert shown["texts"][-1].split()[-2:] == ["n", "ASK"]


@pytest.mark.parametrize(
  ("name", "messages"),
  [
    ("not_there:load", ["'not_there:load' cannot be imported"]),
    ("mine_of_data:lod", ["cannot be imported", "'lod'"]),
    ("mine_of_data", ["unknown data set 'mine_of_data'", "module:function"]),
    ("mine_of_data:", ["'mine_of_data:'"]),
    (":load", ["':load'"]),
    ("..:load", ["data set '..:load' must have the form module:function or"]),
    ("mine_of_data:NUMBER", ["'mine_of_data:NUMBER' is no function, but 70"]),
    ("mine_of_data:nothing", ["is no Dataset, but 70"]),
  ],
)
def test_a_mistake_is_one_line(name, messages):
  with pytest.raises(data.DataError) as error:
    data.load(name)
  text = str(error.value)
  assert "\n" not in text
  for message in messages:
    assert message in text


def test_unknown_options_list_its_own():
  with pytest.raises(data.DataError, match=r"'shfit' of data set .*: .*shift"):
    data.load(NAME, shfit=1)


def test_it_is_found_by_its_file(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "by_file.py").write_text(SOURCE)
  found = data.load("./by_file.py:load", length=16, shift=1)
  named = data.load(NAME, length=16, shift=1)
  assert found.fingerprint == named.fingerprint
  assert data.load(f"{tmp_path}/by_file.py:load", length=16).name == "said"
  c = tiny_config()
  c.data.name = "./by_file.py:load"
  assert naming.default(c) == "runs/by_file.py:load-learned-seed0"


@pytest.mark.parametrize(
  ("source", "message"),
  [
    (None, "there is no file {}."),
    ("x = 3", "has no function 'load'"),
    ("\nload = 1 / 0", "cannot be imported: {}, line 2: ZeroDivisionError"),
    ("def load(*, more): return 3", "fails: TypeError: load() missing 1"),
    ("def load():\n  return 1 / 0", "fails: {}, line 2: ZeroDivisionError"),
    ("def load(): raise ValueError('too short')", "too short"),
    ("def load(): return None", "is no Dataset, but None"),
  ],
)
def test_a_mistake_in_a_file_is_one_line(source, message, tmp_path):
  path = tmp_path / "bad.py"
  found = mistake_in(path, source, lambda: data.load(f"{path}:load"))
  assert message.format(path) in found
