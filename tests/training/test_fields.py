"""Every field of every config: set as text, documented, and checked."""

import functools
import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from nema_lc_jax import data
from nema_lc_jax.data import registry
from nema_lc_jax.models import ranges
from nema_lc_jax.runs import config_file, config_help
from nema_lc_jax.runs.command_line import parse_config
from nema_lc_jax.runs.config_json import (
  FIXED,
  RENAMED,
  UNSET,
  field_names,
  upgraded,
)
from nema_lc_jax.training.checks import RANGES, TUPLES, checked_stages
from nema_lc_jax.training.experiment import build
from tests.commands import ROOT
from tests.helpers import tiny_config

ALL = RANGES | {
  f"memory.controller.{name}": allowed
  for name, allowed in ranges.CONTROLLER.items()
}
HOSTILE = (
  math.nan, math.inf, -math.inf, -1, 0, 2**31, 2**63, 10**400, 1e39, 1e308,
  -1e308, 2.0**63, 1e-320, True, "1", (),
)  # fmt: skip


def value_of(config, path):
  return functools.reduce(lambda c, name: c[name], path.split("."), config)


def specs():
  for path in [
    config_file.DEFAULT,
    *sorted((ROOT / "configs").glob("*_lc.py")),
  ]:
    module = config_file.load_module(ROOT / path)
    name = f"configs/{path.name}"
    variants = config_file.variants(module)
    yield from (f"{name}:{v}" for v in variants) if variants else (name,)


def text_of(value):
  """A value as a user types it."""
  return str(value).lower() if isinstance(value, bool) else str(value)


# Before tests run, for their names.
SPECS = list(specs())


@pytest.mark.parametrize("spec", SPECS)
def test_every_field_can_be_set_to_its_own_value(spec, monkeypatch):
  monkeypatch.chdir(ROOT)
  own = parse_config(spec)
  flags = [
    f"--config.{path}={text_of(value_of(own, path))}"
    for path in field_names(own)
  ]
  again = parse_config(spec, flags)
  for path in field_names(own):
    before, after = value_of(own, path), value_of(again, path)
    assert (type(before), before) == (type(after), after), path


@pytest.mark.parametrize("path", UNSET)
def test_a_field_can_be_unset_and_set_again(path, monkeypatch):
  monkeypatch.chdir(ROOT)
  text = "3" if UNSET[path] is int else "mine"
  flags = [f"--config.{path}={text}"]
  config = parse_config("configs/lra_lc.py", flags)
  assert value_of(config, path) == UNSET[path](text)
  config = parse_config("configs/lra_lc.py", [*flags, f"--config.{path}=None"])
  assert value_of(config, path) is None
  config.update_from_flattened_dict({path: UNSET[path](text)})
  with pytest.raises(TypeError):
    config.update_from_flattened_dict({path: 1.5})


def test_options_of_data_that_may_be_none_can_be_unset(monkeypatch):
  monkeypatch.chdir(ROOT)
  config = parse_config("configs/babi_lc.py:1", ["--config.data.num_eval=None"])
  assert config.data.num_eval is None
  with pytest.raises(ValueError, match=r"config\.train\.steps must be a whole"):
    parse_config("configs/toy_lc.py", ["--config.train.steps=None"])
  with pytest.raises(ValueError, match=r"no field config\.data\.nothing"):
    parse_config("configs/toy_lc.py", ["--config.data.nothing=None"])


# Ranges.


def is_number(value):
  return isinstance(value, int | float) and not isinstance(value, bool)


def numeric_fields(config):
  """Names of the fields that hold numbers, or tuples of them."""
  return [
    path
    for path in field_names(config)
    if is_number(value_of(config, path))
    or isinstance(value_of(config, path), tuple)
    or UNSET.get(path) is int
  ]


def test_every_number_of_the_default_config_has_a_range():
  config = config_file.load_file(str(ROOT / "configs/default.py"))
  ranged = {*ALL, "train.curriculum"}
  assert set(numeric_fields(config)) <= ranged
  # And no range is of a field that does not exist.
  of_models = {"model.vocab_size", "model.num_classes"}
  of_python = {"noise", "write_bias", "capacity"}
  of_models |= {f"memory.controller.{name}" for name in of_python}
  assert ranged - of_models == set(numeric_fields(config))


def test_no_field_has_a_name_that_another_one_had(monkeypatch):
  monkeypatch.chdir(ROOT)
  for spec in SPECS:
    config = parse_config(spec)
    assert not {*RENAMED, *FIXED} & set(field_names(config)), spec
    values = config.to_dict()
    assert upgraded(values) == values


def test_every_range_is_documented(monkeypatch):
  monkeypatch.chdir(ROOT)
  for field in config_help.fields_of()[0]:
    if field.path in ALL:
      words = ALL[field.path].words(usual=False)
      assert words in " ".join(field.about.split()), field.path


def test_the_values_of_all_configs_are_in_range(monkeypatch):
  monkeypatch.chdir(ROOT)
  for spec in SPECS:
    config = parse_config(spec)
    for path in set(field_names(config)) & set(ALL):
      value = value_of(config, path)
      for number in value if isinstance(value, tuple) else (value,):
        assert number in ALL[path], (spec, path)


def set_to(config, path, value):
  """A copy in which a field has any value, whatever its type is."""
  config = ConfigDict(config.to_dict()).unlock()
  section, name = path.rpartition(".")[::2]
  section = value_of(config, section) if section else config
  del section[name]
  section[name] = value
  return config


def error_of(function, *args, **options):
  """The message of a mistake, which must be one line; None if there is none."""
  message = None
  try:
    function(*args, **options)
  except ValueError as error:
    message = str(error)
  assert "\n" not in (message or "")
  return message


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:12])
def test_what_is_out_of_range_is_named_and_the_rest_is_not(value):
  config = tiny_config("toy")
  for path, allowed in ALL.items():
    if path not in field_names(config):
      continue
    legal = value in allowed
    if f"config.{path}" in TUPLES:
      if value == ():
        continue
      changed = set_to(config, path, (2, value))
    else:
      changed = set_to(config, path, value)
    error = error_of(checked_stages, changed)
    named = error is not None and error.startswith(f"config.{path} must be ")
    if not legal:
      assert named, (path, error)
      assert "got " in error
    # Legal numbers may still not go together, which is another message.
    assert not (legal and named and "and at most" in error), (path, error)


@settings(max_examples=200, deadline=None)
@given(
  st.sampled_from((0, 1, 2)),
  st.one_of(st.floats(), st.integers(), st.none(), st.text(), st.booleans()),
)
def test_a_curriculum_of_anything_is_stages_or_one_line(place, value):
  config = tiny_config("toy")
  entry = [0.5, 80, 4]
  entry[place] = value
  changed = set_to(config, "train.curriculum", (tuple(entry),))
  error = error_of(checked_stages, changed)
  if error is None:
    assert is_number(value)
    assert 0 < value < math.inf
    assert all(stage.start < stage.stop for stage in checked_stages(changed))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ALL)), st.one_of(st.floats(), st.integers()))
def test_a_range_holds_no_number_that_is_not_finite(path, value):
  allowed = ALL[path]
  if value in allowed:
    assert math.isfinite(value)
    assert allowed.low <= value <= allowed.high
    assert error_of(allowed.require, path, value) is None
  else:
    assert f"got {value!r}" in error_of(allowed.require, path, value)


@pytest.mark.parametrize("path", sorted(ALL))
def test_the_largest_number_of_a_field_is_built_or_one_line(path):
  config = tiny_config("toy")
  if path not in field_names(config):
    pytest.skip("a field of models")
  value = ALL[path].high
  if f"config.{path}" in TUPLES:
    value = (2, value)
  # Traced, not compiled: within the seconds of a test.
  error_of(build, set_to(config, path, value))


# Options of data sets.


def options():
  for name in data.NAMES:
    for option, parameter in inspect.signature(
      registry._LOADERS[name]
    ).parameters.items():
      if is_number(parameter.default) or parameter.default is None:
        yield name, option


@pytest.mark.parametrize(("name", "option"), list(options()))
def test_an_option_of_data_is_in_its_range_or_one_line(
  name, option, monkeypatch, tmp_path
):
  if option in ("dir", "path"):
    pytest.skip("no number")
  few = {"num_train": 3, "num_eval": 3, "num_test": 3}
  accepted = data.options_of(name)
  few = {k: v for k, v in few.items() if k in accepted}
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))  # holds nothing
  for value in HOSTILE:
    if name == "pytext" and value in (0, True) and option in ("gap", "seed"):
      continue  # Legal: reads a whole library.
    error = error_of(data.load, name, **few | {option: value})
    if not is_number(value) or not -(2**32) < value < 2**32:
      assert error is not None, value
      assert option in error or name in error, error
