"""Training a run from its config to its summary.

`run` builds the experiment, claims the folder, starts from another run's
parameters or pretrains if the config says so, trains stage by stage, tests the
best checkpoint, and writes summary and plots.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from nema_lc_jax import plotting
from nema_lc_jax.memory.types import Params
from nema_lc_jax.runs.files import PRETRAIN, TRACE_FILE
from nema_lc_jax.runs.folder import claim_folder
from nema_lc_jax.runs.lock import locked
from nema_lc_jax.runs.naming import default
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.training import (
  checkpoint,
  distributed,
  evaluation,
  signals,
)
from nema_lc_jax.training.experiment import Experiment, build, with_pretrained
from nema_lc_jax.training.loop import TrainLoop
from nema_lc_jax.training.summary import (
  describe,
  make_summary,
  print_summary,
  write_trace,
)
from nema_lc_jax.training.warm_start import find_source, warm_start


def run(
  config: ConfigDict, workdir: str | None = None, *, force: bool = False
) -> Summary:
  """Trains, or resumes, the run of a config in a folder.

  Args:
    config: with the fields of configs/default.py.
    workdir: folder of the run; by default runs/TASK-POLICY-seedSEED.
    force: overwrite an existing run.

  Returns:
    The content of summary.json.

  Raises:
    ValueError: in one line, on an invalid config, or if the folder holds
      another or a finished run, or another process writes to it.
    RunError: if the run had to stop; StoppedError if a signal stopped it.
  """
  folder = Path(workdir or default(config))
  experiment, pretraining = distributed.raise_on_all(lambda: build(config))
  distributed.assert_same_everywhere("config", config.to_json())
  named = config.train.get("init_from") is not None
  source = None
  if named and (force or not checkpoint.begun(folder)):
    # Before the folder is claimed, which a mistake should not do.
    source = distributed.raise_on_all(lambda: find_source(experiment))
  stopper = signals.Stopper()
  with contextlib.ExitStack() as opened:
    opened.enter_context(_claimed(experiment, folder, force=force))
    distributed.print_once("\n".join(describe(experiment, str(folder))))
    loop = opened.enter_context(TrainLoop(experiment, folder, stopper))
    if loop.first_step:
      distributed.print_once(f"resuming after step {loop.first_step}")
    if named and not loop.first_step:
      source = source or find_source(experiment)
      params, line = warm_start(source, experiment, loop.state.params)
      loop.replace_params(params)
      distributed.print_once(line)
    with stopper.listening():
      if pretraining and not loop.first_step:
        params = _pretrain(pretraining, folder / PRETRAIN, stopper)
        loop.replace_params(with_pretrained(params, loop.state.params))
      loop.run()
    summary = _finish(loop)
  if distributed.is_first():
    print_summary(summary, folder)
  return summary


@contextlib.contextmanager
def _claimed(
  experiment: Experiment, folder: Path, *, force: bool
) -> Iterator[None]:
  """Checks that all processes agree; the first one claims and locks the folder.

  The folder is locked within the block.
  """
  fingerprint = experiment.dataset.fingerprint
  distributed.assert_same_everywhere("data", fingerprint)

  def claim(held: contextlib.ExitStack) -> None:
    if distributed.is_first():
      held.enter_context(locked(folder))
      claim_folder(
        experiment.config,
        dataclasses.asdict(experiment.task),
        folder,
        fingerprint=fingerprint,
        force=force,
      )

  with contextlib.ExitStack() as held:
    distributed.raise_on_all(lambda: claim(held))
    yield


def _pretrain(
  experiment: Experiment, workdir: Path, stopper: signals.Stopper
) -> Params:
  """Pretrains, or resumes pretraining; returns the last parameters."""
  loop = TrainLoop(experiment, workdir, stopper, watch_memory=False)
  with loop:
    distributed.print_once(
      f"pretraining on {experiment.dataset.description}, from step"
      f" {loop.first_step} to {experiment.config.train.steps}"
    )
    loop.run()
    return loop.state.params


def _finish(loop: TrainLoop) -> Summary:
  """Tests the best state once; the first process writes summary and plots."""
  experiment, workdir = loop.experiment, loop.workdir
  template = experiment.steps.template.replace(memory=None)
  best = loop.best.restore(template).state
  test = evaluation.compare(
    experiment, best.params, "test", at_step=int(best.step)
  )
  loop.writer.write(int(best.step), "test", test["metrics"])
  lengths = evaluation.by_length(
    experiment, best.params, "test", test["metrics"]
  )
  fetch = experiment.steps.fetch
  params, state = fetch(best.params), fetch(loop.state)
  verdict = evaluation.memory_verdict(experiment, test)
  summary = make_summary(
    experiment,
    state,
    test,
    best_step=int(best.step),
    validation_accuracy=loop.info["best_accuracy"],
    test_accuracy_by_length=lengths["accuracy_by_length"],
    oracle_accuracy_by_length=lengths["oracle_accuracy_by_length"],
    test_metrics_by_length=lengths["metrics_by_length"],
    memory_warning=verdict,
    # Of a step of the last stage; older checkpoints lack it.
    peak_memory_bytes=loop.info.get("peak_memory_bytes"),
    wall_seconds=round(loop.seconds, 1),
  )
  if distributed.is_first():
    if experiment.has_memory:
      write_trace(experiment, params, workdir / TRACE_FILE)
    summary.write(workdir)
    plotting.plot_run(workdir)
  return summary
