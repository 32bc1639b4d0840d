"""Aggregation of finished runs by policy and setting."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import intervals
from nema_lc_jax.runs.intervals import Difference, Estimate
from nema_lc_jax.runs.metric_names import BY_TASK, SLOTS, TRUTH, of_kind
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.sweep.plan import Cell, PlannedRun, Setting

# Test metrics whose means over seeds are in the CSV.
METRICS = of_kind(TRUTH) + of_kind(SLOTS) + of_kind(BY_TASK)

Done = Sequence[tuple[PlannedRun, Summary]]  # finished runs


class Row(NamedTuple):
  """One policy or encoder in one setting, over its seeds."""

  cell: Cell
  accuracy: Estimate
  by_length: Mapping[str, Estimate]
  oracle: Mapping[str, float]  # mean over seeds, by length
  # Reference minus this row, and p adjusted by Holm; None for the reference.
  gap: Difference | None
  p_holm: float
  collapsed: int  # runs with a memory warning
  learning_rate: float
  num_parameters: int
  wall_seconds: float
  metrics: Mapping[str, float]
  commits: tuple[str, ...]


def cells_of(done: Done) -> dict[Cell, list[tuple[PlannedRun, Summary]]]:
  """Finished runs by cell, in the order of the sweep."""
  cells: dict[Cell, list] = {}
  for run, summary in done:
    cells.setdefault(run.cell, []).append((run, summary))
  return cells


def make_rows(done: Done, *, reference: str) -> list[Row]:
  """Makes a row per cell.

  Each policy is compared with the reference policy in the same setting, and the
  reference policy with its own results in the plain setting, if there is one.
  All comparisons of the table are one family for Holm's adjustment.

  Raises:
    ConfigError: if runs in one setting were trained on different data.
  """
  cells = cells_of(done)
  require_same_data(cells)
  accuracies = {
    cell: {run.seed: summary.test_accuracy for run, summary in runs}
    for cell, runs in cells.items()
  }
  gaps: dict[Cell, Difference] = {}
  for cell, own in accuracies.items():
    other = Cell(reference, cell.setting)
    if cell.policy == reference:
      other = Cell(reference)
    reference_values = accuracies.get(other, {})
    if other != cell and set(reference_values) & set(own):
      gaps[cell] = intervals.difference(reference_values, own)
  adjusted = intervals.holm([gap.p for gap in gaps.values()])
  p_holm = dict(zip(gaps, adjusted, strict=True))
  return [
    _row(cell, runs, gaps.get(cell), p_holm.get(cell, math.nan))
    for cell, runs in cells.items()
  ]


def of_data(cell: Cell) -> Setting:
  """The changes of a cell that concern its data."""
  return tuple(x for x in cell.setting if x[0].startswith("data."))


def require_same_data(cells: Mapping[Cell, Done]) -> None:
  """Raises ConfigError if runs with the same data settings had other data."""
  first: dict[Setting, tuple[PlannedRun, str]] = {}
  for cell, runs in cells.items():
    for run, summary in runs:
      found = summary.data_fingerprint
      other, wanted = first.setdefault(of_data(cell), (run, found))
      if found != wanted:
        raise ConfigError(
          f"the data have changed between {other.folder} (fingerprint"
          f" {wanted[:12]}) and {run.folder} ({found[:12]}): remove the"
          " runs on other data."
        )


def _row(cell: Cell, runs: Done, gap: Difference | None, p_holm: float) -> Row:
  summaries = [summary for _, summary in runs]
  by_length = {
    times: intervals.estimate(
      [s.test_accuracy_by_length[times] for s in summaries]
    )
    for times in summaries[0].test_accuracy_by_length
  }
  oracles = [s.oracle_accuracy_by_length or {} for s in summaries]
  found = [s.test_metrics for s in summaries]
  return Row(
    cell=cell,
    accuracy=intervals.estimate([s.test_accuracy for s in summaries]),
    by_length=by_length,
    oracle={t: float(np.mean([o[t] for o in oracles])) for t in oracles[0]},
    gap=gap,
    p_holm=p_holm,
    collapsed=sum(bool(s.memory_warning) for s in summaries),
    learning_rate=summaries[0].config["train"]["learning_rate"],
    num_parameters=summaries[0].num_parameters,
    wall_seconds=float(np.mean([s.wall_seconds for s in summaries])),
    metrics={
      name: float(np.mean([m[name] for m in found]))
      for name in METRICS
      if all(name in m for m in found)
    },
    commits=tuple(sorted({str(s.git_commit) for s in summaries})),
  )
