"""A run that starts from another run's parameters."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.training import sharding, train
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.loop import TrainLoop
from nema_lc_jax.training.restore import open_run
from nema_lc_jax.training.task import TaskSpec
from nema_lc_jax.training.warm_start import Source, started_from
from tests.helpers import run, small_config

D = 2
SPEC = TaskSpec(
  "classify", 3, 2, token_names=("", "milk", "ball"), label_names=("a", "b")
)


def params_of(value, *, tokens=3, classes=2):
  """Parameters that are all `value`, but for the rows of tokens."""
  rows = value + np.arange(tokens, dtype=float)[:, None] * np.ones(D)
  return {
    "encoder": {"embedding": {"token": {"embedding": rows}}},
    "policy": {"scale": np.full(D, value)},
    "head": {"bias": np.full(classes, value)},
  }


def source_of(task):
  return Source("runs/first", ConfigDict(), task, fingerprint="abc")


def start(there=SPEC, here=SPEC, fingerprint="", **sizes):
  new = params_of(0.0, **sizes)
  return started_from(source_of(there), params_of(10.0), new, here, fingerprint)


def test_all_is_taken_from_a_run_of_the_same_task():
  found, line = start()
  jax.tree.map(np.testing.assert_array_equal, found, params_of(10.0))
  assert line == "3 of 3 tokens, the head"


def test_tokens_are_matched_by_their_names():
  # The rows beyond the last token are padding of the table.
  names = ("", "apple", "ball", "milk")
  here = dataclasses.replace(SPEC, vocab_size=4, token_names=names)
  found, line = start(here=here, tokens=6)
  rows = found["encoder"]["embedding"]["token"]["embedding"][:, 0]
  assert rows.tolist() == [10.0, 1.0, 12.0, 11.0, 4.0, 5.0]
  assert "3 of 4 tokens" in line


@pytest.mark.parametrize(
  "change",
  [{"label_names": ("a", "c")}, {"num_classes": 3}, {"head": "causal_lm"}],
)
def test_a_head_for_other_labels_is_new(change):
  here = dataclasses.replace(SPEC, **change)
  found, line = start(here=here, classes=here.num_classes)
  assert found["head"]["bias"].tolist() == [0.0] * here.num_classes
  assert found["policy"]["scale"].tolist() == [10.0] * D
  assert "a new head, since the labels differ" in line


def test_labels_without_names_are_the_same_if_the_data_or_bytes_are():
  bare = dataclasses.replace(SPEC, label_names=())
  assert "a new head" in start(bare, bare)[1]
  assert "the head" in start(bare, bare, fingerprint="abc")[1].split(", ")
  nameless = {"label_names": (), "token_names": (), "byte_level": True}
  spec = dataclasses.replace(SPEC, **nameless)
  assert "a new head" in start(spec, spec)[1]
  spec = dataclasses.replace(spec, head="causal_lm")
  assert "the head" in start(spec, spec)[1].split(", ")


@pytest.mark.parametrize(
  ("there", "here", "words"),
  [
    ({}, {"token_names": ("", "<unk>", "sea")}, "share no token"),
    ({}, {"token_names": ()}, "not both have names for them"),
    (
      {"token_names": ()},
      {"token_names": (), "vocab_size": 9},
      "that run has 3 tokens and this one 9",
    ),
  ],
)
def test_tokens_that_cannot_be_matched_are_refused(there, here, words):
  with pytest.raises(ConfigError, match=words):
    start(dataclasses.replace(SPEC, **there), dataclasses.replace(SPEC, **here))


@pytest.mark.parametrize("side", ["there", "here", "shape"])
def test_another_model_is_refused_by_the_first_parameter(side):
  old, new = params_of(10.0), params_of(0.0)
  if side == "shape":
    new["policy"]["scale"] = np.zeros(D + 1)
  else:
    del {"there": old, "here": new}[side]["policy"]["scale"]
  with pytest.raises(ConfigError, match=r"parameter \['policy'\]\['scale'\]"):
    started_from(source_of(SPEC), old, new, SPEC)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
  """The folder of a finished run."""
  folder = tmp_path_factory.mktemp("first") / "run"
  run(small_config(), folder)
  return folder


def config_from(first):
  config = small_config()
  config.seed = 1
  config.train.init_from = str(first)
  return config


class Killed(BaseException):
  """Stands for a kill, which no code can catch."""


def test_a_run_starts_where_another_ended_and_resumes_without_it(
  first, tmp_path, monkeypatch, capsys
):
  fit, save, started = TrainLoop.run, TrainLoop.save, []

  def noting(self):
    started.append(jax.device_get(self.state))
    fit(self)

  monkeypatch.setattr(TrainLoop, "run", noting)
  whole = run(config_from(first), tmp_path / "whole")
  _, best = open_run(first)
  experiment = make_experiment(config_from(first))
  for path, wanted in jax.tree.leaves_with_path(best.params):
    found = started[0].params
    for key in path:
      found = found[key.key]
    rows = experiment.task.vocab_size if "token" in str(path) else None
    # Rows beyond the last token are padding of the table.
    np.testing.assert_array_equal(found[:rows], wanted[:rows])
  # The optimizer starts anew.
  fresh = experiment.init()
  jax.tree.map(
    np.testing.assert_array_equal, started[0].opt_state, fresh.opt_state
  )
  assert f"starting from {first}, step" in capsys.readouterr().out

  def dying(self, step):
    save(self, step)
    raise Killed

  folder, moved = tmp_path / "killed", tmp_path / "moved"
  shutil.copytree(first, moved)
  with monkeypatch.context() as patch:
    patch.setattr(TrainLoop, "save", dying)
    with pytest.raises(Killed):
      train.run(config_from(moved), folder)
  shutil.rmtree(moved)
  resumed = run(config_from(moved), folder)
  assert resumed.params_sha256 == whole.params_sha256
  # To begin anew takes it again.
  with pytest.raises(ConfigError, match="init_from"):
    train.run(config_from(moved), folder, force=True)


def test_a_run_that_is_killed_before_its_first_checkpoint_starts_there_again(
  first, tmp_path, monkeypatch
):
  started = []

  def dying(self):
    started.append(jax.device_get(self.state.params))
    raise Killed

  monkeypatch.setattr(TrainLoop, "run", dying)
  for _ in range(2):
    with pytest.raises(Killed):
      train.run(config_from(first), tmp_path / "run")
  jax.tree.map(np.testing.assert_array_equal, *started)
  fresh = make_experiment(config_from(first)).init().params
  assert not np.array_equal(
    started[1]["decoder"]["out"]["kernel"], fresh["decoder"]["out"]["kernel"]
  )


def test_sharded_parameters_start_from_those_that_are_not(
  first, tmp_path, monkeypatch
):
  monkeypatch.setattr(sharding, "LARGE", 1)
  started = []

  def dying(self):
    started.append(self.state.params)
    raise Killed

  config = config_from(first)
  config.train.fsdp = 2
  monkeypatch.setattr(TrainLoop, "run", dying)
  with pytest.raises(Killed):
    train.run(config, tmp_path / "run")
  kernel = started[0]["decoder"]["out"]["kernel"]
  assert not kernel.sharding.is_fully_replicated
  _, best = open_run(first)
  wanted = best.params["decoder"]["out"]["kernel"]
  np.testing.assert_array_equal(kernel, wanted)


def test_a_run_that_is_not_there_leaves_no_folder(tmp_path):
  config, folder = config_from(tmp_path / "nothing"), tmp_path / "run"
  with pytest.raises(ConfigError, match=r"config\.train\.init_from: .*nothing"):
    train.run(config, folder)
  assert not folder.exists()


@pytest.mark.parametrize(
  ("section", "field", "value"),
  [
    ("model", "width", 16),
    ("model", "query_norm", 3.0),
    ("memory", "policy", "fifo"),
  ],
)
def test_another_model_is_refused_in_one_line(
  section, field, value, first, tmp_path
):
  config = config_from(first)
  config[section][field] = value
  words = rf"init_from.*has another model \(config\.{section}\.{field} is"
  with pytest.raises(ConfigError, match=words) as e:
    train.run(config, tmp_path / "run")
  assert "\n" not in str(e.value)
  assert not (tmp_path / "run").exists()


def test_pretraining_and_another_run_exclude_each_other(first, tmp_path):
  config = config_from(first)
  config.pretrain.steps = 3
  with pytest.raises(ConfigError, match="choose one"):
    train.run(config, tmp_path / "run")
