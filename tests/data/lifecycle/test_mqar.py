"""MQAR and its forgetting variant: questions at every key that comes again."""

import numpy as np
import pytest

from nema_lc_jax import data
from tests.data.texts import most_held

P, VOCAB, HALF = 8, 64, 32  # keys 1..31, values 32..63, noise from 64
TASKS = ("mqar", "forgetting_mqar")
every_task = pytest.mark.parametrize("task", TASKS)


def load(task, **options):
  if task == "forgetting_mqar":
    options.setdefault("num_rebound", min(4, options.get("num_pairs", P)))
  return data.load(task, **({"pair_vocab": VOCAB} | options))


@pytest.fixture(scope="module")
def examples():
  sources = {task: load(task).evaluation("test", 64) for task in TASKS}
  return {task: [s[i] for i in range(500)] for task, s in sources.items()}


def read(text):
  """All that a text of cells [key, value], [key, noise], noise says.

  Returns:
    label, source and stale by position of the question; what became void by
    token of the new pair or of the question, after which it is of no use; and
    the positions of all pairs.
  """
  known, first, label, source, stale, invalidates, pairs = (
    {},
    {},
    {},
    {},
    {},
    {},
    [],
  )
  for at in range(0, len(text), 2):
    key, value = text[at], text[at + 1]
    if not 1 <= key < HALF:
      assert key >= VOCAB
      assert value >= VOCAB
      continue
    if HALF <= value < VOCAB:
      if key in known:
        invalidates[at] = invalidates[at + 1] = known[key][1]
        first[key] = known[key][0]
      known[key] = value - HALF, at
      pairs.append(at)
    else:
      assert value >= VOCAB
      label[at], source[at] = known[key]
      invalidates[at] = source[at]
      if key in first:
        stale[at] = first[key]
  return label, source, stale, invalidates, pairs


def sparse(array):
  return {int(i): int(array[i]) for i in np.flatnonzero(array >= 0)}


def assert_reads_right(example):
  text = example["inputs"].tolist()
  label, source, stale, invalidates, pairs = read(text)
  assert sparse(example["label"]) == label
  assert sparse(example["answer_position"]) == source
  assert sparse(example["stale"][:, 0]) == stale
  assert sparse(example["invalidates"]) == invalidates
  truth = np.zeros(len(text), int)
  for at in pairs:
    truth[at : at + 2] = 2 if at in source.values() else 1
  np.testing.assert_array_equal(example["ground_truth"], truth)
  assert example["mask"].all()


def test_the_reader_reads_a_text_by_hand():
  text = [5, 40, 6, 41, 70, 71, 6, 65, 5, 33, 5, 66]
  label, source, stale, invalidates, pairs = read(text)
  assert label == {6: 41 - 32, 10: 33 - 32}
  assert source == {6: 2, 10: 8}
  assert stale == {10: 40 - 32}
  assert invalidates == {6: 2, 8: 0, 9: 0, 10: 8}
  assert pairs == [0, 2, 8]


@every_task
def test_all_that_is_marked_is_what_the_text_says(task, examples):
  for example in examples[task]:
    assert_reads_right(example)


@every_task
@pytest.mark.parametrize(("times", "num"), [(4, 40), (64, 5)])
def test_longer_texts_say_as_clearly_what_is_asked(task, times, num):
  source = load(task).evaluation("test", 64 * times)
  for i in range(num):
    assert_reads_right(source[i])
    assert most_held(source[i], width=2) == P


@every_task
def test_following_the_truth_needs_a_slot_per_pair(task, examples):
  assert {most_held(e, width=2) for e in examples[task]} == {P}


@every_task
def test_each_key_is_asked_for_exactly_once(task, examples):
  for example in examples[task]:
    text = example["inputs"]
    keys = text[: 2 * P : 2]
    asked = text[example["label"] >= 0]
    assert sorted(keys) == sorted(asked)
    assert len(set(keys)) == P
    assert keys.min() >= 1
    assert keys.max() < HALF
    values = text[1 : 2 * P : 2]
    assert len(set(values)) == P
    assert values.min() >= HALF
    assert values.max() < VOCAB


@every_task
def test_one_who_knows_the_source_knows_the_answer(task, examples):
  for example in examples[task]:
    asked = example["label"] >= 0
    values = example["inputs"][example["answer_position"][asked] + 1]
    np.testing.assert_array_equal(values - HALF, example["label"][asked])


@every_task
def test_labels_are_uniform(task, examples):
  labels = np.concatenate([e["label"][e["label"] >= 0] for e in examples[task]])
  share = np.bincount(labels, minlength=HALF) / len(labels)
  assert share == pytest.approx(np.full(HALF, 1 / HALF), abs=0.012)
  dataset = load(task)
  assert dataset.num_classes == HALF
  assert dataset.vocab_size == VOCAB + 16
  assert dataset.head == "causal_lm"
  assert dataset.baselines("test", 64) == {
    "chance": 1 / HALF,
    "best_possible": 1.0,
  }


def test_forgetting_asks_for_the_newest_value(examples):
  rebound = []
  for example in examples["forgetting_mqar"]:
    text = example["inputs"]
    oldest = dict(zip(text[: 2 * P : 2], text[1 : 2 * P : 2], strict=True))
    for at in np.flatnonzero(example["stale"][:, 0] >= 0):
      old = oldest[text[at]] - HALF
      assert example["stale"][at, 0] == old
      assert example["label"][at] != old
    rebound.append(int((example["stale"] >= 0).sum()))
  assert max(rebound) == 4
  assert np.mean(rebound) > 2
  for example in examples["mqar"]:
    assert (example["stale"] == -1).all()
    np.testing.assert_array_equal(
      example["invalidates"], example["answer_position"]
    )


def test_no_key_bound_anew_is_plain_mqar(equal):
  plain = load("mqar").evaluation("test", 64)
  same = load("forgetting_mqar", num_rebound=0).evaluation("test", 64)
  assert all(equal(plain[i], same[i]) for i in range(20))


@pytest.mark.parametrize("power", [0.01, 1.0])
def test_gaps_follow_the_power_law(power):
  # With a single pair the law is exact: cell g has the weight g^(a-1).
  source = load("mqar", num_pairs=1, power=power).evaluation("test", 402)
  cells = [
    (int(np.flatnonzero(source[i]["label"] >= 0)[0]) - 2) // 2 + 1
    for i in range(2000)
  ]
  weights = np.arange(1, 201) ** (power - 1)
  for upto in (1, 5, 20, 100):
    expected = weights[:upto].sum() / weights.sum()
    share = np.mean(np.array(cells) <= upto)
    assert share == pytest.approx(expected, abs=0.035), upto
  assert (np.median(cells) < 20) == (power == 0.01)


def test_small_gaps_are_common_among_many_pairs_too():
  shares = {}
  for power in (0.01, 1.0):
    source = load("mqar", power=power).evaluation("test", 256)
    asked = [np.flatnonzero(source[i]["label"] >= 0) for i in range(200)]
    near = np.concatenate(asked) < 2 * P + (256 - 2 * P) // 4
    shares[power] = near.mean()
  assert shares[1.0] == pytest.approx(0.25, abs=0.05)
  assert shares[0.01] > 0.5


@every_task
@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"length": 63}, "an even length of at least 32, 4 per pair; got 63"),
    ({"length": 30}, "an even length of at least 32, 4 per pair; got 30"),
    ({"num_pairs": 0}, "num_pairs must be an integer of at least 1, got 0"),
    ({"pair_vocab": 16}, "pair_vocab 16 must be at least 18, for 8 keys"),
    (
      {"pair_vocab": 3, "num_pairs": 1},
      "pair_vocab must be an integer of at least 4, got 3",
    ),
    ({"noise_vocab": 0}, "noise_vocab must be an integer of at least 1, got 0"),
    ({"pair_vocab": 64.5}, "pair_vocab must be an integer of at least "),
    ({"power": float("nan")}, "power must be "),
    ({"power": "x"}, "power must be "),
    ({"num_eval": 0}, "num_eval must be an integer of at least 1, got 0"),
    ({"num_keys": 3}, "unknown option 'num_keys' of data set"),
  ],
)
def test_errors_name_the_option(task, options, message, error_of):
  assert message in error_of(load, task, **options)


@pytest.mark.parametrize(
  ("rebound", "message"),
  [
    (9, "num_rebound 9 is above num_pairs 8"),
    (-1, "num_rebound must be an integer of at least 0, got -1"),
  ],
)
def test_errors_name_num_rebound(rebound, message, error_of):
  found = error_of(load, "forgetting_mqar", num_rebound=rebound)
  assert message in found


@every_task
def test_the_least_vocabulary_and_length_will_do(task):
  source = load(task, pair_vocab=18).evaluation("test", 32)
  text = source[0]["inputs"]
  assert sorted(text[0:16:2]) == list(range(1, 9))  # every key there is
  assert (source[0]["label"] >= 0).sum() == 8
