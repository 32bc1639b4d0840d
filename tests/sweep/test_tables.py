"""The tables of a sweep, from summaries made by hand: nothing is trained."""

import csv
import math

import pytest

from nema_lc_jax.sweep import aggregate, figures, tables
from nema_lc_jax.sweep.plan import Cell, PlannedRun
from tests.summaries import a_summary

BUDGET = (("memory.budget", 1),)


def summary(accuracy, *, warning=None, oracle=(1.0, 0.75), **more):
  changes = {
    "test_accuracy_by_length": {"1": accuracy, "4": accuracy / 2},
    "oracle_accuracy_by_length": dict(zip(("1", "4"), oracle, strict=True))
    if oracle
    else None,
    "test_metrics": {"churn": accuracy / 4, "memory_age": 3.0},
    "num_parameters": 1234,
    "wall_seconds": 10.0,
    "validation_accuracy": accuracy,
  }
  return a_summary(
    test_accuracy=accuracy, memory_warning=warning, **changes | more
  )


def done_of(cells):
  """Finished runs from {(policy, setting): {seed: accuracy or summary}}."""
  done = []
  for (policy, setting), seeds in cells.items():
    for seed, value in seeds.items():
      found = summary(value) if isinstance(value, float) else value
      done.append((PlannedRun(Cell(policy, setting), seed, None, "x"), found))
  return done


OURS = {0: 0.9, 1: 0.8, 2: 0.7}
FIFO = {2: 0.5, 0: 0.6, 1: 0.4}  # not in the order of the seeds
WRITE_GATE = {0: 0.85, 1: 0.83, 2: 0.6, 3: 0.1}  # one seed more
PLAIN = {
  ("fifo", ()): FIFO,
  ("learned", ()): OURS,
  ("write_gate", ()): WRITE_GATE,
}


def rows_of(cells, reference="learned"):
  rows = aggregate.make_rows(done_of(cells), reference=reference)
  return {row.cell.name: row for row in rows}


def test_rows_are_in_the_order_of_the_sweep():
  assert list(rows_of(PLAIN)) == ["fifo", "learned", "write_gate"]


def test_others_are_paired_with_the_reference_by_seed():
  rows = rows_of(PLAIN)
  assert rows["learned"].gap is None
  assert math.isnan(rows["learned"].p_holm)
  gap = rows["fifo"].gap
  # Student's t with two degrees of freedom has p in closed form. The
  # differences are 0.3, 0.4 and 0.2: standard deviation 0.1.
  p_of = lambda t: 1 - t / math.sqrt(t * t + 2)
  assert gap.mean == pytest.approx(0.3)
  assert gap.p == pytest.approx(p_of(0.3 / (0.1 / math.sqrt(3))))
  assert gap.n == 3
  # Of the one with four seeds, the three that both have.
  gap = rows["write_gate"].gap
  # Differences 0.05, -0.03 and 0.1: mean 0.04, variance 0.0043.
  assert gap.n == 3
  assert gap.p == pytest.approx(p_of(0.04 / math.sqrt(0.0043 / 3)))
  assert rows["write_gate"].accuracy.n == 4
  assert rows["write_gate"].accuracy.mean == pytest.approx(0.595)


def test_all_comparisons_of_the_table_are_one_family():
  cells = dict(PLAIN)
  cells["fifo", BUDGET] = {0: 0.3, 1: 0.31, 2: 0.29}
  cells["learned", BUDGET] = {0: 0.5, 1: 0.52, 2: 0.51}
  rows = rows_of(cells)
  compared = [row for row in rows.values() if row.gap is not None]
  # Two, one in the other setting, and the reference's ablation.
  assert len(compared) == 4
  raw = sorted(row.gap.p for row in compared)
  highest = 0.0
  for factor, p in zip((4, 3, 2, 1), raw, strict=True):
    highest = max(highest, min(factor * p, 1.0))
    (row,) = [r for r in compared if r.gap.p == p]
    assert row.p_holm == pytest.approx(highest)


def test_others_are_compared_in_their_setting_and_ablations_to_the_plain():
  cells = dict(PLAIN)
  cells["fifo", BUDGET] = {0: 0.3, 1: 0.31, 2: 0.29}
  cells["learned", BUDGET] = {0: 0.5, 1: 0.52, 2: 0.51}
  rows = rows_of(cells)
  fifo = rows["fifo · memory.budget=1"].gap
  assert fifo.mean == pytest.approx((0.2 + 0.21 + 0.22) / 3)
  ablation = rows["learned · memory.budget=1"].gap
  assert ablation.mean == pytest.approx((0.4 + 0.28 + 0.19) / 3)


def test_without_the_reference_nothing_is_compared():
  rows = rows_of({("fifo", ()): FIFO, ("lru", ()): OURS})
  assert all(row.gap is None for row in rows.values())


def test_one_seed_has_means_and_no_intervals(tmp_path):
  rows = rows_of({("fifo", ()): {0: 0.5}, ("learned", ()): {0: 0.75}})
  assert rows["fifo"].gap.mean == 0.25
  assert math.isnan(rows["fifo"].p_holm)
  done = done_of({("fifo", ()): {0: 0.5}, ("learned", ()): {0: 0.75}})
  tables.write(list(rows.values()), done, tmp_path)
  for file in ("table.csv", "table.md", "table.tex"):
    assert "nan" not in (tmp_path / file).read_text()
  lines = (tmp_path / "table.md").read_text().splitlines()
  assert lines[2] == "| fifo | 1 | 0.500 | 0.250 | 0.250 |  |  | 0 |"


def test_encoders_are_rows_and_say_their_size(tmp_path):
  of = {"num_parameters": 1300, "test_accuracy_memory_off": None}
  cells = PLAIN | {("ssm", ()): {k: summary(a, **of) for k, a in FIFO.items()}}
  rows = rows_of(cells)
  assert rows["ssm"].gap == rows["fifo"].gap
  tables.write(list(rows.values()), done_of(cells), tmp_path)
  lines = (tmp_path / "table.md").read_text().splitlines()
  assert lines[0].endswith("| collapsed | parameters |")
  (ssm,) = [line for line in lines if line.startswith("| ssm ")]
  assert ssm.endswith("| 0 | 1,300 |")
  assert len({line.count("|") for line in lines[:7]}) == 1
  table = read_csv(tmp_path / "table.csv")
  assert [(row["policy"], row["num_parameters"]) for row in table] == [
    ("fifo", "1234"),
    ("learned", "1234"),
    ("write_gate", "1234"),
    ("ssm", "1300"),
  ]


def test_collapsed_runs_are_counted():
  warned = summary(0.1, warning="COLLAPSED MEMORY: nothing is written.")
  rows = rows_of({("learned", ()): {0: 0.9, 1: warned, 2: warned}})
  assert rows["learned"].collapsed == 2


def test_means_over_seeds_of_everything_else():
  row = rows_of(PLAIN)["fifo"]
  assert row.by_length["4"].mean == pytest.approx(0.25)
  assert row.metrics == pytest.approx({"churn": 0.125, "memory_age": 3.0})
  assert row.oracle == {"1": 1.0, "4": 0.75}
  assert row.num_parameters == 1234
  assert row.learning_rate == 2e-3
  mixed = {0: summary(0.5), 1: summary(0.5, git_commit=None, wall_seconds=20)}
  row = rows_of({("fifo", ()): mixed})["fifo"]
  assert row.commits == ("None", "abc")
  assert row.wall_seconds == 15


def test_a_metric_that_one_run_lacks_is_left_out():
  lacking = summary(0.5, test_metrics={"churn": 0.5})
  row = rows_of({("fifo", ()): {0: 0.5, 1: lacking}})["fifo"]
  assert set(row.metrics) == {"churn"}


@pytest.fixture
def written(tmp_path):
  """The files of a table with every kind of cell."""
  cells = dict(PLAIN)
  # All gaps the same: an infinite effect, p 0.
  cells["fifo", BUDGET] = {0: 0.25, 1: 0.25}
  cells["learned", BUDGET] = {0: 0.5, 1: 0.5}
  done = done_of(cells)
  rows = aggregate.make_rows(done, reference="learned")
  return rows, tables.write(rows, done, tmp_path), tmp_path


def read_csv(path):
  with path.open(encoding="utf-8") as file:
    return list(csv.DictReader(file))


def test_the_csv_has_every_number(written):
  rows, paths, out = written
  assert [path.name for path in paths] == [
    "table.csv",
    "table.md",
    "table.tex",
    "runs.csv",
  ]
  table = read_csv(out / "table.csv")
  assert len(table) == len(rows) == 5
  for line, row in zip(table, rows, strict=True):
    assert line["policy"] == row.cell.policy
    assert line["setting"] == row.cell.setting_name
    number = lambda name, line=line: float(line[name])
    assert number("test_accuracy") == pytest.approx(row.accuracy.mean)
    assert number("low") == pytest.approx(row.accuracy.low, rel=1e-5)
    assert number("accuracy_x4") == pytest.approx(row.by_length["4"].mean)
    assert number("oracle_x4") == 0.75
    if row.gap is None:
      assert line["p"] == line["p_holm"] == line["reference_minus_this"] == ""
    else:
      gap = number("reference_minus_this")
      assert gap == pytest.approx(row.gap.mean, rel=1e-5)
      assert number("p_holm") == pytest.approx(row.p_holm, rel=1e-5)
  infinite = [line for line in table if line["effect_size"] == "inf"]
  assert [line["policy"] for line in infinite] == ["fifo"]


def test_each_run_is_a_line_of_runs_csv(written):
  _, _, out = written
  lines = read_csv(out / "runs.csv")
  assert len(lines) == 3 + 3 + 4 + 2 + 2
  found = {
    int(line["seed"]): float(line["test_accuracy"])
    for line in lines
    if (line["policy"], line["setting"]) == ("fifo", "")
  }
  assert found == FIFO


def test_the_tables_for_people_have_equal_columns(written):
  rows, _, out = written
  lines = (out / "table.md").read_text().splitlines()
  lines = [line for line in lines if line.startswith("|")]
  cells = [line.strip("|").split("|") for line in lines]
  assert len(cells) == 1 + 1 + len(rows) + 1  # header, rule, oracle
  widths = {len(line) for line in cells}
  header = [cell.strip() for cell in cells[0]]
  assert widths == {len(header)}
  assert header == [
    "policy", "setting", "n", "accuracy", "at 4x length",
    tables.GAP, "p (Holm)", "Cohen's d", "collapsed",
  ]  # fmt: skip
  named = [
    dict(zip(header, map(str.strip, line), strict=True)) for line in cells[2:]
  ]
  fifo, learned = named[:2]
  low, high = rows[0].accuracy.low, rows[0].accuracy.high
  assert fifo["accuracy"] == f"0.500 [{low:.3f}, {high:.3f}]"
  assert fifo["at 4x length"] == "0.250"
  assert fifo[tables.GAP].startswith("0.300 [")
  assert (
    learned[tables.GAP] == learned["p (Holm)"] == learned["Cohen's d"] == ""
  )
  assert named[-1]["policy"] == "oracle"
  assert named[-1]["accuracy"] == "1.000"
  assert named[-1]["at 4x length"] == "0.750"
  assert named[3]["p (Holm)"] == "<0.001"
  assert named[3]["setting"] == "memory.budget=1"


def test_latex_is_escaped_and_has_equal_columns(written):
  _, _, out = written
  text = (out / "table.tex").read_text()
  lines = text.splitlines()
  columns = 9
  assert lines[0] == r"\begin{tabular}{l" + "r" * (columns - 1) + "}"
  assert lines[-1] == r"\end{tabular}"
  body = [line for line in lines if line.endswith(r"\\")]
  assert len(body) == 1 + 5 + 1
  assert {line.count("&") for line in body} == {columns - 1}
  assert r"write\_gate" in text
  assert r"$<$0.001" in text
  assert "_" not in text.replace(r"\_", "")
  assert "<" not in text.replace("$<$", "")


@pytest.mark.parametrize("special", ["#", "&", "{", "$", "^", "%", "_"])
def test_a_setting_with_special_characters_is_latex_too(special, tmp_path):
  cells = {("learned", (("data.path", f"a{special}b"),)): OURS}
  rows = list(rows_of(cells).values())
  tables.write(rows, done_of(cells), tmp_path)
  lines = (tmp_path / "table.tex").read_text().splitlines()
  (line,) = [x for x in lines if x.startswith("learned")]
  cell = line.split(" & ")[1]
  assert f"a{special}b" not in cell
  assert line.count(" & ") == 8


def test_without_an_oracle_or_settings_there_is_no_such_line_or_column(
  tmp_path,
):
  cells = {("fifo", ()): {0: summary(0.5, oracle=None)}}
  rows = list(rows_of(cells).values())
  tables.write(rows, done_of(cells), tmp_path)
  text = (tmp_path / "table.md").read_text()
  assert "| oracle" not in text
  assert "setting" not in text.splitlines()[0]


def test_lengths_need_not_hold_the_training_length(tmp_path):
  # --config.eval.length_multipliers=(4,)
  only = {
    "test_accuracy_by_length": {"4": 0.5},
    "oracle_accuracy_by_length": {"4": 0.75},
  }
  cells = {("fifo", ()): {0: summary(0.5, **only)}}
  rows = list(rows_of(cells).values())
  tables.write(rows, done_of(cells), tmp_path)
  header, _, fifo, oracle, *_ = (tmp_path / "table.md").read_text().split("\n")
  assert "at 4x length" in header
  assert "0.500" in fifo
  assert "0.750" in oracle


def test_lengths_are_drawn_in_tokens_beside_chance():
  change = {"config": {"data": {"length": 300}}, "baselines": {"chance": 0.1}}
  runs = {"fifo": [summary(0.5, **change), summary(0.7, **change)]}
  (ax,) = figures.by_length(runs, "mine").axes
  fifo, oracle, chance = ax.lines
  assert fifo.get_xdata().tolist() == [300, 1200]
  assert fifo.get_ydata().tolist() == pytest.approx([0.6, 0.3])
  assert oracle.get_ydata().tolist() == [1.0, 0.75]
  assert (chance.get_xdata(), chance.get_ydata()) == ([300], [0.1])
  assert [t.get_text() for t in ax.get_xticklabels()] == ["300", "1,200"]
  assert ax.get_xlabel() == "text length (tokens; trained on 300)"


def test_the_tuning_table_says_what_was_tried(tmp_path):
  class Config:
    class train:  # noqa: N801
      learning_rate = 0.5

  run = PlannedRun(Cell("fifo"), 1000, Config, "x")
  tables.write_tuning(tmp_path / "tuning.csv", [(run, summary(0.25))])
  assert read_csv(tmp_path / "tuning.csv") == [
    {
      "policy": "fifo",
      "learning_rate": "0.5",
      "seed": "1000",
      "validation_accuracy": "0.25",
      "git_commit": "abc",
    }
  ]


def test_an_oracle_that_differs_by_setting_has_a_line_for_each(tmp_path):
  done = done_of(
    {
      ("fifo", (("memory.num_slots", m),)): {
        0: summary(0.5, oracle=(best, best))
      }
      for m, best in ((2, 0.625), (4, 1.0))
    }
  )
  tables.write(aggregate.make_rows(done, reference="learned"), done, tmp_path)
  lines = (tmp_path / "table.md").read_text().splitlines()
  oracles = [line for line in lines if line.startswith("| oracle")]
  assert len(oracles) == 2
  assert "memory.num_slots=2" in oracles[0]
  assert "0.625" in oracles[0]
  assert "memory.num_slots=4" in oracles[1]
  assert "1.000" in oracles[1]


def test_runs_on_other_data_are_not_mixed_in():
  runs = {0: summary(0.9), 1: summary(0.9, data_fingerprint="of others")}
  for cells in (
    {("learned", ()): runs},
    # Also those of settings that have nothing to do with the data.
    {
      ("learned", ()): {0: runs[0]},
      ("fifo", (("loss.write", 1.0),)): {0: runs[1]},
    },
  ):
    with pytest.raises(ValueError, match="the data have changed between x"):
      aggregate.make_rows(done_of(cells), reference="learned")


def test_errors_by_task_stand_beside_each_other(tmp_path):
  errors = lambda one, two: {"test_error_by_task": {"1": one, "12": two}}
  done = done_of(
    {
      ("learned", ()): {
        0: summary(0.9, **errors(0.1, 0.0)),
        1: summary(0.8, **errors(0.3, 0.0)),
      },
      ("fifo", ()): {0: summary(0.5, **errors(0.5, 0.25))},
    }
  )
  rows = aggregate.make_rows(done, reference="learned")
  assert tmp_path / "by_task.csv" in tables.write(rows, done, tmp_path)
  with (tmp_path / "by_task.csv").open(encoding="utf-8") as file:
    found = list(csv.DictReader(file))
  assert found == [
    {"task": "1", "learned": "0.2", "fifo": "0.5"},
    {"task": "12", "learned": "0", "fifo": "0.25"},
  ]
  text = (tmp_path / "table.md").read_text()
  assert "| 1 | 20.0% | 50.0% |" in text
  # Settings may be of different tasks.
  task = lambda n: (("data.task", n),)
  done = done_of(
    {
      ("learned", task(n)): {
        0: summary(0.9, test_error_by_task={n: 0.1}, data_fingerprint=n)
      }
      for n in ("12", "2")
    }
  )
  rows = aggregate.make_rows(done, reference="learned")
  tables.write(rows, done, tmp_path)
  text = (tmp_path / "table.md").read_text()
  assert "| 2 |  | 10.0% |\n| 12 | 10.0% |  |" in text
  # Other data sets have none.
  plain = done_of(PLAIN)
  tables.write(aggregate.make_rows(plain, reference="learned"), plain, tmp_path)
  assert "Error by task" not in (tmp_path / "table.md").read_text()
