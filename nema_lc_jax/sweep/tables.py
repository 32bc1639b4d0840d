"""The tables of a sweep, as CSV, Markdown and LaTeX."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nema_lc_jax.runs import by_task, markup
from nema_lc_jax.runs.intervals import Difference, Estimate
from nema_lc_jax.runs.summary import Summary
from nema_lc_jax.sweep.aggregate import Done, Row, cells_of
from nema_lc_jax.sweep.plan import PlannedRun

MARKDOWN_FILE = "table.md"
GAP = "difference (reference minus row)"


def write(rows: Sequence[Row], done: Done, out: Path) -> list[Path]:
  """Writes table.{csv,md,tex} and runs.csv into `out`; returns the files.

  For a data set of several tasks, also writes by_task.csv with their errors.
  """
  paths = [out / f"table.{kind}" for kind in ("csv", "md", "tex")]
  _write_csv(paths[0], [_csv_row(row) for row in rows])
  paths[1].write_text(_markdown(rows), encoding="utf-8")
  paths[2].write_text(_latex(rows), encoding="utf-8")
  paths.append(out / "runs.csv")
  _write_csv(paths[3], [_run_row(run, summary) for run, summary in done])
  if errors := _errors_by_task(done):
    paths.append(out / "by_task.csv")
    _write_csv(paths[4], errors)
    with paths[1].open("a", encoding="utf-8") as file:
      file.write(_markdown_by_task(errors))
  return paths


def write_tuning(path: Path, done: Done) -> None:
  """Writes the validation accuracy of each tuning run."""
  _write_csv(
    path,
    [
      {
        "policy": run.cell.policy,
        "learning_rate": run.config.train.learning_rate,
        "seed": run.seed,
        "validation_accuracy": summary.validation_accuracy,
        "git_commit": summary.git_commit,
      }
      for run, summary in done
    ],
  )


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
  names = list(dict.fromkeys(name for row in rows for name in row))
  with path.open("w", newline="", encoding="utf-8") as file:
    table = csv.DictWriter(file, names, restval="")
    table.writeheader()
    table.writerows({k: _cell(v) for k, v in row.items()} for row in rows)


def _cell(value: Any) -> Any:
  if isinstance(value, float):
    return "" if math.isnan(value) else f"{value:.6g}"
  return value


def _csv_row(row: Row) -> dict[str, Any]:
  result: dict[str, Any] = {
    "policy": row.cell.policy,
    "setting": row.cell.setting_name,
    "n": row.accuracy.n,
    "learning_rate": row.learning_rate,
    "test_accuracy": row.accuracy.mean,
    "low": row.accuracy.low,
    "high": row.accuracy.high,
  }
  for times, value in row.by_length.items():
    result[f"accuracy_x{times}"] = value.mean
    result[f"low_x{times}"], result[f"high_x{times}"] = value.low, value.high
  result |= {f"oracle_x{times}": value for times, value in row.oracle.items()}
  if (gap := row.gap) is not None:
    result |= {
      "reference_minus_this": gap.mean,
      "gap_low": gap.low,
      "gap_high": gap.high,
      "p": gap.p,
      "p_holm": row.p_holm,
      "effect_size": gap.effect,
    }
  return result | {
    "collapsed": row.collapsed,
    **row.metrics,
    "num_parameters": row.num_parameters,
    "wall_seconds": row.wall_seconds,
    "commits": " ".join(row.commits),
  }


def _run_row(run: PlannedRun, summary: Summary) -> dict[str, Any]:
  lengths = summary.test_accuracy_by_length
  return {
    "policy": run.cell.policy,
    "setting": run.cell.setting_name,
    "seed": run.seed,
    "learning_rate": summary.config["train"]["learning_rate"],
    "validation_accuracy": summary.validation_accuracy,
    "test_accuracy": summary.test_accuracy,
    **{f"accuracy_x{times}": value for times, value in lengths.items()},
    "memory_off": summary.test_accuracy_memory_off,
    "memory_warning": summary.memory_warning or "",
    "wall_seconds": summary.wall_seconds,
    "params_sha256": summary.params_sha256,
    "hardware": "{devices} x {device} ({machine})".format(**summary.hardware),
    "jax": summary.versions["jax"],
    "git_commit": summary.git_commit,
  }


def _errors_by_task(done: Done) -> list[dict[str, Any]]:
  """Mean errors over seeds, with a row per task and a column per cell."""
  found = {
    cell.name: by_task.means(summary for _, summary in runs)
    for cell, runs in cells_of(done).items()
  }
  tasks = {task for errors in found.values() for task in errors}
  return [
    {"task": task}
    | {name: errors.get(task, math.nan) for name, errors in found.items()}
    for task in sorted(tasks, key=int)
  ]


def _markdown_by_task(errors: Sequence[Mapping[str, Any]]) -> str:
  names = list(errors[0])
  cells = [
    [row["task"], *(_number(row[name], ".1%") for name in names[1:])]
    for row in errors
  ]
  table = markup.markdown_table(names, cells)
  return f"\n{table}\n\nError by task, mean over seeds.\n"


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
  """Header and cells of the Markdown and LaTeX tables."""
  settings = any(row.cell.setting for row in rows)
  # All rows have the same lengths; "1" is the training length.
  lengths = [times for times in rows[0].by_length if times != "1"]
  header = ["policy", *(["setting"] if settings else []), "n", "accuracy"]
  header += [f"at {times}x length" for times in lengths]
  header += [GAP, "p (Holm)", "Cohen's d", "collapsed"]
  sizes = len({row.num_parameters for row in rows}) > 1
  header += ["parameters"] if sizes else []
  cells = []
  for row in rows:
    line = [row.cell.policy, *([row.cell.setting_name] if settings else [])]
    line += [str(row.accuracy.n), _interval(row.accuracy)]
    line += [f"{row.by_length[times].mean:.3f}" for times in lengths]
    if row.gap is None:
      line += ["", "", ""]
    else:
      effect = row.gap.effect
      line += [_interval(row.gap), _p(row.p_holm), _number(effect, ".1f")]
    line.append(str(row.collapsed))
    cells.append([*line, *([f"{row.num_parameters:,}"] if sizes else [])])
  for name, oracle in _oracles(rows).items():
    line = ["oracle", *([name] if settings else []), ""]
    found = [oracle.get(t, math.nan) for t in ("1", *lengths)]
    line += [_number(value, ".3f") for value in found]
    cells.append(line + [""] * (len(header) - len(line)))
  return header, cells


def _oracles(rows: Sequence[Row]) -> dict[str, Mapping[str, float]]:
  """The oracle's accuracy by setting; by "" if all settings have the same."""
  found = {row.cell.setting_name: row.oracle for row in rows if row.oracle}
  values = list(found.values())
  if all(value == values[0] for value in values):
    return {"": values[0]} if values else {}
  return found


def _interval(value: Estimate | Difference) -> str:
  if math.isnan(value.low):
    return f"{value.mean:.3f}"
  return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _p(value: float) -> str:
  return "" if math.isnan(value) else (
    "<0.001" if value < 1e-3 else f"{value:.3f}"
  )  # fmt: skip


def _number(value: float, form: str) -> str:
  return "" if math.isnan(value) else f"{value:{form}}"


def _markdown(rows: Sequence[Row]) -> str:
  return (
    f"{markup.markdown_table(*_columns(rows))}\n\n"
    "Test accuracy: mean over n seeds and 95% t interval. Differences are"
    " paired by seed, with Cohen's d and a two-sided paired t test, adjusted"
    " over all rows by Holm's method. Collapsed: runs with a memory warning."
    " Oracle: upper bound by a perfect reader of the best possible memory.\n"
  )


def _latex(rows: Sequence[Row]) -> str:
  header, cells = _columns(rows)
  return "\n".join(
    [
      rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
      r"\toprule",
      markup.latex_row(header),
      r"\midrule",
      *map(markup.latex_row, cells),
      r"\bottomrule",
      r"\end{tabular}",
      "",
    ]
  )
