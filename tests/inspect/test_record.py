"""What the inspector records, and what an answer rests on."""

import functools

import jax
import numpy as np
import pytest

from nema_lc_jax.inspect.names import names_of
from nema_lc_jax.inspect.page import content, render
from nema_lc_jax.inspect.record import example_of, read_texts, record
from nema_lc_jax.runs.trace import FORGOTTEN, RENEWED, REPLACED, WRITTEN
from nema_lc_jax.training import summary
from tests.helpers import tiny_config
from tests.inspect.untrained import data_of, texts_config, untrained


@pytest.fixture(scope="module")
def recall():
  """A memory that writes, updates and evicts."""
  config = tiny_config()
  config.model.num_layers = 1
  experiment, params = untrained(config)
  params["policy"]["updates"]["match"]["bias"] = np.float32(-11)
  return experiment, params


# What is recorded.


def test_the_page_says_what_the_memory_did(recall):
  experiment, params = recall
  batch = example_of(experiment, "validation", 2)
  found = record(experiment, params, batch, 2)
  names = names_of(experiment.dataset)
  page = data_of(render(content(found, names, title="", facts=[])))

  keys = jax.random.fold_in(jax.random.key(0), 2)[None]
  output = jax.jit(experiment.model.apply)(params, keys, batch)
  steps, state = jax.tree.map(
    lambda x: np.asarray(x[0]), (output.steps, output.state)
  )
  done = steps.allocation
  assert done.source.max() >= 0
  assert done.evict.any()
  assert done.update.any()
  for name in ("strength", "age", "usage"):
    # After a step is before the next, of which the usage counts the read.
    np.testing.assert_allclose(page[name][-1], getattr(state, name), atol=1e-4)
    if name != "usage":
      after = np.array(page[name])[:-1]
      np.testing.assert_allclose(after, getattr(steps, name)[1:], atol=1e-4)
  usage, kept = np.array(page["usage"]), steps.kept & ~done.update
  np.testing.assert_allclose(usage[kept], steps.usage[kept], atol=1e-4)
  assert (usage[(done.source >= 0) | done.update] == 1).all()
  operation = np.array(page["operation"])
  np.testing.assert_array_equal(operation == REPLACED, done.evict)
  np.testing.assert_array_equal(
    np.isin(operation, (WRITTEN, REPLACED, RENEWED)),
    done.source >= 0,
  )
  np.testing.assert_array_equal(
    np.isin(operation, (FORGOTTEN, RENEWED)), done.forget
  )
  np.testing.assert_allclose(page["attention"], steps.attention, atol=1e-4)
  np.testing.assert_allclose(
    page["action_probs"], steps.action_probs, atol=1e-4
  )
  assert page["series"]["writes"] == steps.writes.tolist()
  assert page["series"]["evictions"] == steps.evictions.tolist()
  assert (
    page["series"]["used"] == (np.array(page["strength"]) > 0).sum(1).tolist()
  )


def test_it_agrees_with_the_trace_that_training_leaves(recall, tmp_path):
  experiment, params = recall
  summary.write_trace(experiment, params, tmp_path / "trace.npz")
  trace = np.load(tmp_path / "trace.npz")
  found = record(experiment, params, example_of(experiment, "validation", 0))
  for name in ("operation", "age", "strength", "ground_truth"):
    np.testing.assert_allclose(trace[name], found.arrays[name], atol=1e-6)


def test_the_trace_is_of_the_longest_text_without_its_padding(
  recall, tmp_path, monkeypatch
):
  experiment, params = recall
  real = summary.data.eval_batches
  T = experiment.config.model.chunk_length

  def padded(*args, **kwargs):
    batch = next(real(*args, **kwargs))
    chunks = np.ones(len(batch["mask"]), int)
    chunks[2] = 3
    ends = T * chunks[:, None]
    mask = batch["mask"] & (np.arange(batch["mask"].shape[1]) < ends)
    yield batch | {"mask": mask}

  monkeypatch.setattr(summary.data, "eval_batches", padded)
  summary.write_trace(experiment, params, tmp_path / "trace.npz")
  trace = np.load(tmp_path / "trace.npz")
  third = next(padded(experiment.dataset, "validation", batch_size=16,
                      length=experiment.config.data.length))  # fmt: skip
  truth = third["ground_truth"][2].reshape(-1, T).max(1)
  np.testing.assert_array_equal(trace["ground_truth"], truth[:3])
  assert len(trace["strength"]) == len(trace["operation"]) == 3


def test_a_slot_was_written_or_updated_age_steps_ago(recall):
  experiment, params = recall
  found = record(experiment, params, example_of(experiment, "test", 1))
  live = found.strength > 0
  chunk = np.arange(len(live))[:, None]
  written, updated = found.source >= 0, found.update_source >= 0
  newest = np.where(written | updated, chunk, -1)
  newest = np.maximum.accumulate(newest)
  np.testing.assert_array_equal(newest[live], (chunk - found.age)[live])
  born = np.maximum.accumulate(np.where(written, chunk, -1))
  np.testing.assert_array_equal(found.born[live], born[live])
  assert (found.born[~live] == -1).all()


def test_tokens_and_answers_have_names(recall):
  experiment, params = recall
  batch = example_of(experiment, "validation", 0)
  found = record(experiment, params, batch)
  names = names_of(experiment.dataset)
  page = content(found, names, title="", facts=[])
  (fact,) = np.flatnonzero(found.ground_truth == 2)
  asked = page["texts"][-1].split()
  assert asked[-2] == "ASK"
  assert f"MARK {asked[-1]} v{batch['label'][0]}" in page["texts"][fact]
  assert page["answer"]["label"] == f"v{batch['label'][0]}"


# What an answer rests on.


def models(path):
  """Configs with each way to make an answer from the memory."""
  slots = tiny_config()
  slots.model.pool = "slots"
  return {
    "last": tiny_config(),
    "slots": slots,
    "causal_lm": tiny_config("mqar"),
    "padded": texts_config(path),
    "match": texts_config(path, 2),
  }


@pytest.mark.parametrize(
  "kind", ["last", "slots", "causal_lm", "padded", "match"]
)
def test_removing_all_slots_is_no_memory_and_unread_ones_do_not_matter(
  kind, tmp_path
):
  experiment, params = untrained(models(tmp_path)[kind])
  batch = example_of(experiment, "validation", 0)
  found = record(experiment, params, batch)
  keys = jax.random.fold_in(jax.random.key(0), 0)[None]
  apply = experiment.model.apply
  logits = jax.jit(apply)(params, keys, batch).logits[0]
  # Of two texts, it is the first alone whose memory is taken away.
  unread = jax.jit(functools.partial(apply, budget=0))
  off = unread(params, keys, batch).logits[0]
  if kind == "causal_lm":
    (asked,) = np.nonzero(batch["label"][0] >= 0)
    logits, off = logits[asked[-1]], off[asked[-1]]
    assert found.asked == asked[-1] // experiment.config.model.chunk_length
    assert found.label == batch["label"][0, asked[-1]]
  if kind == "padded":
    assert not found.valid[-1].any()
    assert found.valid[found.asked].any()
  np.testing.assert_allclose(
    found.removed[0], jax.nn.softmax(logits), atol=1e-5
  )
  if kind != "match":
    np.testing.assert_allclose(
      found.removed[-1], jax.nn.softmax(off), atol=1e-5
    )
  unread = np.flatnonzero(found.mass == 0)
  np.testing.assert_allclose(
    found.removed[1 + unread], found.removed[[0] * len(unread)], atol=1e-6
  )
  most = found.mass.argmax()
  assert found.mass[most] > 0
  assert np.abs(found.removed[1 + most] - found.removed[0]).max() > 1e-6


def test_a_free_slot_is_not_read_and_taking_it_away_changes_nothing():
  config = tiny_config()
  config.memory.num_slots = 20  # more than there are chunks
  experiment, params = untrained(config)
  found = record(experiment, params, example_of(experiment, "validation", 0))
  free = np.flatnonzero(found.strength[found.asked - 1] == 0)
  assert len(free)
  assert (found.mass[free] == 0).all()
  assert (found.removed[1 + free] == found.removed[0]).all()


def test_removing_none_leaves_the_model_and_its_steps_as_they_are(recall):
  experiment, params = recall
  batch = example_of(experiment, "validation", 0)
  keys = jax.random.split(jax.random.key(0), 1)
  apply = experiment.model.apply
  whole = apply(params, keys, batch)
  none = apply(params, keys, batch, removed=np.zeros((1, 3), bool))
  some = apply(params, keys, batch, removed=np.array([[True, False, True]]))
  np.testing.assert_allclose(whole.logits, none.logits, atol=1e-5)
  assert np.abs(whole.logits - some.logits).max() > 1e-6
  assert (some.state.strength[0, [0, 2]] == 0).all()
  close = functools.partial(np.testing.assert_allclose, atol=1e-6)
  jax.tree.map(close, whole.steps, some.steps)


def test_one_file_is_matched_with_the_second_text_of_the_example(tmp_path):
  experiment, _ = untrained(texts_config(tmp_path, 2))
  (tmp_path / "a").write_bytes(b"0123456789")
  other = example_of(experiment, "validation", 1)
  batch = read_texts(experiment, [tmp_path / "a"], other)
  assert batch["inputs"].shape == batch["inputs2"].shape
  assert batch["mask"].sum() == 10
  np.testing.assert_array_equal(
    batch["inputs2"][batch["mask2"]], other["inputs2"][other["mask2"]]
  )
  both = read_texts(experiment, [tmp_path / "a", tmp_path / "a"], other)
  np.testing.assert_array_equal(both["inputs"], both["inputs2"])
  assert both["inputs"].shape == (1, 16)
