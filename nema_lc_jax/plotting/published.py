"""A LaTeX table of our runs and published results of Long Range Arena."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nema_lc_jax.runs import markup
from nema_lc_jax.runs.intervals import estimate
from nema_lc_jax.runs.records import RunRecord
from nema_lc_jax.runs.summary import Summary

FILE = "published.tex"
TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
# The task of Long Range Arena of each data set.
DATA = {
  "listops": "listops",
  "imdb": "text",
  "aan": "retrieval",
  "cifar10": "image",
  "pathfinder": "pathfinder",
}
PATHX_RESOLUTION = 128  # the same data set in larger images

LRA = "Tay et al. 2021, Long Range Arena"
MEGA = "Ma et al. 2023, Mega, table 2"


class Result(NamedTuple):
  """Published test accuracies in percent, with their digits."""

  model: str
  source: str
  accuracies: Sequence[str | None]  # in the order of TASKS; None: not reported


# On listops, predicting from the root operator alone gives 35.3, about as much
# as the first two: see the baselines of data/lra/listops.py.
RESULTS = (
  Result(
    "Transformer", LRA, ("36.37", "64.27", "57.46", "42.44", "71.40", None)
  ),
  Result(
    "Transformer, reimplemented",
    "Xiong et al. 2021, Nystromformer, table 3",
    ("37.10", "65.02", "79.35", "38.20", "74.16", None),
  ),
  Result(
    "Local attention", LRA, ("15.82", "52.98", "53.39", "41.46", "66.63", None)
  ),
  Result("Longformer", LRA, ("35.6", "62.9", "56.9", "42.2", "69.7", None)),
  Result("BigBird", LRA, ("36.1", "64.0", "59.3", "40.8", "74.9", None)),
  Result("Performer", LRA, ("18.0", "65.4", "53.8", "42.8", "77.1", None)),
  Result(
    "TLB",
    "Didolkar et al. 2022, Temporal Latent Bottleneck",
    ("37.05", "81.88", "76.91", "57.51", "79.06", None),
  ),
  Result(
    "Luna-256",
    "Ma et al. 2021, Luna, in " + MEGA,
    ("37.98", "65.78", "79.56", "47.86", "78.55", None),
  ),
  Result(
    "S4 v2",
    "Gu et al. 2022, S4, in " + MEGA,
    ("59.60", "86.82", "90.90", "88.65", "94.20", "96.35"),
  ),
  Result(
    "S5",
    "Smith et al. 2023, S5",
    ("62.15", "89.31", "91.40", "88.00", "95.33", "98.58"),
  ),
  Result(
    "Mega-chunk128", MEGA, ("58.8", "90.2", "90.97", "85.8", "94.4", "93.8")
  ),
  Result("Mega", MEGA, ("63.1", "90.4", "91.25", "90.4", "96.0", "98.0")),
)


def task_of(summary: Summary) -> str:
  """The Long Range Arena task of a run.

  Raises:
    ValueError: if its data set belongs to no such task.
  """
  name = summary.task
  if name not in DATA:
    raise ValueError(
      f"no published numbers for the task {name!r}; there are some for"
      f" {', '.join(DATA)}; or choose a task by --published"
      f" {'|'.join(TASKS)}; for bAbI use python -m nema_lc_jax.by_task RUNS"
      " --published"
    )
  resolution = summary.config["data"].get("resolution")
  if name == "pathfinder" and resolution == PATHX_RESOLUTION:
    return "pathx"
  return DATA[name]


def write_published(
  groups: Mapping[str, Sequence[RunRecord]], task: str, path: Path
) -> Path:
  """Writes a LaTeX table of published results and of our runs.

  Args:
    groups: our runs on one data set, by policy or encoder.
    task: the task of the published results, one of `TASKS`.
    path: the output file.
  """
  data = next(run.summary.task for runs in groups.values() for run in runs)
  column = TASKS.index(task)
  published = [
    (r.model, r.accuracies[column], r.source)
    for r in RESULTS
    if r.accuracies[column] is not None
  ]
  ours = [_ours(name, runs) for name, runs in groups.items()]
  title = lambda text: (
    rf"\multicolumn{{3}}{{l}}{{\emph{{{markup.latex_escape(text)}}}}} \\"
  )
  lines = [
    "% Published numbers are copied from their sources and were not run here;",
    "% models, sizes, preprocessing and training differ from ours.",
    r"\begin{tabular}{lrl}",
    r"\toprule",
    markup.latex_row(("model", f"{task}, test accuracy %", "source")),
    r"\midrule",
    title("published"),
    *map(markup.latex_row, published),
    r"\midrule",
    title(f"ours, this run: {data}"),
    *map(markup.latex_row, ours),
    r"\bottomrule",
    r"\end{tabular}",
  ]
  path.write_text("\n".join(lines) + "\n", encoding="utf-8")
  return path


def _ours(name: str, runs: Sequence[RunRecord]) -> tuple[str, str, str]:
  found = estimate([100 * run.summary.test_accuracy for run in runs])
  accuracy = f"{found.mean:.2f}"
  if found.n > 1:
    accuracy += f" [{found.low:.2f}, {found.high:.2f}]"
  summary = runs[0].summary
  facts = [f"ours, n={found.n}", f"{summary.num_parameters:,} parameters"]
  return name, accuracy, ", ".join([*facts, *_data(summary)])


def _data(summary: Summary) -> Iterator[str]:
  """Properties of our data that may differ from the published setup."""
  data = summary.config["data"]
  yield f"length {data['length']:,}"
  yield f"{summary.test_examples:,} test examples"
  if "reading" in data:
    yield f"{data['reading']} bytes"
  if data.get("dir", "") is None and summary.task == "listops":
    sizes = (data.get("min_length", 500), data.get("max_length", 2000))
    yield f"generated lists of {sizes[0]} to {sizes[1]}"
  if data.get("dir", "") is None and summary.task == "pathfinder":
    yield "generated images, not LRA's"
