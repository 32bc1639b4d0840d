"""The benchmark: its tables by hand, and one tiny run from end to end."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nema_lc_jax.benchmark import __main__ as command
from nema_lc_jax.benchmark import figures, machine, parts, tables
from nema_lc_jax.benchmark.measure import Program, alternate, ratios, timing
from nema_lc_jax.benchmark.models import (
  MEASURED,
  NO_FIT,
  SLOW,
  Case,
  Comparison,
  Limits,
  config_of,
  fit,
)
from nema_lc_jax.models import BASELINES
from nema_lc_jax.runs.command_line import parse_config
from nema_lc_jax.training.matching import size_of
from nema_lc_jax.training.task import TaskSpec

# ml_collections loads config files in a way that Python gives up.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
INTERFACE = TaskSpec("classify", 16, 2)
TINY = (
  "--config.model.width=8",
  "--config.model.num_heads=2",
  "--config.model.chunk_length=4",
  "--config.memory.num_slots=4",
  # Compiles faster than one that is learned.
  "--config.memory.policy=fifo",
  "--config.data.name=toy",
  "--config.data.length=8",
  "--config.train.batch_size=2",
  "--lengths=8",
  "--rounds=2",
  "--seconds=1e-3",
  "--matrix=16",
  "--quick",
)


def tiny_config():
  fields = [arg for arg in TINY if arg.startswith("--config.")]
  return parse_config(command.CONFIG, fields)


def case(model, samples=(), *, batch=2, status=MEASURED, **fields):
  given = {"head": "classify", "length": 100, "kind": "train"} | fields
  return Case(
    model=model,
    parameters=10,
    mlp_ratio=4.0,
    status=status,
    batch=batch,
    bytes=3 * 2**20,
    samples=list(samples),
    **given,
  )


# Tables, by hand.


def test_a_timing_is_the_median_and_the_range():
  assert timing([3.0, 1.0, 10.0]) == (3.0, 1.0, 10.0)
  assert timing([1.0, 2.0]) == (1.5, 1.0, 2.0)
  assert all(math.isnan(value) for value in timing([]))


def test_ratios_are_paired_by_rounds():
  # Both are slow in the second round, and the ratio is the same in all.
  assert ratios([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == [2.0, 2.0, 2.0]
  assert ratios([], [1.0]) == []


def test_speed_and_ratios_are_per_token_whatever_the_batch():
  ours, base = case("memory", [4.0, 5.0], batch=1), case("local", [2.0, 4.0])
  assert tables.speed(ours) == (22.5, 20.0, 25.0)  # 100 tokens in 4 and 5 s
  assert tables.time_ratio(ours, base) == (3.25, 2.5, 4.0)
  assert case("memory", head="match").tokens == 2 * 2 * 100


def test_the_table_says_what_was_measured_and_what_was_not():
  cases = [
    case("memory", [1.0, 2.0, 4.0]),
    case("local", [1.0, 1.0, 1.0]),
    case("full", status=NO_FIT, batch=1),
    case("ssm", status=SLOW, at_least=75.0),
  ]
  text = tables.markdown(tables.Results(cases=cases), ["a machine"])
  rows = [line for line in text.splitlines() if line.startswith("| 100")]
  assert rows == [
    "| 100 | memory | 10 | 2 | 100 (50 to 200) | 2.00 (1.00 to 4.00)"
    " | 1.00 (1.00 to 1.00) | 3 |",
    "| 100 | local | 10 | 2 | 200 (200 to 200) | 1.00 (1.00 to 1.00)"
    " | 2.00 (1.00 to 4.00) | 3 |",
    "| 100 | full | 10 | 1 | does not fit, batch 1 |  |  | 3 |",
    "| 100 | ssm | 10 | 2 | skipped: at least 75 s per step |  |  | 3 |",
  ]


def test_the_headline_is_the_memory_over_its_own_encoder():
  cases = [
    case("memory", [2.2, 3.3], head="match"),
    case("encoder", [2.0, 3.0], head="match"),
    case("local", [1.0, 1.0], head="match"),
  ]
  (line,) = tables.headline(cases)
  assert line.endswith("2 x 100 tokens: 1.10 (1.10 to 1.10)")


def test_the_parts_are_shares_of_the_same_round_of_the_whole_step():
  found = parts.Breakdown(
    batch=2,
    length=100,
    samples={"memory": [2.0, 4.0], "encoder": [1.0, 3.0]},
    skipped=dict.fromkeys(("scan", "head", "optimizer"), "") | {"input": "no."},
    costs={},
  )
  text = tables.markdown(tables.Results(breakdown=found), [])
  row = "| the difference of the two | 1,000.0 (1,000.0 to 1,000.0) |"
  assert row + " 0.38 (0.25 to 0.50) |" in text
  assert "| skipped: no. |" in text


def test_what_did_not_fit_is_left_out_of_the_figure(tmp_path):
  assert figures.draw([case("full", status=NO_FIT)], tmp_path) == []
  cases = [case("memory", [1.0]), case("full", status=NO_FIT)]
  names = [path.name for path in figures.draw(cases, tmp_path)]
  assert names == ["benchmark.png", "benchmark.pdf"]


# Programs.


def doubled(batch):
  return Program(lambda x: 2.0 * x, lambda: (jnp.ones((batch, 1024)),))


def test_the_largest_batch_that_fits_is_found_by_halving():
  one = doubled(1).bytes
  assert one == 2 * 4 * 1024
  program, batch, size = fit(doubled, batch=8, limit=2.5 * one)
  assert (batch, size, program.bytes) == (2, 2 * one, 2 * one)
  assert fit(doubled, batch=8, limit=one - 1) == (None, 1, one)


def test_what_the_device_refuses_is_halved_too():
  class Refused:
    bytes = None

    def __init__(self, batch):
      self.batch = batch

    def start(self):
      if self.batch > 2:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

  program, batch, _ = fit(Refused, batch=8, limit=1.0)
  assert (program.batch, batch) == (2, 2)


def test_programs_take_turns_and_carry_what_they_return():
  order = []

  class Logged(Program):
    def __call__(self):
      order.append(self.name)
      return super().__call__()

  count = lambda state, x: (state + x, state)
  args = lambda: (jnp.zeros(()), jnp.ones(()))
  programs = {name: Logged(count, args, carry=True) for name in "ab"}
  for name, program in programs.items():
    program.name = name
    program.start()
  order.clear()
  samples = alternate(programs, rounds=3, seconds=1e-9)
  assert "".join(order) == "abbaab"
  assert {name: len(times) for name, times in samples.items()} == {
    "a": 3, "b": 3
  }  # fmt: skip
  assert float(programs["a"]._args[0]) == 4.0  # one to start, three rounds


def test_the_cost_counts_every_turn_of_nested_scans():
  def once(x, w):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0], None

  def loops(x, w):
    return jax.lax.scan(lambda x, _: once(x, w), x, None, length=7)[0] @ w

  square = lambda: (jnp.ones((32, 32)), jnp.ones((32, 32)))
  found = machine.cost(Program(loops, square))
  assert found.flops == pytest.approx((5 * 7 + 1) * 2 * 32**3, rel=0.05)
  assert found.bytes > 5 * 7 * 3 * 4 * 32**2


@pytest.mark.parametrize("name", BASELINES)
def test_encoders_have_as_many_parameters_as_the_memory(name):
  config = parse_config(command.CONFIG)
  task = TaskSpec("classify", 257, 2)
  wanted = size_of(config, task, encoder="memory")
  found = config_of(config, task, name)
  assert found.model.encoder == name
  assert abs(size_of(found, task) - wanted) <= 0.1 * wanted
  bare = config_of(config, task, "encoder")
  assert bare.model.mlp_ratio == config.model.mlp_ratio


def test_a_comparison_reports_what_does_not_fit_and_what_is_too_slow():
  said = []
  config, names = tiny_config(), ["encoder"]
  comparison = Comparison(
    config, INTERFACE, names, Limits(1, 60, 1, 1e-9), said.append
  )
  cases = comparison.run(8)
  assert [(c.status, c.batch, c.samples) for c in cases] == 2 * [
    (NO_FIT, 1, [])
  ]
  assert all(c.bytes > 1 for c in cases)
  assert "does not fit" in said[0]
  slow = Comparison(
    config, INTERFACE, names, Limits(1e12, 1e-9, 1, 1), said.append
  )
  for _ in range(2):  # The second time it is known without a step.
    cases = slow.run(8)
    assert [c.status for c in cases] == [SLOW, SLOW]
    assert all(c.at_least > 0 for c in cases)


def test_settings_change_one_field_at_a_time():
  found = parts.settings(tiny_config(), parts.AROUND)
  assert [(path, value) for path, value, _ in found] == [
    ("", None),
    ("memory.num_slots", 1),
    ("memory.num_slots", 16),
    ("memory.num_candidates", 1),
    ("memory.num_candidates", 4),
    ("memory.budget", 1),
    ("memory.budget", 4),
    ("model.chunk_length", 2),
    ("model.chunk_length", 8),
  ]
  assert found[1][2].memory.num_slots == 1
  assert found[3][2].memory.num_slots == 4


# The command.


@pytest.mark.slow
def test_a_tiny_run_leaves_its_files(tmp_path, capsys, monkeypatch):
  # Processes of their own are too slow for a test.
  seconds = {"cold": 3.0, "cached": 1.0}
  monkeypatch.setattr(command, "compile_seconds", lambda *_, **__: seconds)
  out = f"--out={tmp_path / 'out'}"
  asked = "--contestants=memory,local", f"--parts={','.join(command.PARTS)}"
  assert command.main([*TINY, *asked, out]) == 0
  printed = capsys.readouterr().out
  folder = tmp_path / "out"
  assert {path.name for path in folder.iterdir()} == {
    "benchmark.json", "benchmark.md", "benchmark.png", "benchmark.pdf"
  }  # fmt: skip
  assert (folder / "benchmark.md").read_text() in printed
  record = json.loads((folder / "benchmark.json").read_text())
  assert {"versions", "hardware", "git_commit", "config"} < set(record)
  found = record["results"]
  cases = {(c["head"], c["contestant"], c["kind"]): c for c in found["cells"]}
  assert len(cases) == len(found["cells"]) == 2 * 3 + 2 * 2
  for c in cases.values():
    assert c["status"] == MEASURED
    assert len(c["samples"]) == 2
    assert min(c["samples"]) > 0
    assert c["bytes"] > 0
  sizes = [
    cases["classify", name, "train"]["parameters"]
    for name in ("memory", "local")
  ]
  assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
  split = found["breakdown"]
  assert set(split["samples"]) == set(tables.PARTS) - {"difference"}
  assert np.min(list(split["samples"].values())) > 0
  assert split["costs"]["memory"]["flops"] > split["costs"]["scan"]["flops"] > 0
  assert [row["value"] for row in found["sensitivity"]] == [None, 1]
  assert found["ceilings"]["flops"] > 0
  assert found["compile_seconds"] == seconds
  assert command.main([*TINY, out]) == 2
  assert "holds results" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--lengths=1000", "length 1000 is not covered by chunks"),
    ("--lengths=4k", "--lengths must be whole numbers"),
    ("--models=memory,big", "--models: 'big' is unknown; known: memory"),
    ("--parts=all", "--parts: 'all' is unknown; known: compile"),
    ("--rounds=0", "--rounds must be a whole number, at least 1"),
    ("--memory_limit=0", "--memory_limit must be a number, above 0"),
    ("--config=configs/none.py", "configs/none.py"),
    ("--config.model.encoder=ssm", "choose other encoders with --models"),
    (
      "--config.memory.num_slots=0",
      "num_slots must be a whole number",
    ),
    ("--config.memory.slots=3", "slots"),
    ("--what", "unknown flag --what"),
  ],
)
def test_a_mistake_gives_one_line(argument, message, capsys, tmp_path):
  assert command.main([argument, f"--out={tmp_path / 'out'}"]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.startswith("error: ")
  assert error.count("\n") == 1
  assert not Path(tmp_path / "out").exists()
