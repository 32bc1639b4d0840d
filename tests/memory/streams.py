"""Streams, states and policies that the memory tests share.

Small and fixed shapes, so that tests share compiled functions.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nema_lc_jax.memory import (
  STRENGTH_FLOOR,
  Candidates,
  Chunk,
  GroundTruth,
  MemoryState,
  init_state,
  memory_step,
  scan_chunks,
)
from nema_lc_jax.models import make_policy
from nema_lc_jax.models.policies import policy_options

D, M, K, T, N = 4, 3, 2, 3, 6
BUDGET = 2


def make_chunks(seed=0, *, num=N, dtype=jnp.float32, padded=(), lead=()):
  """Random chunks [*lead, num, ...]; those in `padded` have no valid token.

  Some tokens and some candidates of the others are invalid too.
  """
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=(*lead, num, *shape)))

  valid = rng.random((*lead, num, T)) < 0.8
  valid[..., 0] = True
  offered = rng.random((*lead, num, K)) < 0.8
  for n in padded:
    valid[..., n, :] = False
  return Chunk(
    query=normal(T, D).astype(dtype),
    candidates=Candidates(
      content=normal(K, D).astype(dtype), valid=jnp.asarray(offered)
    ),
    valid=jnp.asarray(valid),
    age_bias=jnp.full((*lead, num), 0.3, jnp.float32),
    ground_truth=GroundTruth(
      fact=jnp.asarray(rng.integers(0, 3, (*lead, num)), jnp.int32),
      invalidates=jnp.asarray(rng.integers(0, 4, (*lead, num)), jnp.int32),
      updates=jnp.asarray(rng.integers(0, 4, (*lead, num)), jnp.int32),
    ),
  )


def make_states(seed, *lead, slots=M):
  """Random states [*lead, ...]: free slots, slots at the floor, full ones."""
  rng = np.random.default_rng(seed)
  shape = (*lead, slots)
  kind = rng.integers(0, 4, shape)
  alive = np.select(
    [kind == 0, kind == 1, kind == 2],
    [0.0, STRENGTH_FLOOR, 1.0],
    rng.uniform(0.01, 1, shape),
  )
  free = alive == 0
  return MemoryState(
    content=jnp.asarray(
      np.where(free[..., None], 0, rng.normal(size=(*shape, D))), jnp.float32
    ),
    age=jnp.asarray(np.where(free, 0, rng.integers(0, 50, shape)), jnp.int32),
    usage=jnp.asarray(np.where(free, 0, rng.normal(size=shape)), jnp.float32),
    strength=jnp.asarray(alive, jnp.float32),
  )


def empty():
  return init_state(num_slots=M, width=D)


@functools.cache
def policy_of(name, **options):
  """A policy; one with a capacity is that of scarce slots, but none decays."""
  if "capacity" in policy_options(name):
    options = {"capacity": 99} | options
  return make_policy(name, width=D, **options)


def params_of(policy, *, seed=0, scale=0.0, slots=M):
  """Parameters at the start, plus noise: with much noise all actions occur."""
  params = policy.init(jax.random.key(seed), num_slots=slots, num_candidates=K)
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(seed + 1), max(len(leaves), 1))
  return jax.tree.unflatten(
    tree,
    [
      x + scale * jax.random.normal(k, x.shape)
      for x, k in zip(leaves, keys, strict=False)
    ],
  )


# Compiled functions, shared by tests: they are what the tests spend time on.


@functools.cache
def runner(name, *, budget=BUDGET, train=False):
  """Jitted (params, key, state, chunks, start=0) -> (state, outputs).

  `.traces` counts how often it was traced.
  """
  traces = []

  @jax.jit
  def scan(params, key, state, chunks, start):
    traces.append(start)
    return scan_chunks(
      params,
      key,
      state,
      chunks,
      policy=policy_of(name),
      budget=budget,
      train=train,
      start=start,
    )

  def run(params, key, state, chunks, start=0):
    return scan(params, key, state, chunks, jnp.int32(start))

  run.traces = traces
  return run


@functools.cache
def step_of(name, how="eager", *, budget=BUDGET, train=True):
  """(params, key, state, chunk) -> (state, output).

  Args:
    name: of the policy.
    how: "eager", "jit", or "vmap": jitted, over rows of all but `params`.
    budget: of the step.
    train: whether to explore.
  """
  step = functools.partial(
    memory_step, policy=policy_of(name), budget=budget, train=train
  )
  if how == "vmap":
    step = jax.vmap(step, (None, 0, 0, 0))
  return step if how == "eager" else jax.jit(step)


def at(tree, n):
  return jax.tree.map(lambda x: x[n], tree)


def stack(trees):
  return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def lively(name):
  """Parameters with which the learned policies do all they can do."""
  params = params_of(policy_of(name), scale=1.5)
  if "updates" in params:
    # A candidate is about the most similar slot if the cosine is above 0.
    params["updates"]["match"]["bias"] = jnp.zeros(())
  return params


def assert_same(a, b, *, atol=1e-6):
  """Integers and booleans equal, floats within `atol`, same structure."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    if x.dtype.kind == "f":
      np.testing.assert_allclose(x, y, atol=atol, rtol=1e-5)
    else:
      np.testing.assert_array_equal(x, y)


def assert_equal(a, b):
  """Equal in every bit."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
