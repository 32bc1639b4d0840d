"""The training loop, from the newest checkpoint to the last step."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np

from nema_lc_jax.errors import RunError, StoppedError, one_line
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.files import NONFINITE_FILE
from nema_lc_jax.runs.metrics_log import MetricWriter
from nema_lc_jax.training import checkpoint, distributed, metrics, signals
from nema_lc_jax.training.evaluation import (
  Evaluated,
  early_warning,
  evaluate,
)
from nema_lc_jax.training.experiment import Experiment
from nema_lc_jax.training.progress import Progress
from nema_lc_jax.training.sharding import block_on_cpu, program_bytes
from nema_lc_jax.training.steps import TrainState
from nema_lc_jax.training.trees import named_leaves


class TrainLoop:
  """Trains an experiment in the folder of its run; a context manager.

  A checkpoint holds `state`, which a step changes, and `info`: the best
  accuracy so far (of language models: that of the fewest bits per byte), its
  step, and the seconds of training.
  """

  def __init__(
    self,
    experiment: Experiment,
    workdir: Path,
    stopper: signals.Stopper,
    *,
    watch_memory: bool = True,
  ):
    """Files are opened on entering the context.

    Args:
      experiment: what to train.
      workdir: folder of the run.
      stopper: records the signals that ask the run to stop.
      watch_memory: warn after a validation if the memory is not in use.
    """
    self.experiment, self.workdir, self.stopper = experiment, workdir, stopper
    self._watch_memory = watch_memory
    self.train = experiment.config.train
    self.info = {"best_accuracy": -1.0, "best_step": -1, "seconds": 0.0}
    self.state: TrainState
    # Whether validations, and warnings, were before or after settling.
    self._validated, self._warned = set(), set()
    self._began = time.monotonic()
    self._opened = contextlib.ExitStack()

  def __enter__(self) -> "TrainLoop":
    """Opens checkpoints and logs, and restores the newest checkpoint."""
    enter = self._opened.enter_context
    self.latest = enter(
      checkpoint.Checkpoints(self.workdir, checkpoint.LATEST, keep=2)
    )
    self.best = enter(
      checkpoint.Checkpoints(self.workdir, checkpoint.BEST, keep=1)
    )
    self.writer = enter(
      MetricWriter(self.workdir)
      if distributed.is_first()
      else distributed.NoOp()
    )
    self._restore()
    return self

  def __exit__(self, *error) -> None:
    self._opened.__exit__(*error)

  def _restore(self) -> None:
    restored = self.latest.restore(
      self.experiment.steps.template,
      data=lambda step: self.experiment.batches(self.experiment.stage_at(step)),
    )
    if restored is None:
      self.state = self.experiment.init()
      self._batches = self.experiment.batches(self.experiment.stage_at(0))
      self.first_step = 0
      self.writer.truncate_after(-1)
      return
    self.state, self.info, self._batches = restored
    self.first_step = int(self.state.step)
    self.writer.truncate_after(self.first_step)

  @property
  def seconds(self) -> float:
    """Seconds of training so far, including those before an interruption."""
    return self.info["seconds"] + time.monotonic() - self._began

  def replace_params(self, params: Params) -> None:
    """Continues from other parameters, such as pretrained ones."""
    self.state = self.state.replace(params=params)

  def run(self) -> None:
    """Trains from the restored step to the last one."""
    train, steps = self.train, self.experiment.steps
    self.progress = (
      Progress(train.steps, initial=self.first_step)
      if distributed.is_first()
      else distributed.NoOp()
    )
    self._opened.callback(self.progress.close)
    # One process of several must not leave the others waiting.
    self.stopper.worth_saving |= jax.process_count() > 1
    window, previous, longest = None, (None, 0), None
    for step in range(self.first_step + 1, train.steps + 1):
      stage = self.experiment.stage_at(step - 1)
      # A checkpoint of a stage's last step holds the old stage's iterator.
      if step - 1 == stage.start > 0:
        self._batches = self.experiment.batches(stage)
      update = self.experiment.train_step(stage)
      rows = next(self._batches)
      batch = steps.put(rows)
      # Batches of one stage may differ in length.
      new = longest is None or step - 1 == stage.start
      if new or batch["inputs"].size > longest["inputs"].size:
        longest = batch
      self.state, values = block_on_cpu(update(self.state, batch))
      asked = steps.largest(self.stopper.number)
      window = values if window is None else window.merge(values)
      if step - 1 in (self.first_step, stage.start):
        # All that is compiled for a step has been after this.
        jax.block_until_ready(values.merge(values))
        self.stopper.worth_saving = True
        self._restart_clock(step, compiled=True)
      last = step == train.steps
      # Waiting one step behind keeps the devices busy, and bounds the queue. A
      # signal to one process reaches all of them after the same step.
      _, stop = jax.block_until_ready(previous)
      previous, stop = (values, asked), int(stop)
      saves = step % train.checkpoint_every == 0 or last or stop
      # Every checkpoint logs a line, so that a resumed run logs the same means.
      if step % train.log_every == 0 or saves:
        self._log(step, window)
        window = None
        self._check_finite(step, rows)
      if last:
        self.info["peak_memory_bytes"] = program_bytes(
          update, self.state, longest
        )
      # Validation precedes saving: a checkpoint holds the best accuracy so far.
      if step % train.eval_every == 0 or last:
        self.validate(step)
      if saves:
        self.save(step)
      if stop and not last:
        raise StoppedError(
          f"{signals.name(stop)}: stopped after step {step}, saved; the same"
          " command resumes."
        )
    self.progress.close()

  def _restart_clock(self, step: int, *, compiled: bool = False) -> None:
    """Measures the speed from here, and the pace, if a program was compiled."""
    self._since = step, time.monotonic()
    if compiled:
      self.progress.restart(step)

  def _log(self, step: int, window) -> None:
    """Logs and shows the means since the last line.

    The speed is that of the steps after the first one of a program; of that one
    alone it is unknown.
    """
    line = metrics.compute(window)
    first, began = self._since
    if step > first:
      examples = (step - first) * self.train.batch_size
      line["examples_per_second"] = examples / (time.monotonic() - began)
    self.writer.write(step, "train", line)
    self.progress.update(step, line)
    self._restart_clock(step)

  def validate(self, step: int) -> None:
    """Evaluates on validation, and saves the state if it is the best so far."""
    settled = step >= self.experiment.settled_after
    first = settled not in self._validated
    self._validated.add(settled)
    found = evaluate(
      self.experiment, self.state.params, "validation", at_step=step
    )
    values = found.metrics
    self.writer.write(step, "validation", values)
    accuracy = values["accuracy"]
    # Ties go to the later state, which does better on longer texts.
    better = accuracy >= self.info["best_accuracy"]
    best = {"best_accuracy": accuracy, "best_step": step}
    if (bits := values.get("bits_per_byte")) is not None:
      better = bits <= self.info.get("best_bits_per_byte", math.inf)
      best["best_bits_per_byte"] = bits
    if better:
      info = self.info | best
      with self._saving(step):
        # For evaluation, whose texts start with an empty memory.
        self.best.save(step, self.state.replace(memory=None), info=info)
        self.info = info
    self.progress.message(
      f"step {step}: validation accuracy {accuracy:.4f} (best"
      f" {self.info['best_accuracy']:.4f} at step {self.info['best_step']})"
    )
    if self._watch_memory and settled not in self._warned:
      self._warn(step, found, settled=settled, thorough=settled and first)
    self._restart_clock(step, compiled=first)

  def _warn(
    self, step: int, found: Evaluated, *, settled: bool, thorough: bool
  ) -> None:
    """Says, once before and once after settling, that the memory is unused."""
    line = early_warning(
      self.experiment, self.state.params, found, thorough=thorough
    )
    if line:
      self._warned.add(settled)
      warning = "WARNING: " if settled else ""
      self.progress.message(f"{warning}step {step}: so far {line}")

  def save(self, step: int) -> None:
    """Writes a checkpoint to resume from."""
    info = self.info | {"seconds": self.seconds}
    with self._saving(step):
      self.latest.save(step, self.state, info=info, data=self._batches)
    self._restart_clock(step)

  @contextlib.contextmanager
  def _saving(self, step: int) -> Iterator[None]:
    """Stops the run, or warns, if the block cannot write its checkpoint.

    Several processes always stop, since the others wait for the failed one.
    """
    try:
      yield
    except Exception as error:
      # A full disk raises OSError, or an error of the storage library.
      reason = one_line(error).removeprefix("error: ")
      what = f"step {step}: the checkpoint could not be written ({reason});"
      if self.train.on_save_error == "stop" or jax.process_count() > 1:
        raise RunError(
          f"{what} earlier checkpoints are intact, and the same command resumes"
          " from them."
        ) from None
      self.progress.message(f"WARNING: {what} training continues without it.")

  def _check_finite(self, step: int, rows: Mapping[str, np.ndarray]) -> None:
    """Stops a run in which too many steps in a row had non-finite gradients.

    The state and the last batch are written to a file.
    """
    skipped = int(self.state.opt_state.notfinite_count)
    if skipped <= self.train.max_consecutive_nonfinite:
      return
    path = self.workdir / NONFINITE_FILE
    state = self.experiment.steps.fetch(self.state)
    if distributed.is_first():
      arrays = {f"batch.{name}": x for name, x in rows.items()}
      for name, x in named_leaves(state).items():
        arrays[f"state.{name}"] = np.asarray(x)
      np.savez(path, step=step, **arrays)
    raise RunError(
      f"stopped at step {step}: the last {skipped} steps had non-finite"
      " gradients (config.train.max_consecutive_nonfinite="
      f"{self.train.max_consecutive_nonfinite}); the state and the last batch"
      f" are in {path}; try a lower config.train.learning_rate."
    )
