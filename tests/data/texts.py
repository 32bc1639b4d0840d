"""Every task once more, from the grammar of its text alone.

Each reader goes through the tokens from left to right with dicts and lists, and
says what the answer is, where it stands, what became void and what was right
once. It shares nothing with the generators but the grammar in their docstrings.
"""

from typing import NamedTuple

import numpy as np

BLOCK = 8
VALUES = 8
# Ids by task with the default options: first key, first value, first noise.
IDS = {
  "recall": (3, 11, 19),
  "rebind": (3, 11, 19),
  "revoke": (4, 12, 20),
  "pressure": (6, 14, 22),
  "delayed_qa": (3, 3, 13),
}
FACTS = tuple(IDS)
# The most facts that are alive at a time.
LIVE = {"recall": 3, "rebind": 3, "revoke": 3, "pressure": 4, "delayed_qa": 1}


class Reading(NamedTuple):
  """What a text says, to one who reads it once."""

  label: int
  # Block starts: of the facts worth keeping, of the one that answers, and of
  # what each item that stands at a token makes void.
  worth: list[int]
  source: int  # -1: none
  invalidates: dict[int, int]  # token: block start
  stale: set[int]


def block_of(position):
  return position // BLOCK * BLOCK


def recall(text):
  known = {
    text[i + 1]: (text[i + 2] - 11, i) for i, x in enumerate(text) if x == 1
  }
  assert text[-2] == 2
  value, at = known[text[-1]]
  worth = [block_of(i) for _, i in known.values()]
  return Reading(value, worth, block_of(at), {}, set())


def rebind(text):
  history, worth, invalidates = {}, [], {}
  for i, token in enumerate(text):
    if token != 1:
      continue
    key, value = text[i + 1], text[i + 2] - 11
    if key in history:
      invalidates |= dict.fromkeys(
        range(i, i + 3), block_of(history[key][-1][1])
      )
    history.setdefault(key, []).append((value, i))
    worth.append(block_of(i))
  assert text[-2] == 2
  *earlier, (label, at) = history[text[-1]]
  stale = {value for value, _ in earlier} - {label}
  return Reading(label, worth, block_of(at), invalidates, stale)


def revoke(text):
  bound, gone, worth, invalidates = {}, {}, [], {}
  for i, token in enumerate(text):
    if token == 1:
      assert text[i + 1] not in bound
      bound[text[i + 1]] = text[i + 2] - 12, i
      worth.append(block_of(i))
    elif token == 3:
      value, at = bound.pop(text[i + 1])
      gone.setdefault(text[i + 1], set()).add(value)
      invalidates |= dict.fromkeys(range(i, i + 2), block_of(at))
  assert text[-2] == 2
  key = text[-1]
  assert key in bound or key in gone
  label, at = bound.get(key, (VALUES, -1))
  source = block_of(at) if at >= 0 else -1
  return Reading(
    label, worth, source, invalidates, gone.get(key, set()) - {label}
  )


def pressure(text, kept=4):
  # The order anew from all facts so far: (priority, position), the best first.
  facts, worth, invalidates, top = [], [], {}, []
  for i, token in enumerate(text):
    if not 2 <= token <= 5:
      continue
    facts.append((token, i))
    before, top = top, sorted(facts, reverse=True)[:kept]
    if (token, i) not in top:
      continue
    worth.append(block_of(i))
    for _, at in set(before) - set(top):
      invalidates |= dict.fromkeys(range(i, i + 3), block_of(at))
  assert text[-2] == 1
  (at,) = (i for _, i in top if text[i + 1] == text[-1])
  return Reading(text[at + 2] - 14, worth, block_of(at), invalidates, set())


def delayed_qa(text):
  (at,) = (i for i, token in enumerate(text) if token == 1)
  assert text[-1] == 2
  label = text[at + 1] - 3
  return Reading(label, [block_of(at)], block_of(at), {}, set())


READERS = {
  "recall": recall,
  "rebind": rebind,
  "revoke": revoke,
  "pressure": pressure,
  "delayed_qa": delayed_qa,
}


def text_of(example):
  """The tokens of an example without its padding, as Python integers."""
  size = int(example["mask"].sum())
  assert example["mask"][:size].all()
  assert not example["inputs"][size:].any()
  assert (example["inputs"][:size] > 0).all()
  return example["inputs"][:size].tolist()


def assert_reads_as(example, reading, asking=2):
  """Every field of an example is what its text says.

  Args:
    example: of a task about facts.
    reading: of its text.
    asking: tokens of the question.
  """
  length, size = len(example["inputs"]), int(example["mask"].sum())
  assert example["label"] == reading.label
  blocks = example["ground_truth"].reshape(-1, BLOCK).max(1)
  expected = {b // BLOCK: 1 for b in reading.worth}
  if reading.source >= 0:
    expected[reading.source // BLOCK] = 2
  found = {b: int(blocks[b]) for b in np.flatnonzero(blocks)}
  assert found == expected
  invalidates = np.full(length, -1)
  for token, block in reading.invalidates.items():
    invalidates[token] = block
  np.testing.assert_array_equal(example["invalidates"], invalidates)
  source = np.full(length, -1)
  source[size - asking : size] = reading.source
  np.testing.assert_array_equal(example["answer_position"], source)
  stale = example["stale"]
  assert set(stale[stale >= 0].tolist()) == reading.stale
  assert (stale >= 0).sum() == len(reading.stale)


def most_held(example, width=BLOCK):
  """The most facts that one who follows the ground truth ever holds.

  Asserts that what becomes void was held, and that each question's fact is.
  """
  held, most = set(), 0
  cells = {
    n: example[n].reshape(-1, width) for n in ("ground_truth", "invalidates")
  }
  sources = example["answer_position"].reshape(-1, width)
  for n in range(len(sources)):
    for source in set(sources[n].tolist()) - {-1}:
      assert source in held
    (void,) = set(cells["invalidates"][n].tolist()) - {-1} or {-1}
    if void >= 0:
      held.remove(void)
    if cells["ground_truth"][n].any():
      held.add(n * width)
    most = max(most, len(held))
  return most
