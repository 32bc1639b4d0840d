"""The summary and the memory trace of a finished run."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nema_lc_jax import data
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs import by_task
from nema_lc_jax.runs.naming import method_name
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.runs.trace import operations
from nema_lc_jax.training.experiment import Experiment, num_parameters
from nema_lc_jax.training.provenance import (
  git_commit,
  hardware,
  params_sha256,
  versions,
)


def describe(experiment: Experiment, workdir: str) -> list[str]:
  """The lines that a run prints first: task, data, model, devices, folder."""
  c, d = experiment.config, experiment.dataset
  size = num_parameters(experiment.steps.template.params)
  devices = jax.devices()
  memory = {
    "memory": f"policy {c.memory.policy}, {c.memory.num_slots} slots, budget"
    f" {c.memory.budget} operations per chunk,"
    f" {c.memory.num_candidates} candidates",
    "recurrent": f"{c.memory.num_slots} recurrent tokens",
    "delta": f"a gated delta rule, keys of {c.memory.num_slots}",
    "routed": f"{c.memory.num_slots} routed slots per head",
  }.get(c.model.encoder, f"none ({c.model.encoder} encoder)")
  stages = "; ".join(
    f"from step {s.start}: length {s.length}, {s.num_slots} slots"
    for s in experiment.stages
  )
  sizes = ", ".join(
    f"{k} {v:,}" for k, v in d.num_examples.items() if k in data.SPLITS
  )
  return [
    f"task     {d.name} ({d.head}): {d.description}",
    f"data     {sizes}; length {c.data.length},"
    f" fingerprint {d.fingerprint[:12]}",
    f"memory   {memory}",
    f"model    {size:,} parameters, width"
    f" {c.model.width}, chunks of {c.model.chunk_length}, {c.model.dtype}",
    f"training {c.train.steps} steps of {c.train.batch_size}, learning rate"
    f" {c.train.learning_rate:g}, seed {c.seed} ({stages})",
    f"devices  {len(devices)} x {devices[0].device_kind} by {c.train.parallel},"
    f" processes: {jax.process_count()}",
    f"results  {workdir}",
  ]


def make_summary(
  experiment: Experiment, state: Any, test: dict[str, Any], **more: Any
) -> Summary:
  """The summary of a finished run.

  Args:
    experiment: the run.
    state: the final TrainState (not the best one), of NumPy arrays.
    test: `evaluation.compare` of the best state on the test split.
    **more: the remaining fields.
  """
  config, dataset = experiment.config, experiment.dataset
  return Summary(
    task=dataset.name,
    policy=method_name(config),
    seed=config.seed,
    test_accuracy=test["accuracy"],
    test_accuracy_interval=test["interval"],
    test_accuracy_memory_off=test.get("accuracy_memory_off"),
    test_memory_gain_interval=test.get("memory_gain_interval"),
    test_accuracy_under_fifo=test.get("accuracy_under_fifo"),
    test_fifo_gain_interval=test.get("fifo_gain_interval"),
    test_accuracy_relaxed=test.get("accuracy_relaxed"),
    test_relaxed_gain_interval=test.get("relaxed_gain_interval"),
    test_examples=test["metrics"]["examples"],
    test_error_by_task=test.get("error_by_task"),
    test_metrics=test["metrics"],
    baselines=experiment.baselines("test"),
    num_parameters=num_parameters(state.params),
    params_sha256=params_sha256(state.params),
    data_fingerprint=dataset.fingerprint,
    steps=int(state.step),
    skipped_steps=int(state.opt_state.total_notfinite),
    versions=versions(),
    hardware=hardware(),
    git_commit=git_commit(),
    config=json.loads(config.to_json()),
    **more,
  )


def write_trace(experiment: Experiment, params: Params, path: Path) -> None:
  """Writes the memory trace of the longest of the first validation texts.

  The parameters are NumPy arrays, so that one process alone may call it.

  The arrays [N, M] are by step, up to the text's last, and slot: `operation` (a
  code of runs.trace), `strength` and `age` after the step, and `attention` in
  it; `ground_truth` [N] if the data set has it.
  """
  first = next(
    data.eval_batches(
      experiment.dataset,
      "validation",
      batch_size=16,
      length=experiment.config.data.length,
    )
  )
  longest = first["mask"].sum(1).argmax()
  batch = {name: x[longest : longest + 1] for name, x in first.items()}
  keys = jax.random.split(jax.random.key(0), 1)
  output = jax.jit(experiment.model.apply)(params, keys, batch)
  steps, state = jax.tree.map(
    lambda x: np.asarray(x[0]), (output.steps, output.state)
  )
  # Steps on padding do nothing.
  end = np.flatnonzero(steps.active).max(initial=0) + 1
  steps = jax.tree.map(lambda x: x[:end], steps)
  after = lambda before, last: np.concatenate([before[1:], last[None]])
  strength = after(steps.strength, state.strength)
  trace = {
    "operation": operations(steps, strength),
    "strength": strength,
    "age": after(steps.age, state.age),
    "attention": steps.attention,
  }
  if "ground_truth" in batch:
    chunks = batch["ground_truth"].reshape(
      -1, experiment.config.model.chunk_length
    )
    trace["ground_truth"] = chunks.max(1).astype(np.int8)[:end]
  np.savez_compressed(path, **trace)


def print_summary(summary: Summary, workdir: Path) -> None:
  """Prints the results of a finished run."""
  low, high = summary.test_accuracy_interval
  examples = f"{summary.test_examples:,} examples"
  questions = summary.test_metrics.get("questions", summary.test_examples)
  if questions != summary.test_examples:
    examples += f" with {questions:,} questions"
  print(
    f"test accuracy {summary.test_accuracy:.4f}, 95% interval [{low:.4f},"
    f" {high:.4f}], {examples}, best checkpoint of"
    f" step {summary.best_step}"
  )
  oracle = summary.oracle_accuracy_by_length or {}
  for times, accuracy in summary.test_accuracy_by_length.items():
    if times != "1":
      best = f", oracle {oracle[times]:.4f}" if times in oracle else ""
      print(f"  at {times} times the length: {accuracy:.4f}{best}")
  if (bits := summary.test_metrics.get("bits_per_byte")) is not None:
    print(f"  bits per byte: {bits:.4f}")
  if (off := summary.test_accuracy_memory_off) is not None:
    print(f"  memory off: {off:.4f}")
  if (fifo := summary.test_accuracy_under_fifo) is not None:
    first = min(summary.config["eval"]["examples"], summary.test_examples)
    print(f"  the same parameters under fifo, first {first:,}: {fifo:.4f}")
    relaxed = summary.test_accuracy_relaxed
    print(f"  as in training, first {first:,}: {relaxed:.4f}")
  for name, accuracy in summary.baselines.items():
    print(f"  {name}: {accuracy:.4f}")
  if summary.test_error_by_task:
    print(by_task.line(summary.test_error_by_task))
  print(
    f"{summary.wall_seconds:.0f} s; summary, metrics and plots in {workdir}"
  )
  if summary.memory_warning:
    print(f"WARNING: {summary.memory_warning}")
