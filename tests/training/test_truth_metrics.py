"""Metrics against the truth: a plain loop over steps, and tables by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.memory import GroundTruth, scan_chunks
from nema_lc_jax.memory.types import Allocation, StepOutput
from nema_lc_jax.training import losses, truth
from tests.memory.streams import M, empty, lively, make_chunks, policy_of

TEXTS, STEPS = 24, 14
NAMES = (
  "write_precision",
  "write_recall",
  "update_precision",
  "update_recall",
  "premature_forget_rate",
)


def random_chunks(seed):
  """Texts [B, N] with facts, some of them voided, and padding at the end.

  Some facts are about the same thing as an earlier chunk.
  """
  rng = np.random.default_rng(seed)
  shape = TEXTS, STEPS
  chunks = make_chunks(seed, num=STEPS, lead=(TEXTS,))
  sizes = rng.integers(2, STEPS + 1, TEXTS)
  text = np.arange(STEPS) < sizes[:, None]
  fact = rng.integers(0, 3, shape) * text
  fact[np.arange(TEXTS), sizes - 1] = 0  # the last chunk asks
  # How long ago: at most to the first chunk, and 0 often.
  ago = rng.integers(0, np.arange(STEPS) + 1, shape)
  invalidates = ago * (rng.random(shape) < 0.5) * text
  updates = rng.integers(0, np.arange(STEPS) + 1, shape) * text
  return chunks.replace(
    valid=chunks.valid & text[..., None],
    ground_truth=GroundTruth(
      fact=jnp.asarray(fact, jnp.int32),
      invalidates=jnp.asarray(invalidates, jnp.int32),
      updates=jnp.asarray(updates, jnp.int32),
    ),
  )


def run(name, seed, budget=2, carried=False):
  """Step outputs [B, N, ...] of a policy that does all it can.

  `carried`: from the memories that other texts have left.
  """
  scan = jax.jit(
    jax.vmap(
      lambda state, chunks, key: scan_chunks(
        lively(name), key, state, chunks, policy=policy_of(name), budget=budget
      )
    )
  )
  keys = jax.random.split(jax.random.key(seed), TEXTS)
  state = jax.tree.map(lambda x: jnp.stack([x] * TEXTS), empty())
  if carried:
    state, _ = scan(state, random_chunks(seed + 1), keys)
  return scan(state, random_chunks(seed), keys)[1]


def held_after(steps):
  """For each step of one text [N, ...]: slot to the chunks that it holds."""
  slots = {int(m): [] for m in np.flatnonzero(steps.strength[0] > 0)}
  history = []
  for n in range(len(steps.active)):
    done = jax.tree.map(lambda x, n=n: x[n].tolist(), steps.allocation)
    for m, source in enumerate(done.source):
      if not steps.active[n]:
        break
      if done.forget[m]:
        slots.pop(m)
      if source >= 0:
        slots[m] = [n]
      if done.update_source[m] >= 0:
        slots[m] = [*slots[m], n]
    history.append(dict(slots))
  return history


def expected_sums(steps):
  """(sum, count) of each metric over all texts, from the definition."""
  sums = {name: [0, 0] for name in NAMES}

  def count(name, hit, of=1):
    sums[name][0] += hit
    sums[name][1] += of

  for b in range(len(steps.active)):
    text = jax.tree.map(lambda x, b=b: np.asarray(x[b]), steps)
    history = held_after(text)
    last = max(n for n in range(len(history)) if text.active[n])
    for n in range(last):  # What the last chunk stores, nothing reads.
      fact, writes = text.ground_truth.fact[n] > 0, int(text.writes[n])
      count("write_precision", writes * fact, writes)
      before = history[n - 1] if n else {}
      ago = int(text.ground_truth.updates[n])
      # The slots that hold the newest fact about the same thing.
      known = {m for m, held in before.items() if ago and n - ago in held}
      updated = {*np.flatnonzero(text.allocation.update_source[n] >= 0)}
      count("update_precision", len(updated & known), len(updated))
      if fact and known:
        count("update_recall", bool(updated & known))
      if not fact:
        continue
      holds = [any(n in held for held in now.values()) for now in history]
      count("write_recall", holds[n])
      if holds[n]:
        voiding = [
          v
          for v in range(n + 1, last + 1)
          if text.ground_truth.invalidates[v]
          and v - text.ground_truth.invalidates[v] == n
        ]
        # In the chunk that makes it void, or asks, it must be there to be read.
        use = min([*voiding, last])
        lost = not all(holds[n:use])
        count("premature_forget_rate", lost)
  return sums


@pytest.mark.parametrize(
  ("name", "carried"),
  [
    ("fifo", False),
    ("lru", False),
    ("random", False),
    ("oracle", False),
    ("learned", False),
    ("learned", True),
    ("write_gate", False),
  ],
)
def test_sums_equal_a_loop_over_random_streams(name, carried):
  steps = run(name, seed=3, carried=carried)
  assert steps.alive[:, 0].any() == carried
  found = truth.truth_sums(steps)
  assert set(found) == set(NAMES)
  expected = expected_sums(steps)
  for metric in NAMES:
    assert [float(x) for x in found[metric]] == expected[metric], metric
  assert expected["write_recall"][1] > 50
  assert expected["premature_forget_rate"][1] > 20
  if name in ("oracle", "learned"):
    assert steps.updates.sum() > 20
    right, updates = expected["update_precision"]
    assert right == updates if name == "oracle" else 0 < right < updates
    assert expected["update_recall"][0] > 0
  if name == "learned":
    assert steps.forgets.sum() > 10
  if name in ("fifo", "lru", "random"):
    assert expected["premature_forget_rate"][0] > 10


def test_contents_equal_a_loop_over_random_streams():
  steps = run("learned", seed=4)
  assert steps.updates.sum() > 20
  for b in range(TEXTS):
    text = jax.tree.map(lambda x, b=b: x[b], steps)
    contents = truth.slot_contents(text)
    for t, slots in enumerate(held_after(text)):
      born = [slots[m][0] if m in slots else -1 for m in range(M)]
      assert contents.born[t].tolist() == born
      held = contents.held(np.arange(STEPS), np.full(STEPS, t))
      expected = [
        [n in slots.get(m, ()) for m in range(M)] for n in range(STEPS)
      ]
      assert held.tolist() == expected


def test_no_policy_that_writes_nothing_has_a_recall():
  sums = truth.truth_sums(run("none", seed=5))
  assert float(sums["write_recall"][0]) == 0
  assert float(sums["write_recall"][1]) > 50
  assert [float(x) for x in sums["write_precision"]] == [0, 0]
  assert [float(x) for x in sums["premature_forget_rate"]] == [0, 0]


# By hand.


def table(rows, facts, invalidates, updates=None, active=None):
  """One text of 2 slots from (what is done to slot 0, to slot 1) per step.

  "w" write, "e" write that replaces, "u" update, "f" forget, "." nothing.
  """
  N = len(rows)
  rows = [row.ljust(2, ".") for row in rows]
  of = lambda kinds: np.array([[c in kinds for c in row] for row in rows])
  active = np.ones(N, bool) if active is None else np.array(active)
  live, occupied, kept = np.zeros(2, bool), [], []
  for n, row in enumerate(rows):
    occupied.append(live.copy())
    kept.append([live[m] and row[m] in ".u" for m in range(2)])
    live = np.array(
      [row[m] in "we" or (live[m] and row[m] != "f") for m in range(2)]
    )
    assert active[n] or row == ".."
  steps = StepOutput(
    read=None,
    writes=of("we").sum(1),
    updates=of("u").sum(1),
    forgets=of("f").sum(1),
    evictions=of("e").sum(1),
    active=active,
    attention=None,
    action_probs=None,
    write_strength=None,
    stored=None,
    candidates=None,
    kept=np.array(kept),
    allocation=Allocation(
      update_source=np.where(of("u"), 0, -1),
      forget=of("f"),
      source=np.where(of("we"), 0, -1),
      evict=of("e"),
    ),
    age=None,
    usage=None,
    strength=np.array(occupied, np.float32),
    ground_truth=GroundTruth(
      fact=np.array(facts),
      invalidates=np.array(invalidates),
      updates=np.array(updates or [0] * N),
    ),
  )
  return jax.tree.map(lambda x: jnp.asarray(x)[None], steps)


HAND = {
  "everything held to the end": (
    ["w", ".w", ".."], [1, 2, 0], [0, 0, 0],
    [[0, -1], [0, 1], [0, 1]], (2, 2), (2, 2), (0, 2),
  ),
  "noise written: precision, not recall": (
    ["w", ".w", ".."], [0, 1, 0], [0, 0, 0],
    [[0, -1], [0, 1], [0, 1]], (1, 2), (1, 1), (0, 1),
  ),
  "a fact that is not written": (
    ["w", "..", ".."], [1, 1, 0], [0, 0, 0],
    [[0, -1], [0, -1], [0, -1]], (1, 1), (1, 2), (0, 1),
  ),
  # The fact of chunk 0 is replaced in chunk 1, and asked for in chunk 2.
  "evicted too soon": (
    ["w", "e", ".."], [1, 1, 0], [0, 0, 0],
    [[0, -1], [1, -1], [1, -1]], (2, 2), (2, 2), (1, 2),
  ),
  # The same, but it is void from chunk 1 on: to replace it there is right.
  "evicted when void": (
    ["w", "e", ".."], [1, 1, 0], [0, 1, 0],
    [[0, -1], [1, -1], [1, -1]], (2, 2), (2, 2), (0, 2),
  ),
  # Void in chunk 2 only: it was lost before.
  "evicted before it is void": (
    ["w", "e", "..", ".."], [1, 1, 0, 0], [0, 0, 2, 0],
    [[0, -1], [1, -1], [1, -1], [1, -1]], (2, 2), (2, 2), (1, 2),
  ),
  "forgotten too soon": (
    ["w", "f", ".."], [1, 0, 0], [0, 0, 0],
    [[0, -1], [-1, -1], [-1, -1]], (1, 1), (1, 1), (1, 1),
  ),
  "forgotten after it is void": (
    ["w", "..", "f", ".."], [1, 0, 0, 0], [0, 1, 0, 0],
    [[0, -1], [0, -1], [-1, -1], [-1, -1]], (1, 1), (1, 1), (0, 1),
  ),
  # An updated slot holds both chunks.
  "updated": (
    ["w", "u", ".."], [1, 1, 0], [0, 0, 0],
    [[0, -1], [0, -1], [0, -1]], (1, 1), (2, 2), (0, 2),
  ),
  "updated, then evicted": (
    ["w", "u", "e", ".."], [1, 1, 1, 0], [0, 0, 0, 0],
    [[0, -1], [0, -1], [2, -1], [2, -1]], (2, 2), (3, 3), (2, 3),
  ),
  "updated after both chunks are void": (
    ["w", "u", "u", ".."], [1, 1, 1, 0], [0, 1, 1, 0],
    [[0, -1], [0, -1], [0, -1], [0, -1]], (1, 1), (3, 3), (0, 3),
  ),
  # In the chunk that asks nothing is needed any more, and no write is wrong.
  "replaced by the question": (
    ["w", "..", "e"], [1, 0, 0], [0, 0, 0],
    [[0, -1], [0, -1], [2, -1]], (1, 1), (1, 1), (0, 1),
  ),
}  # fmt: skip


@pytest.mark.parametrize("case", HAND)
@pytest.mark.parametrize("padding", [0, 2])
def test_truth_sums_equal_a_table_by_hand(case, padding):
  rows, facts, invalidates, born, precision, recall, premature = HAND[case]
  N = len(rows)
  steps = table(
    rows + [".."] * padding,
    facts + [0] * padding,
    invalidates + [0] * padding,
    active=[True] * N + [False] * padding,
  )
  contents = truth.slot_contents(jax.tree.map(lambda x: x[0], steps))
  assert contents.born.tolist() == born + [born[-1]] * padding
  sums = truth.truth_sums(steps)
  found = {k: tuple(float(x) for x in v) for k, v in sums.items()}
  updates = sum(row.count("u") for row in rows)
  assert found == {
    "write_precision": precision,
    "write_recall": recall,
    "update_precision": (0, updates),
    "update_recall": (0, 0),
    "premature_forget_rate": premature,
  }


@pytest.mark.parametrize(
  ("rows", "updates", "precision", "recall"),
  [
    # Slot 0 holds chunk 0, slot 1 chunk 1.
    (["w", ".w", "u", ".."], [0, 0, 2, 0], (1, 1), (1, 1)),
    (["w", ".w", ".u", ".."], [0, 0, 2, 0], (0, 1), (0, 1)),
    (["w", ".w", "..", ".."], [0, 0, 1, 0], (0, 0), (0, 1)),
    # Chunk 2 is the newest about the thing, and in the same slot.
    (["w", ".w", "u", "u", ".."], [0, 0, 2, 1, 0], (2, 2), (2, 2)),
    # The slot was written anew: it does not hold chunk 0 any more.
    (["w", "e", "u", ".."], [0, 0, 2, 0], (0, 1), (0, 0)),
    # In the last chunk nothing counts.
    (["w", ".w", "u"], [0, 0, 2], (0, 0), (0, 0)),
  ],
)
def test_updates_are_right_if_their_slot_holds_the_fact(
  rows, updates, precision, recall
):
  N = len(rows)
  steps = table(rows, [1] * N, [0] * N, updates)
  sums = truth.truth_sums(steps)
  assert tuple(map(float, sums["update_precision"])) == precision
  assert tuple(map(float, sums["update_recall"])) == recall


def test_what_revokes_a_fact_may_update_it_but_need_not():
  sums = truth.truth_sums(
    table(["w", "u", "."], [1, 0, 0], [0, 1, 0], [0, 1, 0])
  )
  assert tuple(map(float, sums["update_precision"])) == (1, 1)
  assert tuple(map(float, sums["update_recall"])) == (0, 0)


@pytest.mark.parametrize(
  ("rows", "facts", "held"),
  [
    (["w", ".w", ".."], [2, 1, 0], True),
    (["w", "e", ".."], [2, 1, 0], False),  # replaced
    (["w", "e", ".."], [1, 2, 0], True),
    (["w", "u", ".."], [2, 2, 0], True),  # both in one slot
    (["w", ".w", ".w"], [2, 2, 0], True),  # the last chunk comes too late
    (["w", ".w", "ew", ".."], [2, 2, 0, 0], False),
    (["w", ".w", ".."], [1, 1, 0], False),  # nothing is asked
    (["w", ".", ".."], [2, 2, 0], False),  # one of two was never stored
  ],
)
def test_texts_count_if_all_that_is_asked_is_held(rows, facts, held):
  steps = table(rows, facts, [0] * len(rows))
  for right in (True, False):
    sums = truth.truth_sums(steps, jnp.array([right]))
    found = tuple(map(float, sums["accuracy_if_held"]))
    assert found == (float(held and right), float(held))
  assert "accuracy_if_held" not in truth.truth_sums(steps)


def test_sums_add_up_over_texts():
  one = table(["w", "e", ".."], [1, 1, 0], [0, 0, 0])
  two = table(["w", ".w", ".."], [0, 1, 0], [0, 0, 0])
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, two)
  found = truth.truth_sums(both)
  assert [float(x) for x in found["write_precision"]] == [3, 4]
  assert [float(x) for x in found["write_recall"]] == [3, 3]
  assert [float(x) for x in found["premature_forget_rate"]] == [1, 3]


# Stale reads.


def sums_of(answers, num_classes, **batch):
  logits = jax.nn.one_hot(jnp.array(answers), num_classes)
  batch = {name: jnp.array(value) for name, value in batch.items()}
  total, count = losses.stale_sums(logits, batch)["stale_read_rate"]
  return float(total), float(count)


def test_stale_reads_of_one_answer_per_text():
  # Right; stale; wrong but never right; no stale answer there could be; the
  # second of two stale ones.
  answers, labels = [0, 1, 3, 2, 2], [0, 0, 0, 0, 0]
  stale = [[1, -1], [1, -1], [1, -1], [-1, -1], [1, 2]]
  found = sums_of(answers, 4, label=labels, stale=stale)
  assert found == (2, 4)
  weight = [1.0, 0.0, 1.0, 1.0, 1.0]
  found = sums_of(answers, 4, label=labels, stale=stale, weight=weight)
  assert found == (1, 3)


def test_stale_reads_of_an_answer_per_token():
  # Two texts of three tokens; a negative label is not asked.
  answers = [[1, 1, 1], [0, 1, 1]]
  labels = [[0, -1, 0], [0, 0, 0]]
  stale = [[[1], [1], [-1]], [[1], [1], [1]]]
  assert sums_of(answers, 2, label=labels, stale=stale) == (3, 4)
  found = sums_of(answers, 2, label=labels, stale=stale, weight=[1.0, 0.0])
  assert found == (1, 1)


def test_an_answer_of_class_zero_is_stale_only_if_it_was_right_once():
  # -1 stands for none: it is not the last class, and 0 is a class.
  assert sums_of([0, 3], 4, label=[1, 1], stale=[[-1, -1], [0, -1]]) == (0, 1)
  assert sums_of([0, 3], 4, label=[1, 1], stale=[[0, -1], [-1, 3]]) == (2, 2)
