"""Training a run from its config to its summary.

`run` reads from top to bottom: prepare, pretrain if asked to, train stage by
stage, evaluate the best checkpoint on test once, write summary and plots.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax import plotting
from nema_lc_jax.errors import RunError, StoppedError, one_line
from nema_lc_jax.runs import by_task
from nema_lc_jax.runs.files import (
  NONFINITE_FILE,
  PRETRAIN,
  TRACE_FILE,
)
from nema_lc_jax.runs.folder import claim_folder
from nema_lc_jax.runs.metrics_log import MetricWriter
from nema_lc_jax.runs.naming import default
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.training import (
  checkpoint,
  distributed,
  evaluation,
  metrics,
  signals,
)
from nema_lc_jax.training.checks import Stage
from nema_lc_jax.training.experiment import (
  Experiment,
  describe,
  interface_of,
  make_experiment,
  make_pretraining,
  state_template,
  training_data,
  with_pretrained,
)
from nema_lc_jax.training.progress import Progress
from nema_lc_jax.training.sharding import block_on_cpu, program_bytes
from nema_lc_jax.training.steps import TrainState
from nema_lc_jax.training.summary import make_summary, write_trace
from nema_lc_jax.training.trees import named_leaves


class _Run:
  """The moving parts of one training run."""

  def __init__(self, experiment: Experiment, workdir: Path, stack, stopper):
    self.experiment = experiment
    self.train = experiment.config.train
    self.stopper = stopper
    self.workdir = workdir
    enter = stack.enter_context
    self.latest = enter(
      checkpoint.Checkpoints(workdir, checkpoint.LATEST, keep=2)
    )
    self.best = enter(checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1))
    self.writer = enter(
      MetricWriter(workdir) if distributed.is_first() else distributed.Silent()
    )
    self.state: TrainState = None
    self.iterator = None
    self.info = {"best_accuracy": -1.0, "best_step": -1, "seconds": 0.0}
    self.began = time.monotonic()

  def stage_at(self, step: int) -> Stage:
    """The stage that trains step number `step`."""
    stages = self.experiment.stages
    return next((s for s in stages if step < s.stop), stages[-1])

  def start(self) -> int:
    """Restores the newest checkpoint or initialises; the first step."""
    restored = self.latest.restore(
      state_template(self.experiment),
      data=lambda step: training_data(self.experiment, self.stage_at(step)),
    )
    if restored is None:
      self.writer.truncate_after(-1)
      self.state = self.experiment.parallel.init(
        np.uint32(self.experiment.config.seed),
        np.float32(self.train.learning_rate),
      )
      self.iterator = training_data(self.experiment, self.stage_at(0))
      return 0
    self.state, self.info, self.iterator = restored
    step = int(self.state.step)
    self.writer.truncate_after(step)
    return step

  def save(self, step: int, progress: Progress) -> None:
    """Writes a checkpoint to resume from."""
    now = time.monotonic()
    info = self.info | {"seconds": self.info["seconds"] + now - self.began}
    with self.saving(step, progress):
      self.latest.save(step, self.state, info=info, data=self.iterator)

  @contextlib.contextmanager
  def saving(self, step: int, progress: Progress):
    """What happens if the block cannot write its checkpoint.

    Several processes always stop: what one of them could not write, the others
    wait for.
    """
    try:
      yield
    except Exception as error:
      # A full disk shows as OSError, or as what the storage library makes of
      # it.
      reason = one_line(error).removeprefix("error: ")
      what = f"step {step}: the checkpoint could not be written ({reason});"
      if self.train.on_save_error == "stop" or jax.process_count() > 1:
        raise RunError(
          f"{what} those before it are intact, and the same command goes on"
          " from there."
        ) from None
      progress.message(f"WARNING: {what} training goes on without it.")

  def validate(self, step: int, progress: Progress) -> None:
    """Evaluates on validation, and keeps the state if it is the best."""
    values = evaluation.evaluate(
      self.experiment, self.state.params, "validation"
    ).metrics
    self.writer.write(step, "validation", values)
    accuracy = values["accuracy"]
    # The last of equals: it has seen more, and is better at longer texts.
    if accuracy >= self.info["best_accuracy"]:
      info = self.info | {"best_accuracy": accuracy, "best_step": step}
      with self.saving(step, progress):
        self.best.save(step, self.state, info=info)
        self.info = info
    progress.message(
      f"step {step}: validation accuracy {accuracy:.4f} (best"
      f" {self.info['best_accuracy']:.4f} at step {self.info['best_step']})"
    )

  def check_finite(self, step: int, rows: Mapping[str, np.ndarray]) -> None:
    """Stops a run in which too many steps in a row had non-finite gradients.

    What it stopped at, the state and the last batch, is left in a file.
    """
    skipped = int(self.state.opt_state.notfinite_count)
    if skipped <= self.train.max_consecutive_nonfinite:
      return
    state = self.experiment.parallel.fetch(self.state)
    if distributed.is_first():
      dump_nonfinite(self.workdir, step, state, rows)
    raise RunError(
      f"stopped at step {step}: the last {skipped} steps had non-finite"
      " gradients (config.train.max_consecutive_nonfinite="
      f"{self.train.max_consecutive_nonfinite}); the state and the last batch"
      f" are in {self.workdir / NONFINITE_FILE}; try a lower"
      " config.train.learning_rate."
    )

  def fit(self, first: int, progress: Progress) -> None:
    """Trains from step `first` to the end."""
    train, parallel = self.train, self.experiment.parallel
    window, since = None, (first, time.monotonic())
    previous = None, 0
    for step in range(first + 1, train.steps + 1):
      stage = self.stage_at(step - 1)
      # Also after resuming right here: the checkpoint has the old stage's.
      if step - 1 == stage.start > 0:
        self.iterator = training_data(self.experiment, stage)
      update = parallel.train_step(_slots(stage, self.experiment))
      rows = next(self.iterator)
      batch = parallel.put(rows)
      self.state, values = block_on_cpu(update(self.state, batch))
      asked = parallel.largest(self.stopper.number)
      window = values if window is None else window.merge(values)
      if step == train.steps:
        self.info["peak_memory_bytes"] = program_bytes(
          update, self.state, batch
        )
      # One step behind: devices stay busy, and never run far ahead. What one
      # process was asked by a signal, all know after the same step.
      _, stop = jax.block_until_ready(previous)
      previous, stop = (values, asked), int(stop)
      last = step == train.steps
      saves = step % train.checkpoint_every == 0 or last or stop
      # A line with every checkpoint, so that a resumed run logs the same means.
      if step % train.log_every == 0 or saves:
        line = metrics.compute(window)
        now = time.monotonic()
        rate = (step - since[0]) * train.batch_size / (now - since[1])
        line["examples_per_second"] = rate
        self.writer.write(step, "train", line)
        progress.update(step, line)
        window, since = None, (step, time.monotonic())
        self.check_finite(step, rows)
      # Validation goes first: a checkpoint knows the best accuracy so far.
      if step % train.eval_every == 0 or last:
        self.validate(step, progress)
        since = (step, time.monotonic())
      if saves:
        self.save(step, progress)
        since = (step, time.monotonic())
      if stop and not last:
        raise StoppedError(
          f"{signals.name(stop)}: stopped after step {step}, saved; the same"
          " command resumes."
        )


def _progress(steps: int, first: int) -> Progress | distributed.Silent:
  if distributed.is_first():
    return Progress(steps, initial=first)
  return distributed.Silent()


def _slots(stage: Stage, experiment: Experiment) -> int | None:
  """The stage's number of slots; None without a memory, to compile once."""
  if experiment.config.model.encoder != "memory":
    return None
  return stage.num_slots


def _pretrain(
  experiment: Experiment, workdir: Path, stopper: signals.Stopper
) -> Any:
  """Trains, or resumes, what goes before the task; its last parameters."""
  with contextlib.ExitStack() as stack:
    this = _Run(experiment, workdir, stack, stopper)
    first = this.start()
    distributed.say(
      f"pretraining on {experiment.dataset.description}, from step {first}"
      f" to {this.train.steps}"
    )
    progress = _progress(this.train.steps, first)
    stack.callback(progress.close)
    this.fit(first, progress)
    return this.state.params


def _finish(run: _Run, workdir: Path) -> Summary:
  """Tests the best state once; the first process writes what is left of it."""
  experiment = run.experiment
  best = run.best.restore(state_template(experiment)).state
  test = evaluation.on_and_off(experiment, best.params, "test")
  run.writer.write(int(best.step), "test", test["metrics"])
  lengths = evaluation.by_length(
    experiment, best.params, "test", test["metrics"]
  )
  fetch = experiment.parallel.fetch
  params, state = fetch(best.params), fetch(run.state)
  verdict = evaluation.memory_verdict(experiment, test)
  seconds = run.info["seconds"] + time.monotonic() - run.began
  summary = make_summary(
    experiment,
    state,
    test,
    best_step=int(best.step),
    validation_accuracy=run.info["best_accuracy"],
    test_accuracy_by_length=lengths["accuracy_by_length"],
    oracle_accuracy_by_length=lengths["oracle_accuracy_by_length"],
    test_metrics_by_length=lengths["metrics_by_length"],
    memory_warning=verdict,
    # Of a training step of the last stage; older checkpoints have none.
    peak_memory_bytes=run.info.get("peak_memory_bytes"),
    wall_seconds=round(seconds, 1),
  )
  if distributed.is_first():
    if experiment.config.model.encoder == "memory":
      write_trace(experiment, params, workdir / TRACE_FILE)
    summary.write(workdir)
    plotting.plot_run(workdir)
  return summary


def _conclude(summary: Summary, workdir: Path) -> None:
  low, high = summary.test_accuracy_interval
  print(
    f"test accuracy {summary.test_accuracy:.4f}, 95% interval [{low:.4f},"
    f" {high:.4f}], {summary.test_examples:,} examples, best checkpoint of"
    f" step {summary.best_step}"
  )
  if (off := summary.test_accuracy_memory_off) is not None:
    print(f"  memory off: {off:.4f}")
  for name, accuracy in summary.baselines.items():
    print(f"  {name}: {accuracy:.4f}")
  if summary.test_error_by_task:
    print(by_task.line(summary.test_error_by_task))
  print(
    f"{summary.wall_seconds:.0f} s; summary, metrics and plots in {workdir}"
  )
  if summary.memory_warning:
    print(f"WARNING: {summary.memory_warning}")


def _make(config: ConfigDict) -> tuple[Experiment, Experiment | None]:
  """The run, and the pretraining that goes before, checked to the end."""
  experiment = make_experiment(config)
  pretraining = make_pretraining(experiment) if config.pretrain.steps else None
  for part in filter(None, (pretraining, experiment)):
    for stage in part.stages:
      # What is impossible in a later stage is found now, not an hour later.
      training_data(part, stage)
  return experiment, pretraining


def run(
  config: ConfigDict, workdir: str | None = None, *, force: bool = False
) -> Summary:
  """Trains, or resumes, the run of a config in a folder.

  Args:
    config: as configs/default.py makes it.
    workdir: folder of the run; by default below runs/, by task, policy, seed.
    force: overwrite a run that is there.

  Returns:
    What is in summary.json.

  Raises:
    ValueError: in one line, on anything in the config that cannot be, and on
      a folder that holds another or a finished run.
    RunError: if the run had to stop; StoppedError, if a signal asked it to.
  """
  folder = Path(workdir or default(config))
  experiment, pretraining = distributed.together(lambda: _make(config))
  interface = interface_of(experiment.dataset)
  distributed.assert_same_everywhere("config", config.to_json())
  fingerprint = experiment.dataset.fingerprint
  distributed.assert_same_everywhere("data", fingerprint)
  make_folder = functools.partial(
    claim_folder,
    config,
    dataclasses.asdict(interface),
    folder,
    fingerprint=fingerprint,
    force=force,
  )
  distributed.together(lambda: distributed.is_first() and make_folder())
  distributed.say("\n".join(describe(experiment, str(folder))))
  with contextlib.ExitStack() as stack:
    stopper = signals.Stopper()
    this = _Run(experiment, folder, stack, stopper)
    first = this.start()
    if first:
      distributed.say(f"resuming after step {first}")
    with stopper.listening():
      if pretraining and not first:
        params = _pretrain(pretraining, folder / PRETRAIN, stopper)
        params = with_pretrained(params, this.state.params)
        this.state = this.state.replace(params=params)
      progress = _progress(config.train.steps, first)
      stack.callback(progress.close)
      this.fit(first, progress)
    progress.close()
    summary = _finish(this, folder)
  if distributed.is_first():
    _conclude(summary, folder)
  return summary


def dump_nonfinite(
  workdir: Path, step: int, state: TrainState, rows: Mapping[str, np.ndarray]
) -> None:
  """Writes what a step was computed from: its number, state and batch.

  Args:
    workdir: of the run.
    step: the last one.
    state: parameters and what the optimizer keeps.
    rows: the batch, this process's rows.
  """
  arrays = {f"batch.{name}": x for name, x in rows.items()}
  for name, x in named_leaves(state).items():
    arrays[f"state.{name}"] = np.asarray(x)
  np.savez(workdir / NONFINITE_FILE, step=step, **arrays)
