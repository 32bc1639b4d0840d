"""The formulas of docs/scale.md against what the compiler counts."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.models import build_model
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.sharding import CompiledSteps
from tests.helpers import tiny_config


def flops_per_token(*, D, T, kind, layers, after, ratio, M, K, encoder):
  """Of a forward pass over one chunk that is also the last one."""
  layer = 8 * D * D + 4 * ratio * D * D + 4 * T * D
  if kind == "ssm":
    layer = 6 * D * D + 6 * ratio * D * D
  total = (layers + after) * layer + 2 * D * D
  if encoder == "memory":
    # Query and read projections; the read; pooling; contents of candidates.
    total += 4 * D * D + 4 * (M + 1) * D + 4 * K * D + 2 * K * D * D / T
  return total


@pytest.mark.parametrize(
  ("encoder", "kind"),
  [("local", "attention"), ("memory", "attention"), ("memory", "ssm")],
)
def test_flops_of_a_chunk(encoder, kind):
  D, T, M, K = 128, 64, 8, 2
  model = build_model(
    head="classify",
    vocab_size=16,
    num_classes=4,
    chunk_length=T,
    width=D,
    num_layers=2,
    num_layers_after=1,
    mlp_ratio=4.0,
    sequence_mixer=kind,
    encoder=encoder,
    policy="fifo",
    num_slots=M,
    num_candidates=K,
  )
  batch = {
    "inputs": jnp.ones((1, T), jnp.int32),
    "mask": jnp.ones((1, T), bool),
  }
  params = jax.eval_shape(model.init, jax.random.key(0))
  keys = jax.random.split(jax.random.key(0), 1)
  apply = jax.jit(lambda params: model.apply(params, keys, batch).logits)
  counted = apply.lower(params).compile().cost_analysis()["flops"] / T
  sizes = {"D": D, "T": T, "layers": 2, "after": 1, "ratio": 4, "M": M, "K": K}
  formula = flops_per_token(**sizes, kind=kind, encoder=encoder)
  # What the formula leaves out: norms, softmaxes, units, the head.
  assert formula < counted < 1.1 * formula


def numbers_sent(program, operation):
  """Numbers in the results of one kind of collective."""
  found = re.findall(rf"= (.*?) {operation}(?:-start)?\(", program)
  shapes = re.findall(r"f32\[([\d,]*)\]", " ".join(found))
  return sum(int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes)


def test_what_a_step_sends_is_the_gradients_and_the_sharded_parameters(
  monkeypatch,
):
  monkeypatch.setattr("nema_lc_jax.training.sharding.LARGE", 32)
  config = tiny_config()
  config.model.encoder, config.model.num_layers = "local", 1
  experiment = make_experiment(config)
  size = sum(x.size for x in jax.tree.leaves(experiment.steps.template))
  params = sum(
    x.size for x in jax.tree.leaves(experiment.steps.template.params)
  )
  assert 3 * params <= size <= 3 * params + 40  # with Adam's two moments
  rows = {
    "inputs": np.ones((8, 80), np.int32),
    "mask": np.ones((8, 80), bool),
    "label": np.zeros(8, np.int32),
  }
  sent = {}
  for fsdp in (1, 4):
    run = CompiledSteps(experiment.steps.spec, fsdp=fsdp)
    step = run.train_step(None).lower(run.template, run.put(rows)).compile()
    text = step.as_text()
    sent[fsdp] = {
      name: numbers_sent(text, name) for name in ("all-reduce", "all-gather")
    }
  assert params <= sent[1]["all-reduce"] < 1.2 * params
  assert sent[1]["all-gather"] < 0.1 * params
  assert 0.5 * params < sent[4]["all-gather"] < 2.2 * params
