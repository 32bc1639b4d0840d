import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lifecycle.gather import Gather
from tests.data.texts import text_of

# Token ids: padding, MARK, ASK, 3 attributes, 8 names, then 8 values each.
VALUE = 14


def said(example):
  """(name, attribute, value) in the order of the text."""
  text = text_of(example)
  return [
    (text[i + 1], *divmod(text[i + 2] - VALUE, 8))
    for i, token in enumerate(text)
    if token == 1
  ]


@pytest.fixture(scope="module")
def examples():
  source = data.load("gather").evaluation("test", 128)
  return [source[i] for i in range(400)]


def test_the_newest_value_of_the_asked_attribute_is_the_label(examples):
  for example in examples:
    name, attribute = example["inputs"][-2], example["inputs"][-1] - 3
    values = [v for n, a, v in said(example) if (n, a) == (name, attribute)]
    assert example["label"] == 8 * attribute + values[-1]
    old = {8 * attribute + v for v in values} - {example["label"]}
    assert set(example["stale"][example["stale"] >= 0]) == old
    # Each value differs from the one before.
    assert all(np.diff(values) != 0)


def test_a_statement_updates_the_newest_of_its_entity_and_voids_its_value(
  examples,
):
  for example in examples:
    held, newest = {}, {}
    text = text_of(example)
    for at in np.flatnonzero(np.array(text) == 1):
      name, cell = text[at + 1], (text[at + 1], (text[at + 2] - VALUE) // 8)
      assert example["updates"][at] == newest.get(name, -1)
      assert example["invalidates"][at] == held.get(cell, -1)
      held[cell] = newest[name] = at // 8 * 8


@pytest.mark.parametrize("blocks", [16, 64])
def test_the_limit_without_updates_equals_a_simulation(blocks):
  task = Gather()
  rng, shares = np.random.default_rng(0), []
  for _ in range(3000):
    script = task.write(rng, blocks)
    cells = {
      (item.tokens[1], (item.tokens[2] - VALUE) // 8) for item in script.items
    }
    shares.append(min(1, 4 / len(cells)))
  share = np.mean(shares)
  expected = share + (1 - share) / 8
  assert task.limit_without_updates(blocks, 4) == pytest.approx(
    expected, abs=0.01
  )


def test_questions_may_stand_anywhere():
  source = data.load("gather", ask_rate=0.5).evaluation("test", 256)
  rates = []
  for i in range(50):
    example = source[i]
    text, values = text_of(example), {}
    asked = 0
    for at, token in enumerate(text):
      if token == 1:
        attribute, value = divmod(text[at + 2] - VALUE, 8)
        values.setdefault((text[at + 1], attribute), []).append(value)
      if token == 2:
        attribute = text[at + 2] - 3
        *old, newest = values[text[at + 1], attribute]
        assert example["label"][at + 2] == 8 * attribute + newest
        stale = example["stale"][at + 2]
        expected = {8 * attribute + v for v in old if v != newest}
        assert set(stale[stale >= 0]) == expected
        asked += 1
    assert (example["label"] >= 0).sum() == asked
    assert text[-3] == 2
    rates.append((asked - 1) / 31)
  assert data.load("gather", ask_rate=0.5).limits("test", 256, 4) == {}
  # A quarter of the blocks has no statement; half of them ask.
  assert np.mean(rates) == pytest.approx(0.125, abs=0.02)
