import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import text_of

MARK, ASK, REVOKE = 1, 2, 3
NONE = 8


@pytest.fixture(scope="module")
def examples():
  source = data.load("revoke").evaluation("test", 128)
  return [source[i] for i in range(800)]


def commands(example):
  """(command, key) in the order of the text."""
  text = text_of(example)
  return [
    (token, text[i + 1])
    for i, token in enumerate(text)
    if token in (MARK, REVOKE)
  ]


def test_the_first_three_events_bind_unbind_and_bind(examples):
  for example in examples:
    kinds = [command for command, _ in commands(example)]
    assert kinds[:3] == [MARK, REVOKE, MARK]


def test_both_answers_exist_for_keys_that_were_named(examples):
  nones = np.array([e["label"] == NONE for e in examples])
  assert nones.mean() == pytest.approx(0.4, abs=0.06)
  for example, none in zip(examples, nones, strict=True):
    last = [c for c, key in commands(example) if key == example["inputs"][-1]]
    assert (last[-1] == REVOKE) == none


def test_asked_keys_have_been_revoked_whatever_the_answer(examples):
  """That a key was ever revoked does not tell that it is unbound."""
  revoked = [
    (REVOKE, e["inputs"][-1]) in commands(e)
    for e in examples
    if e["label"] != NONE
  ]
  assert 0.05 < np.mean(revoked) < 0.95


def test_events_fill_the_share_of_blocks_they_should(examples):
  counts = [len(commands(e)) for e in examples]
  assert min(counts) >= 3
  assert np.mean(counts) == pytest.approx(7.5, abs=0.25)


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_none_rate_decides_how_often_none_is_right(rate, share):
  revoke = data.load("revoke", none_rate=rate)
  source = revoke.evaluation("test", 128)
  nones, could = [], []
  for i in range(200):
    bound = {}
    for command, key in commands(source[i]):
      bound[key] = command == MARK
    could.append((any(bound.values()), not all(bound.values())))
    nones.append(source[i]["label"] == NONE)
  # Asked as the rate says wherever that is possible.
  possible = [(n, c) for n, c in zip(nones, could, strict=True) if all(c)]
  assert len(possible) > 100
  assert {float(n) for n, _ in possible} == {share}
  assert revoke.baselines("test", 128)["chance"] == max(rate, (1 - rate) / 8)


def test_a_single_key_at_a_time():
  source = data.load("revoke", num_live=1).evaluation("test", 128)
  for i in range(60):
    kinds = [command for command, _ in commands(source[i])]
    expected = [(MARK, REVOKE)[n % 2] for n in range(len(kinds))]
    assert kinds == expected
