import re
from pathlib import Path

import pytest

from nema_lc_jax import data

TASKS = (
  "boxes",
  "count",
  "delayed_qa",
  "forgetting_mqar",
  "gather",
  "mqar",
  "pi_updates",
  "pressure",
  "rebind",
  "recall",
  "remember",
  "revoke",
  "rewrite",
)
WITH_DIR = "aan, babi, babilong, cifar10, imdb, listops, pathfinder, pytext"


def test_unknown_names_list_the_known(error_of):
  assert error_of(data.load, "mnist") == (
    "unknown data set 'mnist'; known: aan, babi, babilong, boxes, cifar10,"
    " count, delayed_qa, file, forgetting_mqar, gather, haystack, imdb,"
    " listops, lm, mqar, pathfinder, pi_updates, pressure, pytext, rebind,"
    " recall, remember, revoke, rewrite, toy; one of your own is written"
    " module:function or FILE.py:function"
  )


def test_unknown_options_list_the_known(error_of):
  assert error_of(data.load, "toy", num_clases=4) == (
    "unknown option 'num_clases' of data set 'toy'; known: length, "
    "noise_vocab, num_classes, num_eval, num_test, seed"
  )


@pytest.mark.parametrize("name", ["toy", *TASKS])
def test_common_options_are_accepted_by_all(name):
  bare = data.load(name)
  common = data.load(name, dir=None, path=None, length=None, seed=0)
  assert common.fingerprint == bare.fingerprint


@pytest.mark.parametrize(
  ("name", "option", "having"),
  [
    ("toy", "path", "file, lm"),
    ("recall", "path", "file, lm"),
    ("imdb", "path", "file, lm"),
    ("toy", "dir", WITH_DIR),
    ("file", "dir", WITH_DIR),
  ],
)
def test_a_place_that_a_data_set_does_not_read_is_an_error(
  name, option, having, error_of
):
  text = error_of(data.load, name, **{option: "mine"})
  assert text.startswith(f"unknown option {option!r} of data set {name!r}")
  assert text.endswith(f"; other data sets have it: {having}")


def test_common_options_are_checked(error_of):
  for seed in (-1, 2**32, "0"):
    assert "seed must be an integer in 0..4294967295" in error_of(
      data.load, "toy", seed=seed
    )
  assert "length must be an integer of at least 1, got 0" in error_of(
    data.load, "pytext", length=0
  )


def test_fingerprints_tell_data_apart():
  names = ("toy", *TASKS)
  prints = {
    data.load(name, **options).fingerprint
    for name in names
    for options in ({}, {"seed": 1}, {"noise_vocab": 5}, {"num_test": 3})
  }
  assert len(prints) == 3 * len(names)  # Seeds share theirs.


@pytest.mark.parametrize("name", TASKS)
def test_the_options_of_a_task_are_its_keywords(name):
  known = data.options_of(name)
  common = {"seed", "length", "num_eval", "num_test", "noise_vocab"}
  assert known > common
  assert "name" not in known


def test_a_data_set_is_one_line_when_printed(pytext):
  assert "\n" not in pytext.description
  assert len(repr(pytext)) < 1000  # not the corpus


def test_no_module_of_the_package_imports_jax_or_tensorflow():
  # grain imports JAX itself, so sys.modules can't tell.
  for file in Path(data.__file__).parent.rglob("*.py"):
    imports = re.findall(
      r"^\s*(?:import|from) (\w+)", file.read_text(), flags=re.MULTILINE
    )
    assert not {"jax", "jaxlib", "flax", "tensorflow"} & set(imports), file
