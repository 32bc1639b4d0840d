import csv
import itertools
import math
import os
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nema_lc_jax.models import BASELINES, POLICIES
from nema_lc_jax.plotting import compare, plot_run
from nema_lc_jax.plotting import style as style_lib
from nema_lc_jax.plotting.__main__ import main
from nema_lc_jax.plotting.published import task_of, write_published
from nema_lc_jax.plotting.timeline import memory_timeline, shade
from nema_lc_jax.runs.intervals import estimate
from nema_lc_jax.runs.metrics_log import MetricWriter
from nema_lc_jax.runs.records import RunRecord, read_run
from nema_lc_jax.runs.trace import (
  FORGOTTEN,
  FREE,
  RENEWED,
  REPLACED,
  RETAINED,
  UPDATED,
  WRITTEN,
  Trace,
)
from tests.summaries import a_summary, config_with

RUN_FIGURES = {
  "memory_utilisation",
  "retention_age",
  "operation_rates",
  "loss_components",
  "learning_curve",
  "overview",
}
COMPARE_FIGURES = {
  "compare_accuracy",
  "compare_curves",
  "compare_lifecycle",
  "compare_cost",
}


def make_run(
  workdir, *, evaluations=2, lifecycle_loss=0.0, finished=True, **summary
):
  """A run of 20 steps per evaluation."""
  rows = {
    "accuracy": 0.6,
    "memory_utilisation": 0.9,
    "memory_age": 3.0,
    "write_rate": 0.3,
    "update_rate": 0.0,
    "forget_rate": 0.0,
    "budget_used": 0.5,
    "churn": 0.2,
    "task_loss": 0.69,
    "write_loss": lifecycle_loss,
    "forget_loss": lifecycle_loss,
    "stability_loss": lifecycle_loss,
  }
  with MetricWriter(workdir, tensorboard=False) as writer:
    for step in range(1, 20 * evaluations + 1):
      writer.write(step, "train", rows | {"task_loss": 1 / step})
      if step % 20 == 0:
        writer.write(step, "validation", rows)
  if finished:
    a_summary(**summary).write(workdir)
  return workdir


def make_trace(N, M, *, ground_truth=True):
  rng = np.random.default_rng(0)
  return Trace(
    operation=rng.integers(0, 6, (N, M)).astype(np.int8),
    strength=rng.random((N, M), np.float32),
    attention=rng.random((N, M), np.float32) / M,
    ground_truth=rng.integers(0, 3, N).astype(np.int8)
    if ground_truth
    else None,
  )


def stems(folder, suffix):
  return {path.stem for path in folder.glob(f"*.{suffix}")}


def error_line(capsys):
  """The one line a user sees after a mistake."""
  captured = capsys.readouterr()
  assert captured.out == ""
  (line,) = captured.err.splitlines()
  return line


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Three seeds of one policy, one of another."""
  root = tmp_path_factory.mktemp("runs")
  learned = [
    make_run(root / f"learned_{s}", seed=s, test_accuracy=a)
    for s, a in enumerate((0.70, 0.74, 0.75))
  ]
  return [make_run(root / "fifo", policy="fifo"), *learned]


def test_a_run_is_drawn_as_png_and_pdf_the_same_every_time(tmp_path):
  make_run(tmp_path, lifecycle_loss=1e-5)
  trace = make_trace(8, 4)._asdict()
  age = np.zeros((8, 4), np.int32)
  np.savez(tmp_path / "memory_trace.npz", age=age, **trace)
  before = dict(mpl.rcParams)

  first = {path: path.read_bytes() for path in plot_run(tmp_path)}

  assert set(first) == set((tmp_path / "plots").iterdir())
  expected = RUN_FIGURES | {"memory_timeline"}
  assert stems(tmp_path / "plots", "png") == expected
  assert stems(tmp_path / "plots", "pdf") == expected
  assert first == {path: path.read_bytes() for path in plot_run(tmp_path)}
  # The house style stays inside the house.
  assert dict(mpl.rcParams) == before


def test_a_run_that_is_still_training_can_be_drawn(tmp_path):
  metrics = {"accuracy": 0.5, "task_loss": math.nan}
  with MetricWriter(tmp_path / "full", tensorboard=False) as writer:
    writer.write(1, "train", metrics)
  with MetricWriter(tmp_path / "fifo", tensorboard=False) as writer:
    writer.write(1, "train", metrics | {"memory_utilisation": 0.5})
  for name in ("full", "fifo"):
    plot_run(tmp_path / name)
  assert stems(tmp_path / "fifo" / "plots", "png") == RUN_FIGURES
  bare = {"learning_curve", "loss_components", "overview"}
  assert stems(tmp_path / "full" / "plots", "png") == bare


def test_a_series_leaves_out_what_is_missing_or_not_finite(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, "train", {"loss": 1.0})
    writer.write(2, "train", {"loss": math.nan})
    writer.write(3, "train", {"accuracy": 0.5})
    writer.write(4, "validation", {"loss": 3.0})
    writer.write(5, "train", {"loss": 2.0})
  steps, values = read_run(tmp_path).series("train", "loss")
  assert steps.tolist() == [1, 5]
  assert values.tolist() == [1.0, 2.0]


def test_smoothing_keeps_a_constant_and_a_line():
  np.testing.assert_allclose(style_lib.smooth(np.full(100, 3.0)), 3.0)
  line = np.arange(100.0)
  # Away from the ends, where the window is cut, a mean of a line is the line.
  np.testing.assert_allclose(style_lib.smooth(line)[5:-5], line[5:-5])


@pytest.mark.parametrize(
  ("positions", "expected"),
  [
    ([0.0, 1.0], [0.0, 1.0]),
    ([0.5, 0.5], [0.45, 0.55]),
    ([0.0, 0.5, 0.52, 1.0], [0.0, 0.46, 0.56, 1.0]),
    # The second pair reaches into the first when it is moved apart.
    ([0.5, 0.5, 0.62, 0.62], [0.41, 0.51, 0.61, 0.71]),
    ([], []),
  ],
)
def test_labels_that_touch_are_moved_apart(positions, expected):
  np.testing.assert_allclose(style_lib.spread(positions, gap=0.1), expected)


def test_limits_hold_all_values_within_their_bounds():
  low, high = style_lib.limits([0.5, math.nan], [1.0], ceiling=1.02)
  assert low < 0.5
  assert high == 1.02
  assert style_lib.limits([0.0, 0.0])[0] < 0 < style_lib.limits([0.0])[1]
  # A change of a hundredth of a percent does not fill the axis.
  low, high = style_lib.limits([0.65622, 0.65625])
  assert high - low > 0.05


def test_a_policy_keeps_its_colour_in_any_company():
  alone = style_lib.policy_colours(["learned"])
  together = style_lib.policy_colours(["mine", "learned", "fifo", "yours"])
  assert together["learned"] == alone["learned"]
  assert list(together) == ["fifo", "learned", "mine", "yours"]
  assert len(set(together.values())) == 4


def test_many_unknown_policies_have_colours_of_their_own():
  names = [f"mine:gate{i}" for i in range(12)]
  colours = style_lib.policy_colours([*style_lib.POLICY_COLOURS, *names])
  rgb = np.array([to_rgb(colour) for colour in colours.values()])
  apart = np.linalg.norm(rgb[:, None] - rgb, axis=-1)
  # Nearer ones could hardly be told apart.
  assert apart[~np.eye(len(rgb), dtype=bool)].min() > 0.15


def test_a_cell_pales_with_its_strength_and_free_or_forgotten_ones_do_not():
  operation = np.array([[RETAINED, RETAINED, WRITTEN, FORGOTTEN, FREE]])
  alive = np.array([[1.0, 0.1, 0.1, 0.0, 0.0]])
  strong, weak, written, forgotten, free = shade(
    Trace(operation, alive, alive)
  )[0]
  assert strong.sum() < weak.sum() < 3.0
  # A write must be seen even if it is weak.
  assert written.sum() < weak.sum()
  assert mpl.colors.to_hex(forgotten) == "#d55e00"
  assert mpl.colors.to_hex(free) == "#ececec"


@pytest.mark.parametrize(("N", "M", "truth"), [(8, 4, True), (256, 64, False)])
def test_nothing_in_the_timeline_is_cut_off_or_overlaps(N, M, truth):
  with style_lib.STYLE():
    figure = memory_timeline(
      make_trace(N, M, ground_truth=truth), title="a title"
    )
    figure.draw_without_rendering()
    *panels, bar = [ax.get_tightbbox() for ax in figure.axes[1:]]
    legend = figure.axes[0].get_legend().get_window_extent()
    titled = figure._suptitle.get_window_extent()
  frame = figure.bbox
  rows = [titled, legend, *panels]
  for box in (*rows, bar):
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1
  for above, below in itertools.pairwise(rows):
    assert above.y0 >= below.y1 - 1  # rounding
  # The panels are as wide as the figure lets them be.
  assert panels[-1].width > 0.8 * frame.width


@pytest.mark.parametrize(
  ("N", "M", "words", "written"),
  [
    (8, 4, 3, True),
    (18, 12, 4, True),
    (8, 4, 5, False),
    (19, 4, 3, False),
    (8, 13, 3, False),
  ],
)
def test_short_facts_stand_in_the_slots_that_store_them(N, M, words, written):
  trace = make_trace(N, M)
  facts = [" ".join([f"MARK{n}"] * words) for n in range(N)]
  with style_lib.STYLE():
    figure = memory_timeline(trace, facts=facts)
    figure.draw_without_rendering()
  texts = figure.axes[2].texts
  stores = np.isin(trace.operation, (WRITTEN, REPLACED, RENEWED, UPDATED))
  expected = {(n, m) for n, m in np.argwhere(stores)} if written else set()
  assert {text.get_position() for text in texts} == expected
  for text in texts:
    n, _ = text.get_position()
    assert text.get_text().split() == [f"MARK{n}"] * words
    # It fits into its cell.
    box = text.get_window_extent()
    cell = figure.axes[2].transData.transform([[0, 1], [1, 0]])
    assert box.width < np.ptp(cell[:, 0])
    assert box.height < np.ptp(cell[:, 1])


def test_longer_facts_stand_beside_the_slot_that_holds_them():
  # Slot 0 is updated, 1 holds no fact, 2 has been forgotten, 3 is never used.
  operation = np.array(
    [
      [WRITTEN, FREE, WRITTEN, FREE],
      [RETAINED, WRITTEN, RETAINED, FREE],
      [UPDATED, RETAINED, FORGOTTEN, FREE],
    ]
  )
  trace = Trace(operation, np.ones((3, 4)), np.ones((3, 4)))
  facts = ["anna went to the garden", "", "anna is back in the " + "x" * 60]
  with style_lib.STYLE():
    figure = memory_timeline(trace, facts=facts)
    figure.draw_without_rendering()
  (beside,) = figure.axes[1].child_axes
  names = [label.get_text() for label in beside.get_yticklabels()]
  assert names == ["anna is back in the " + "x" * 27 + "…", "no fact", "", ""]
  for label in beside.get_yticklabels():
    box = label.get_window_extent()
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("broken", ["missing", "misshapen"])
def test_a_broken_trace_is_named(tmp_path, broken):
  make_run(tmp_path)
  arrays = {
    name: value
    for name, value in make_trace(8, 4)._asdict().items()
    if name != "attention" or broken == "misshapen"
  }
  arrays |= {"attention": np.ones((8, 3))} if broken == "misshapen" else {}
  np.savez(tmp_path / "memory_trace.npz", **arrays)
  with pytest.raises(ValueError, match=r"memory_trace\.npz.*'attention'"):
    plot_run(tmp_path)


def test_the_interval_is_students_t():
  # By hand: mean 0.73, squared deviations 0.0009 + 0.0001 + 0.0004 = 0.0014,
  # s = sqrt(0.0014 / 2) = 0.02645751, t(2 degrees) = 4.302653.
  half = 4.302653 * 0.02645751 / math.sqrt(3)
  mean, low, high, n = estimate([0.70, 0.74, 0.75])
  assert n == 3
  np.testing.assert_allclose(
    [mean, low, high], [0.73, 0.73 - half, 0.73 + half], rtol=1e-5
  )
  # Two seeds, t(1 degree) = 12.70620: mean 0.6, s = 0.1 * sqrt(2).
  low, high = estimate([0.5, 0.7])[1:3]
  np.testing.assert_allclose((low, high), (-0.670620, 1.870620), rtol=1e-5)


def test_a_single_seed_has_no_interval():
  mean, low, high, n = estimate([0.7])
  assert (mean, n) == (0.7, 1)
  assert math.isnan(low)
  assert math.isnan(high)


def test_compare_draws_and_tabulates_by_policy(runs, tmp_path):
  written = compare(runs, tmp_path)
  assert stems(tmp_path, "png") == COMPARE_FIGURES
  assert stems(tmp_path, "pdf") == COMPARE_FIGURES
  assert set(written) == set(tmp_path.iterdir())
  with (tmp_path / "compare.csv").open() as file:
    fifo, learned = csv.DictReader(file)
  assert fifo["policy"] == "fifo"
  assert fifo["n"] == "1"
  assert fifo["low"] == fifo["high"] == ""
  assert learned["n"] == "3"
  assert learned["seeds"] == "0 1 2"
  assert float(learned["test_accuracy"]) == pytest.approx(0.73)
  assert float(learned["low"]) == pytest.approx(0.6642759, abs=1e-6)
  assert float(learned["validation_memory_age"]) == 3.0
  assert learned["num_parameters"] == "1234567"


def test_encoders_are_groups_and_costs_are_what_is_known(tmp_path):
  speeds = {"full": (9.0, 2.0, 3.0), "ssm": (8.0, 8.5, 0.1)}
  for name, values in speeds.items():
    for step, speed in enumerate(values, 1):
      with MetricWriter(tmp_path / name, tensorboard=False) as writer:
        writer.write(step, "train", {"examples_per_second": speed})
  make_run(
    tmp_path / "full",
    policy="full",
    peak_memory_bytes=3 * 2**20,
    config=config_with(model={"encoder": "full"}),
  )
  make_run(
    tmp_path / "ssm",
    policy="ssm",
    peak_memory_bytes=None,
    config=config_with(model={"encoder": "ssm"}),
  )
  # Of a version that did not know what a step takes.
  make_run(tmp_path / "fifo", policy="fifo")
  out = tmp_path / "out"
  compare([tmp_path / name for name in ("ssm", "full", "fifo")], out)
  with (out / "compare.csv").open() as file:
    rows = {row["policy"]: row for row in csv.DictReader(file)}
  assert list(rows) == ["fifo", "full", "ssm"]
  found = {name: row["examples_per_second"] for name, row in rows.items()}
  assert found == {"fifo": "", "full": "3", "ssm": "8"}
  found = {name: row["peak_memory_bytes"] for name, row in rows.items()}
  assert found == {"fifo": "", "full": str(3 * 2**20), "ssm": ""}
  (age,) = (name for name in rows["full"] if name.endswith("memory_age"))
  # What a model logs of the slots that it lacks is not drawn.
  assert [rows[name][age] for name in ("full", "fifo")] == ["", "3"]


def test_all_colours_of_policies_and_encoders_differ():
  names = [*POLICIES, *BASELINES, "mine"]
  colours = style_lib.policy_colours(names)
  assert set(colours) == set(names)
  # The oracle has none of its own, like what users write.
  assert len({colours[name] for name in names if name != "oracle"}) == 15


# Published numbers.


def published(folder):
  """Rows of the table, cell by cell, by the part that they are in."""
  parts, name = {}, None
  for line in (folder / "published.tex").read_text().splitlines():
    if found := re.search(r"emph\{([^:}]*)", line):
      name = found[1]
      parts[name] = []
    elif name and line.endswith(r"\\"):
      parts[name].append(line.removesuffix(r" \\").split(" & "))
  return parts


def aan_runs(root, accuracies=(0.70, 0.74, 0.75), **summary):
  summary = {"task": "aan"} | summary
  return [
    str(make_run(root / f"run{seed}", seed=seed, test_accuracy=a, **summary))
    for seed, a in enumerate(accuracies)
  ]


def test_our_runs_stand_apart_from_the_published_numbers_of_their_task(
  tmp_path, capsys
):
  out = tmp_path / "out"
  runs = aan_runs(tmp_path, policy="write_gate")
  assert main(["--compare", *runs, "--out", str(out), "--published"]) == 0
  assert "wrote 10 files" in capsys.readouterr().out
  parts = published(out)
  assert list(parts) == ["published", "ours, this run"]
  theirs = {row[0]: row[1:] for row in parts["published"]}
  assert theirs["Transformer"][0] == "57.46"
  assert theirs["S5"] == ["91.40", "Smith et al. 2023, S5"]
  assert all(len(row) == 3 and row[2] for row in parts["published"])
  (ours,) = parts["ours, this run"]
  assert ours == [
    r"write\_gate",
    "73.00 [66.43, 79.57]",
    "ours, n=3, 1,234,567 parameters, length 4,000, 1,000 test examples",
  ]


@pytest.mark.parametrize(
  ("data", "length", "task", "s5"),
  [
    ("listops", 2000, "listops", "62.15"),
    ("imdb", 4000, "text", "89.31"),
    ("cifar10", 1024, "image", "88.00"),
    ("pathfinder", 1024, "pathfinder", "95.33"),
    ("pathfinder", 16384, "pathx", "98.58"),
  ],
)
def test_the_task_is_that_of_the_runs(tmp_path, data, length, task, s5):
  config = config_with(data={"length": length, "resolution": length**0.5})
  summary = a_summary(task=data, config=config)
  assert task_of(summary) == task
  groups = {"learned": [RunRecord(tmp_path, [], summary)]}
  write_published(groups, task, tmp_path / "published.tex")
  parts = published(tmp_path)
  theirs = {row[0]: row[1] for row in parts["published"]}
  assert theirs["S5"] == s5
  # For Path-X, most have no number.
  assert ("Transformer" in theirs) == (task != "pathx")
  (ours,) = parts["ours, this run"]
  assert ours[:2] == ["learned", "70.00"]
  assert ours[2].endswith(f"length {length:,}, 1,000 test examples")


@pytest.mark.parametrize(
  ("task", "options", "said"),
  [
    ("aan", {"dir": "x", "reading": "decoded"}, "decoded bytes"),
    ("pathfinder", {"dir": None}, "generated images, not LRA's"),
    ("pathfinder", {"dir": "x"}, "1,000 test examples"),
    (
      "listops",
      {"dir": None, "min_length": 100, "max_length": 500},
      "generated lists of 100 to 500",
    ),
  ],
)
def test_what_data_differ_in_is_said(tmp_path, task, options, said):
  summary = a_summary(task=task, config=config_with(data=options))
  groups = {"learned": [RunRecord(tmp_path, [], summary)]}
  write_published(groups, task_of(summary), tmp_path / "published.tex")
  (ours,) = published(tmp_path)["ours, this run"]
  assert ours[2].endswith(said)


def test_a_task_without_published_numbers_is_one_line(tmp_path, capsys):
  out = tmp_path / "out"
  (run,) = aan_runs(tmp_path, [0.5], task="recall")
  assert main(["--compare", run, "--out", str(out), "--published"]) == 2
  line = error_line(capsys)
  assert "no published numbers for the task 'recall'" in line
  assert "listops" in line
  assert not out.exists()


@pytest.mark.parametrize("name", ["task", "data_fingerprint"])
def test_compare_refuses_to_mix(runs, tmp_path, capsys, name):
  other = make_run(tmp_path / "other", **{name: "different"})
  out = tmp_path / "out"
  argv = ["--compare", str(runs[0]), str(other), "--out", str(out)]
  assert main(argv) == 2
  line = error_line(capsys)
  assert f"runs differ in {name}" in line
  assert f"'different': {other}" in line
  assert str(runs[0]) in line
  assert not out.exists()


def test_compare_refuses_an_unfinished_run(runs, tmp_path, capsys):
  other = make_run(tmp_path / "other", finished=False)
  assert main(["--compare", str(runs[0]), str(other)]) == 2
  assert f"{other} has no summary.json" in error_line(capsys)


def test_compare_refuses_a_seed_twice(runs, tmp_path):
  with pytest.raises(ValueError, match="'fifo', seed 0 occurs twice"):
    compare([runs[0], runs[0]], tmp_path)


def test_compare_says_what_a_summary_lacks(tmp_path):
  make_run(tmp_path, finished=False)
  (tmp_path / "summary.json").write_text('{"task": "pytext"}')
  with pytest.raises(ValueError, match=r"summary\.json lacks 'policy'"):
    compare([tmp_path], tmp_path)


def test_the_command_line_draws(runs, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert main(["--compare", *map(str, runs[:2])]) == 0
  assert os.path.exists("plots_compare/compare_accuracy.png")
  assert capsys.readouterr().out == "wrote 9 files to plots_compare\n"


@pytest.mark.parametrize(
  ("flag", "make", "message"),
  [
    ("--workdir", lambda path: None, "no such folder"),
    ("--compare", lambda path: None, "no such folder"),
    ("--workdir", lambda path: path.mkdir(), "no metrics.jsonl"),
    ("--workdir", lambda path: make_run(path, evaluations=0), "no metrics"),
  ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
  tmp_path, capsys, flag, make, message
):
  workdir = tmp_path / "run"
  make(workdir)
  assert main([flag, str(workdir)]) == 2
  line = error_line(capsys)
  assert line.startswith("error: ")
  assert message in line
  assert str(workdir) in line


@pytest.mark.parametrize(
  "argv",
  [
    [],
    ["--workdir", "a", "--compare", "b"],
    ["--workdir", "a", "--out", "b"],
    ["--workdir", "a", "--published"],
    ["--compare", "a", "--published", "x"],
  ],
)
def test_flags_that_do_not_go_together_are_refused(argv, capsys):
  assert main(argv) == 2
  assert error_line(capsys).startswith("error: ")


def test_help_explains_itself(capsys):
  with pytest.raises(SystemExit) as caught:
    main(["--help"])
  assert caught.value.code == 0
  assert "examples:" in capsys.readouterr().out
