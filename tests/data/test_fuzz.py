"""Damaged files: every loader reads them, or says in one line what is wrong."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nema_lc_jax import data
from nema_lc_jax.data.lra import cifar10
from tests.data.lra import (
  test_aan,
  test_cifar10,
  test_imdb,
  test_listops,
  test_pathfinder,
)
from tests.data.text import test_babi

HOSTILE = (
  b"", b"\0", b"\n", b"\t", b"\r\n", b"\xff\xfe", b'"', b"nan", b"-1", b"1e999",
  b"99999999999999999999", b"../../x", b"{", b"]", b"[MAX", b"\xc2\x85",
)  # fmt: skip


def _rows(folder, name, text):
  (folder / name).write_text(text)


def _npz(folder):
  rng = np.random.default_rng(0)
  np.savez(
    folder / "a.npz",
    inputs=rng.integers(9, size=(12, 4)),
    labels=np.arange(12) % 3,
    mask=np.ones((12, 4), bool),
  )


def _cifar(folder):
  labels, images = test_cifar10.batches()
  test_cifar10.write(folder, labels, images)


QUESTIONS = '{"document": "a b", "question": "c?", "answer": "d"}\n' * 10
# What writes good files, and what loads them.
SOURCES = {
  "aan": (test_aan.write, {"length": 8}),
  "babi": (test_babi.write, {"length": 24, "sentence_length": 6}),
  "cifar10": (_cifar, {"length": 1024}),
  "imdb": (test_imdb.write, {"length": 8, "num_eval": 4}),
  "listops": (test_listops.write, {"length": 16}),
  "pathfinder": (test_pathfinder.write, {"length": 1024}),
  "npz": (_npz, {}),
  "tsv": (lambda f: _rows(f, "a.tsv", "yes\tone\nno\ttwo\n" * 10), {}),
  "jsonl": (lambda f: _rows(f, "a.jsonl", QUESTIONS), {}),
}


@st.composite
def damage(draw):
  """A change to a file's bytes: cut, overwrite, insert, repeat or remove."""
  at, length = draw(st.floats(0, 1)), draw(st.integers(0, 40))
  new = draw(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=12)))
  kind = draw(st.sampled_from(("cut", "over", "insert", "repeat", "remove")))

  def apply(content):
    start = int(at * len(content))
    before, after = content[:start], content[start:]
    return {
      "cut": before,
      "over": before + new + after[len(new) :],
      "insert": before + new + after,
      "repeat": before + after[:length] + after,
      "remove": before + after[length:],
    }[kind]

  return apply


def load(name, folder):
  options = SOURCES[name][1]
  if name in ("npz", "tsv", "jsonl"):
    return data.load("file", path=str(folder / f"a.{name}"), **options)
  return data.load(name, dir=str(folder), **options)


def read_all(dataset, length):
  for split in ("train", "validation", "test"):
    examples = dataset.evaluation(split, length)
    for i in range(len(examples)):
      row = examples[i]
      for key in ("inputs", "inputs2"):
        if key in row:
          assert row[key].shape == (length,)
          assert row[key].min() >= 0
          assert row[key].max() < dataset.vocab_size
      assert row["label"].max() < dataset.num_classes
      assert row["label"].min() >= -1


def outcome(name, folder):
  """What comes of reading everything: "fine", or why it is refused."""
  try:
    dataset = load(name, folder)
    read_all(dataset, SOURCES[name][1].get("length", 8))
  except data.DataError as error:
    return str(error)
  return "fine"


@pytest.mark.parametrize("name", SOURCES)
@settings(
  max_examples=25,
  deadline=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(damage(), min_size=1, max_size=3), which=st.integers(0))
def test_a_damaged_file_is_read_or_refused_in_one_line(
  name, changes, which, monkeypatch
):
  monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", test_cifar10.PER_FILE)
  with tempfile.TemporaryDirectory() as place:
    folder = Path(place) / "in"
    folder.mkdir()
    SOURCES[name][0](folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    path = files[which % len(files)]
    content = path.read_bytes()
    for change in changes:
      content = change(content)
    path.write_bytes(content)
    message = outcome(name, folder)
    assert message
    assert "\n" not in message
    # Nothing was written where the files are, or beside them.
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == files
    assert [p.name for p in Path(place).iterdir()] == ["in"]
