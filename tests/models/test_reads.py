"""Further reads of the last chunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import encoder
from nema_lc_jax.models.config import ModelConfig
from nema_lc_jax.models.memory_layer import (
  Mode,
  chunks_of,
  last_chunk,
  run_memory,
  slot_policies,
)
from tests.models.tiny import (
  FIELDS,
  KEYS,
  D,
  T,
  applier,
  make_batch,
  model_of,
  params_of,
)

SEVERAL = {"num_hops": 2}
close = np.testing.assert_allclose


def without_further_reads(params):
  """Parameters whose further reads and their layers add nothing."""

  def silenced(path, leaf):
    name = jax.tree_util.keystr(path)
    ends = ("['read']['kernel']", "['out']['kernel']", "['down']['kernel']")
    further = "['read_" in name and name.endswith(ends)
    return jnp.zeros_like(leaf) if further else leaf

  return jax.tree.map_with_path(silenced, params)


def test_one_read_has_no_parameters_beside_and_more_have():
  names = {
    n: set(params_of(num_hops=n)["decoder"]) - set(params_of()["decoder"])
    for n in (1, 3)
  }
  assert names == {1: set(), 3: {"read_1", "read_2"}}


def meaningful(output):
  """Without the steps that had no valid token: what they say means nothing."""
  active = output.steps.active
  return output.replace(steps=jax.tree.map(lambda x: x[active], output.steps))


@pytest.mark.parametrize("valid", [12, 9, 3])
def test_reads_that_add_nothing_leave_model_and_memory_as_with_one(valid):
  # The memory, too: the last chunk's step is done apart, and is the same.
  batch = make_batch(valid=valid)
  several = without_further_reads(params_of(**SEVERAL))
  one = several | {
    "decoder": {k: v for k, v in several["decoder"].items() if "read_" not in k}
  }
  found = applier(**SEVERAL)(several, KEYS, batch)
  expected = applier()(one, KEYS, batch)
  assert found.steps.active.sum() == len(KEYS) * -(-valid // T)
  # Also of padding: what it found.
  for name in ("strength", "age", "alive"):
    steps = found.steps, expected.steps
    close(*(getattr(each, name) for each in steps), atol=1e-5)
  found, expected = meaningful(found), meaningful(expected)
  jax.tree.map(lambda a, b: close(a, b, atol=1e-5), found, expected)


def reading_of(state, weights):
  """A read of weights [M] by every token."""
  weights = jnp.tile(jnp.asarray(weights, jnp.float32), (T, 1))
  return encoder.Reading(state, jnp.zeros(()), weights)


def state_of(content, age):
  return encoder.MemoryState(
    content=jnp.asarray(content, jnp.float32),
    age=jnp.asarray(age, jnp.int32),
    usage=jnp.zeros(len(age)),
    strength=jnp.ones(len(age)),
  )


CONFIG = ModelConfig(**(FIELDS | {"width": D}))
X, VALID = jnp.zeros((1, T, D)), jnp.ones((1, T), bool)


def test_a_read_goes_on_from_what_was_read_before(monkeypatch):
  """Three slots that name each other: reads follow from one to the next."""
  seen = []
  a, b, c = np.eye(D)[:3] * D**0.5
  # The slot a+b was read, whose b finds b+c.
  state = state_of(np.stack([a + b, b + c]) / 2**0.5, [0, 0])
  weights = encoder.read_weights

  def noted(state, query, **options):
    seen.append(np.asarray(query))
    return weights(state, query, **options)

  monkeypatch.setattr(encoder, "read_weights", noted)
  module, before = encoder.ReadHop(CONFIG), reading_of(state, [1, 0])
  params = module.init(jax.random.key(0), X, before, VALID, False)
  params = jax.tree.map_with_path(
    lambda path, leaf: (
      leaf if "chain" in jax.tree_util.keystr(path) else 0.0 * leaf
    ),
    params,
  )
  _, after = module.apply(params, X, before, VALID, False)
  # Of a read that is twice as wide; it asks for no time as yet.
  query, when = np.split(seen[-1][0] / 2**0.5, 2)
  assert not when.any()
  # Its norm is the read's scale, its direction that of what was read.
  close(np.linalg.norm(query), CONFIG.query_norm, rtol=1e-3)
  assert query @ b > 0.5 * np.linalg.norm(query) * np.linalg.norm(b)
  # So c, which was not in what was read before, comes up.
  assert (after.weights @ state.content)[0] @ c > 0.1

  monkeypatch.undo()

  def loss(params, content):
    before = reading_of(state.replace(content=content), [1, 0])
    _, after = module.apply(params, X, before, VALID, False)
    return (after.weights @ content)[0, 2]

  params, content = jax.grad(loss, (0, 1))(params, state.content)
  # It learns, and so does what was written.
  assert jnp.abs(params["params"]["chain"]["kernel"]).max() > 0
  assert jnp.abs(content).max() > 0


def test_places_in_time_are_how_many_slots_are_younger():
  state = encoder.MemoryState(
    content=jnp.ones((4, D)),
    age=jnp.asarray([7, 2, 2, 100]),
    usage=jnp.zeros(4),
    strength=jnp.asarray([1.0, 0.5, 0.0, 0.1]),  # the third is free
  )
  places = jnp.asarray([1, 0, 0, 2])
  content = encoder.with_positions(state).content
  close(content[:, :D], state.content)
  close(content[:, D:], encoder.sinusoids(places, D))


def test_a_read_may_ask_for_what_came_before_what_was_read():
  """Slots of one content, told apart by nothing but their times."""
  M = 5
  state = state_of(np.ones((M, D)), range(M))
  module = encoder.ReadHop(CONFIG)
  read = lambda slot: reading_of(state, np.eye(M)[slot])
  params = module.init(jax.random.key(0), X, read(0), VALID, False)
  # One place back turns each pair of a sine and a cosine by its rate.
  rates = 10_000.0 ** (-np.arange(0, D, 2) / D)
  sine, cosine = np.diag(np.sin(rates)), np.diag(np.cos(rates))
  back = np.block([[cosine, -sine], [sine, cosine]])
  when = np.concatenate([np.zeros((D, D)), 1000 * back])
  params["params"]["when"]["kernel"] = jnp.asarray(when, jnp.float32)
  for slot in range(M - 1):
    _, after = module.apply(params, X, read(slot), VALID, False)
    close(after.weights[0], np.eye(M)[slot + 1], atol=1e-3)


@pytest.mark.parametrize(
  ("steer", "ago"), [([1, 0, 0], 1), ([0, 1, 0], -1), ([0, 0, 1], 0)]
)
def test_three_numbers_find_what_came_just_before_or_after(steer, ago):
  ages = np.array([30, 2, 11, 7])  # the second is the youngest
  state = state_of(np.ones((4, D)), ages)
  module = encoder.ReadHop(CONFIG)
  read = lambda slot: reading_of(state, np.eye(4)[slot])
  params = module.init(jax.random.key(0), X, read(0), VALID, False)
  order = np.argsort(ages)
  wanted = 1 + ago  # of the second youngest

  def loss(params):
    _, after = module.apply(params, X, read(order[1]), VALID, False)
    return -after.weights[0, order[wanted]]

  # At first it asks for none of them, and learns which at once.
  slope = jax.grad(loss)(params)["params"]["steer"]["bias"]
  assert np.argmin(slope) == np.argmax(steer)
  params["params"]["steer"]["bias"] = 100.0 * jnp.asarray(steer, jnp.float32)
  for place in range(max(0, -ago), min(4, 4 - ago)):
    _, after = module.apply(params, X, read(order[place]), VALID, False)
    close(after.weights[0], np.eye(4)[order[place + ago]], atol=1e-3)


def test_free_slots_are_not_read_and_padding_reads_nothing():
  state = state_of(np.ones((3, D)), [2, 1, 0])
  state = state.replace(strength=jnp.asarray([1.0, 0.0, 1.0]))
  valid = jnp.asarray([[True] * (T - 1) + [False]])
  module, before = encoder.ReadHop(CONFIG), reading_of(state, [0, 0, 1])
  params = module.init(jax.random.key(0), X, before, valid, False)
  # What came before the youngest is the oldest: what was between is forgotten.
  params["params"]["steer"]["bias"] = jnp.asarray([100.0, 0.0, 0.0])
  _, after = module.apply(params, X, before, valid, False)
  close(after.weights[: T - 1], [[1, 0, 0]] * (T - 1), atol=1e-3)
  assert not after.weights[T - 1].any()


@pytest.mark.parametrize("tokens", [3 * T, 2 * T - 1])
@pytest.mark.parametrize("removed", [None, [False, True]])
def test_further_reads_go_on_from_what_the_last_chunk_read(tokens, removed):
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  c = ModelConfig(**(FIELDS | SEVERAL | {"num_slots": 2}))
  policies = slot_policies(c)
  params = policies.base.init(jax.random.key(0), num_slots=2, num_candidates=1)
  valid = (jnp.arange(3 * T) < tokens).reshape(3, T)
  chunks = chunks_of(
    draw(3, T, D), draw(3, 1, D), jnp.full(3, 0.3), valid, None
  )
  removed = None if removed is None else jnp.asarray(removed)
  found = run_memory(
    c, policies, params, jax.random.key(1), chunks, Mode(False, 2, 1),
    removed=removed, initial=None,
  )  # fmt: skip
  last = last_chunk(valid)
  reading = found.reading
  assert reading.weights.any()
  close(
    reading.weights @ reading.state.content, found.steps.read[last], rtol=1e-5
  )
  if removed is not None:
    assert not reading.weights[:, 1].any()


def test_slots_that_are_removed_are_missing_in_every_read():
  batch, params = make_batch(), params_of(**SEVERAL)
  apply = jax.jit(
    lambda removed: model_of(**SEVERAL).apply(
      params, KEYS, batch, removed=removed
    )
  )
  found = apply(jnp.ones((len(KEYS), 3), bool)).logits
  off = applier((("budget", 0),), **SEVERAL)(params, KEYS, batch).logits
  close(found, off, atol=1e-5)
  kept = apply(jnp.zeros((len(KEYS), 3), bool)).logits
  close(kept, applier(**SEVERAL)(params, KEYS, batch).logits, atol=1e-5)


def test_without_a_memory_there_is_nothing_to_read():
  for kind in ("local", "full"):
    assert set(params_of(encoder=kind, **SEVERAL)["decoder"]) == set(
      params_of(encoder=kind)["decoder"]
    )
