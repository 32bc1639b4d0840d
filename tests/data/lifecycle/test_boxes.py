import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lifecycle.boxes import Boxes
from tests.data.texts import BLOCK, block_of, text_of

# Token ids: padding, ASK, PUT, MOVE, REMOVE, 4 boxes, 8 objects, noise.
ASK, PUT, MOVE, REMOVE, BOX, THING = 1, 2, 3, 4, 5, 9


def read(text):
  """What each token means: answers, sources, updates, voids, facts, stale."""
  place, answers, past = {}, {}, {}
  facts, sources, updates, voids, stale = set(), {}, {}, {}, {}
  contents = lambda box: frozenset(o for o, (b, _) in place.items() if b == box)
  for i, token in enumerate(text):
    if token == ASK:
      box = text[i + 1]
      answers[i + 1] = {o - THING for o in contents(box)}
      sources[i + 1] = max([n for b, n in place.values() if b == box] + [-1])
      stale[i + 1] = past.get(box, {frozenset()}) - {contents(box)}
    if token not in (PUT, MOVE, REMOVE):
      continue
    thing = text[i + 1]
    if token == PUT:
      assert thing not in place
    else:
      assert place[thing][0] == text[i + 2]
      voids[i] = place.pop(thing)[1]
    if token != REMOVE:
      place[thing] = text[i + 2 + (token == MOVE)], block_of(i)
      facts.add(i)
    updates[i] = voids.get(i, -1)
    for box in range(BOX, BOX + 4):
      past.setdefault(box, {frozenset()}).add(contents(box))
      assert len(contents(box)) <= 2
    assert 1 <= len(place) <= 4
  return answers, sources, facts, updates, voids, stale


@pytest.mark.parametrize("times", [1, 4])
def test_all_that_is_marked_is_what_the_text_says(times):
  source = data.load("boxes").evaluation("test", 128 * times)
  sets = Boxes().sets
  for i in range(100):
    example = source[i]
    answers, sources, facts, updates, voids, stale = read(text_of(example))
    (asked,) = np.nonzero(example["label"] >= 0)
    assert set(asked) == set(answers)
    assert asked[-1] == len(example["label"]) - 1
    for at in asked:
      assert set(sets[example["label"][at]]) == answers[at]
      assert example["answer_position"][at] == sources[at]
      old = example["stale"][at]
      found = {frozenset(o + 9 for o in sets[x]) for x in old[old >= 0]}
      assert found == stale[at]
    marked = example["ground_truth"].reshape(-1, BLOCK).max(1) > 0
    assert set(np.flatnonzero(marked)) == {f // BLOCK for f in facts}
    for at in updates:
      assert example["updates"][at] == updates[at]
    (void,) = np.nonzero(example["invalidates"] >= 0)
    assert set(void // BLOCK) == {v // BLOCK for v in voids}
    for at, block in voids.items():
      assert example["invalidates"][at] == block


def test_no_constant_answer_is_better_than_chance():
  dataset = data.load("boxes")
  source = dataset.evaluation("test", 128)
  labels = np.concatenate([source[i]["label"] for i in range(600)])
  shares = np.bincount(labels[labels >= 0], minlength=37) / (labels >= 0).sum()
  assert dataset.num_classes == len(shares) == len(dataset.label_names)
  assert shares.max() == shares[0] == pytest.approx(0.25, abs=0.03)
  chance = dataset.baselines("test", 128)["chance"]
  assert chance == pytest.approx(0.25, abs=0.03)
  assert dataset.label_names[0] == "empty"
  assert dataset.label_names[-1] == "k6 k7"


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"num_live": 9, "num_boxes": 8}, "num_live 9 is above num_keys 8"),
    ({"num_live": 7}, "num_live 7 is above (num_boxes - 1) * capacity = 6"),
    ({"num_boxes": 1}, "num_boxes must be an integer of at least 2, got 1"),
    ({"event_rate": 0.9}, "event_rate 0.9 and ask_rate 0.25 are above 1"),
    ({"empty_rate": -1}, "empty_rate must be in [0, 1], got -1"),
    ({"num_keys": 99, "capacity": 3}, "make 161800 sets; at most 1000"),
    ({"capacity": 9}, "capacity must be an integer of at most 8, got 9"),
    ({"block": 3}, "block must be an integer of at least 4, got 3"),
  ],
)
def test_errors_name_the_options(options, message, error_of):
  assert message in error_of(data.load, "boxes", **options)


@pytest.mark.parametrize(
  "options",
  [
    {"num_boxes": 2, "capacity": 2, "num_live": 2},
    {"num_boxes": 2, "capacity": 1, "num_live": 1, "num_keys": 1},
    {"num_boxes": 4, "capacity": 8, "num_live": 8},
    {"event_rate": 0, "ask_rate": 1},
    {"event_rate": 1, "ask_rate": 0, "empty_rate": 1},
  ],
)
def test_options_at_their_bounds_make_texts(options):
  task = data.load("boxes", **options)
  train = task.train(128, 0)
  for i in range(100):
    labels = train[i]["label"]
    assert labels[-1] >= 0
    assert labels.max() < task.num_classes
