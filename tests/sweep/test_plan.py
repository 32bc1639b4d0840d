"""What a sweep is made of, and the mistakes it names before it begins."""

import itertools
import re

import pytest

from configs import lifecycle_lc
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.models import BASELINES
from nema_lc_jax.sweep import plan
from nema_lc_jax.sweep.plan import Cell, make_plan
from nema_lc_jax.training import matching
from nema_lc_jax.training.experiment import load_data
from nema_lc_jax.training.task import task_spec


@pytest.fixture(scope="module")
def config():
  """Locked, as flags leave it."""
  return lifecycle_lc.get_config("rebind").lock()


def plan_of(config, policies=("fifo", "learned"), seeds=2, **options):
  return make_plan(config, policies=policies, seeds=str(seeds), **options)


def error_of(config, **options):
  with pytest.raises(ValueError, match=r".") as error:
    plan_of(config, **options)
  text = str(error.value)
  assert "\n" not in text
  return text


def test_every_policy_runs_on_every_seed(config):
  runs = list(plan_of(config).runs(config, {}))
  found = [(r.seed, r.config.seed, r.config.memory.policy) for r in runs]
  # Seeds outside: a sweep that is cut short has few seeds of everything.
  assert found == [
    (0, 0, "fifo"),
    (0, 0, "learned"),
    (1, 1, "fifo"),
    (1, 1, "learned"),
  ]
  assert [r.folder for r in runs] == [
    "runs/fifo/seed0",
    "runs/learned/seed0",
    "runs/fifo/seed1",
    "runs/learned/seed1",
  ]
  assert config.memory.policy == "learned"  # The shared one is left alone.
  for run in runs:
    changed = {"seed": run.seed, "memory": {"policy": run.cell.policy}}
    own = run.config.to_dict()
    for section, value in changed.items():
      if isinstance(value, dict):
        own[section] |= config.to_dict()[section]
      else:
        own[section] = config[section]
    assert own == config.to_dict()


def test_grids_are_products(config):
  found = plan_of(
    config,
    grid=["config.memory.budget=1,2", "memory.num_slots=3,4,5"],
    policies=["fifo"],
  )
  expected = {
    (("memory.budget", b), ("memory.num_slots", m))
    for b, m in itertools.product((1, 2), (3, 4, 5))
  }
  assert len(found.cells) == 6
  assert {cell.setting for cell in found.cells} == expected
  for run in found.runs(config, {}):
    setting = dict(run.cell.setting)
    assert run.config.memory.budget == setting["memory.budget"]
    assert run.config.memory.num_slots == setting["memory.num_slots"]


def test_ablations_are_one_at_a_time_beside_the_plain_config(config):
  found = plan_of(
    config,
    policies=["learned"],
    ablate=[
      "config.loss.write=0.0",
      "memory.controller.ablate_input=age,usage",
    ],
  )
  assert [cell.setting for cell in found.cells] == [
    (),
    (("loss.write", 0.0),),
    (("memory.controller.ablate_input", "age"),),
    (("memory.controller.ablate_input", "usage"),),
  ]
  names = [cell.name for cell in found.cells]
  assert names[0] == "learned"
  assert names[1] == "learned · loss.write=0.0"


def test_a_grid_is_ablated_at_each_of_its_points(config):
  found = plan_of(
    config,
    policies=["learned"],
    grid=["memory.budget=1,2"],
    ablate=["loss.write=0.0"],
  )
  assert [dict(cell.setting) for cell in found.cells] == [
    {"memory.budget": 1},
    {"memory.budget": 2},
    {"memory.budget": 1, "loss.write": 0.0},
    {"memory.budget": 2, "loss.write": 0.0},
  ]


def test_values_may_be_tuples_and_strings(config):
  found = plan_of(
    config,
    policies=["learned"],
    grid=[
      "train.curriculum=(),((0.5,48,6),)",
      "memory.controller.eviction=fifo,lru",
    ],
  )
  curricula = {
    run.config.train.curriculum: run.folder for run in found.runs(config, {})
  }
  assert set(curricula) == {(), ((0.5, 48, 6),)}
  keeps = [
    run.config.memory.controller.eviction for run in found.runs(config, {})
  ]
  assert sorted(set(keeps)) == ["fifo", "lru"]


def test_folders_are_unique_and_safe_paths(config):
  found = make_plan(
    config,
    policies=["fifo", "learned", "nema_lc_jax.memory.policies:lru"],
    seeds="3",
    grid=[
      "train.curriculum=(),((0.5,48,6),),((0.5,48,16),)",
      "memory.controller.ablate_input=,age".replace("=,", "='',"),
    ],
    ablate=["loss.write=0.0,0.1", "train.learning_rate=1e-3,1e-4"],
    learning_rates="1e-3,2e-3",
  )
  runs = [*found.runs(config, {}), *found.tuning_runs(config)]
  folders = [run.folder for run in runs]
  assert len(set(folders)) == len(folders)
  assert len(set(map(str.lower, folders))) == len(folders)  # macOS
  for folder in folders:
    assert re.fullmatch(r"(runs|tuning)/[\w.=,-]+/seed\d+", folder), folder
    assert ".." not in folder.split("/")
    assert max(map(len, folder.split("/"))) < 256
  assert len(set(found.cells)) == len(found.cells)
  titles = [run.title for run in found.runs(config, {})]
  assert len(set(titles)) == len(titles)


def test_tuning_uses_a_seed_that_no_result_has(config):
  found = plan_of(config, seeds=3, learning_rates="1e-3, 2e-3")
  runs = list(found.tuning_runs(config))
  assert {run.config.seed for run in runs} == {plan.TUNING_SEED} == {1000}
  results = {run.seed for run in found.runs(config, {})}
  assert results == {0, 1, 2}
  found_pairs = [
    (r.cell.policy, r.config.train.learning_rate, r.cell.setting) for r in runs
  ]
  assert sorted(found_pairs) == [
    ("fifo", 1e-3, ()),
    ("fifo", 2e-3, ()),
    ("learned", 1e-3, ()),
    ("learned", 2e-3, ()),
  ]
  # Only validation accuracy is wanted of them: no longer texts.
  assert {run.config.eval.length_multipliers for run in runs} == {(1,)}
  assert all(run.folder.startswith("tuning/") for run in runs)


def test_several_seeds_can_decide_on_a_rate(config):
  found = plan_of(
    config, policies=["fifo"], learning_rates="1e-3,2e-3", tuning_seeds=2
  )
  runs = list(found.tuning_runs(config))
  assert [(r.seed, r.config.train.learning_rate) for r in runs] == [
    (1000, 1e-3),
    (1000, 2e-3),
    (1001, 1e-3),
    (1001, 2e-3),
  ]
  assert len({r.folder for r in runs}) == 4


def test_results_never_use_the_tuning_seed(config):
  found = plan_of(config, seeds=1000, policies=["fifo"], learning_rates="1e-3")
  tuning = {run.seed for run in found.tuning_runs(config)}
  assert not tuning & {run.seed for run in found.runs(config, {})}


def test_seeds_can_be_a_range(config):
  found = plan_of(config, seeds="10-12", policies=["fifo"])
  assert [run.seed for run in found.runs(config, {})] == [10, 11, 12]
  assert found.seeds == plan_of(config, seeds=13).seeds[10:]


def test_seeds_can_be_a_list(config):
  assert plan_of(config, seeds=" 7, 2-4").seeds == (7, 2, 3, 4)


def test_encoders_run_beside_policies_at_the_size_of_the_reference(config):
  found = plan_of(
    config,
    policies=["fifo"],
    encoders=BASELINES,
    seeds=1,
    learning_rates="1e-3,2e-3",
  )
  names = ["fifo", *BASELINES]
  assert [cell.policy for cell in found.cells] == names
  interface = task_spec(load_data(config))
  wanted = matching.size_of(config, interface, policy="learned")
  runs = list(found.runs(config, {"ssm": 0.5}))
  assert [run.folder for run in runs] == [f"runs/{n}/seed0" for n in names]
  fifo, *others = runs
  plain = config.to_dict()
  assert fifo.config.model.to_dict() == plain["model"]
  for run in others:
    own = run.config
    assert own.model.encoder == run.cell.policy
    assert own.memory.policy == "none"
    size = matching.size_of(own, interface)
    # Far closer than it has to be: a hidden unit is some 128 parameters.
    assert abs(size - wanted) < 0.005 * wanted
    # Nothing else differs.
    model = own.model.to_dict() | {"encoder": "memory"}
    assert model | {"mlp_ratio": plain["model"]["mlp_ratio"]} == plain["model"]
  rates = [run.config.train.learning_rate for run in runs]
  assert rates == [
    0.5 if name == "ssm" else config.train.learning_rate for name in names
  ]
  tuning = [(r.cell.policy, r.config) for r in found.tuning_runs(config)]
  assert [name for name, _ in tuning] == names * 2
  for name, own in tuning[1:5]:
    assert own.model.encoder == name
    assert own.model.mlp_ratio == found.mlp_ratios[Cell(name)]


def test_encoders_have_the_size_of_the_memory_model_in_each_setting(config):
  found = plan_of(
    config,
    policies=["fifo"],
    encoders=["local"],
    seeds=1,
    grid=["model.width=32,64"],
    reference="fifo",
  )
  interface = task_spec(load_data(config))
  runs = [r.config for r in found.runs(config, {})]
  for memory, local in zip(runs[::2], runs[1::2], strict=True):
    assert memory.model.width == local.model.width
    sizes = [matching.size_of(own, interface) for own in (memory, local)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.005)


def test_no_rates_no_tuning(config):
  assert list(plan_of(config).tuning_runs(config)) == []


def test_tuned_rates_are_used_but_not_over_a_setting_of_their_own(config):
  found = plan_of(config, seeds=1, ablate=["train.learning_rate=0.5"])
  runs = list(found.runs(config, {"learned": 0.25}))
  rates = {run.cell.name: run.config.train.learning_rate for run in runs}
  assert rates == {
    "fifo": config.train.learning_rate,
    "learned": 0.25,
    "fifo · train.learning_rate=0.5": 0.5,
    "learned · train.learning_rate=0.5": 0.5,
  }


@pytest.mark.parametrize(
  ("text", "parts"),
  [
    ("1,2", ["1", "2"]),
    (" 1 , 2 ", ["1", "2"]),
    ("", []),
    ("a,(1,2),[3,4]", ["a", "(1,2)", "[3,4]"]),
    ("((0.5,48,6),),()", ["((0.5,48,6),)", "()"]),
  ],
)
def test_split_is_at_commas_outside_of_brackets(text, parts):
  assert plan.split(text) == parts


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("1", 1),
    ("1e-3", 0.001),
    ("True", True),
    ("None", None),
    ("(1, 2)", (1, 2)),
    ("fifo", "fifo"),
    ("'fifo'", "fifo"),
    ("a b", "a b"),
    ("(", "("),
  ],
)
def test_a_literal_is_python_or_a_string(text, value):
  found = plan._literal(text)
  assert found == value
  assert type(found) is type(value)


def test_changed_sets_fields_on_a_copy(config):
  before = config.to_dict()
  own = plan.changed(config, {"memory.budget": 1, "loss.write": 1})
  assert (own.memory.budget, own.loss.write) == (1, 1.0)
  assert isinstance(own.loss.write, float)
  assert config.to_dict() == before
  assert before["memory"]["budget"] != 1


def test_an_own_policy_is_a_policy(config):
  name = "nema_lc_jax.memory.policies:lru"
  runs = list(plan_of(config, policies=[name], seeds=1).runs(config, {}))
  assert runs[0].config.memory.policy == name
  assert runs[0].folder == "runs/nema_lc_jax.memory.policies.lru/seed0"


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"policies": ["fifo", "lrru"]}, "unknown policy 'lrru'; known policies: "),
    ({"policies": [""]}, "unknown policy ''"),
    ({"policies": ["fifo", "fifo"]}, "--policies names one twice: fifo,fifo."),
    ({"policies": ["os:nothing"]}, "policy 'os:nothing' cannot be imported"),
    ({"seeds": 0}, "--seeds must be at least one seed below 1000, got 0."),
    ({"tuning_seeds": 0}, "--tuning_seeds must be at least 1, got 0."),
    ({"seeds": "14-10"}, "--seeds must be at least one seed below 1000, got"),
    ({"seeds": "998-1000"}, "--seeds must be at least one seed below 1000, g"),
    ({"seeds": "1,"}, "or a list of these such as 10,12-14; got ''."),
    ({"seeds": "1,0-1"}, "--seeds names one twice: 1,0-1."),
    ({"seeds": "few"}, "--seeds must be a number, a range such as 10-14, o"),
    ({"seeds": "-1"}, "--seeds must be a number, a range such as 10-14, o"),
    ({"grid": ["memory.slots=1"]}, "no field config.memory.slots; "),
    ({"grid": ["memory.budget.x=1"]}, "no field config.memory.budget.x; "),
    ({"grid": ["memory=1"]}, "config.memory must be given field by field: bud"),
    (
      {"ablate": ["memory.budget=two"]},
      "config.memory.budget must be a whole number, at least 0 and at most"
      " 2147483647, got 'two'.",
    ),
    (
      {"grid": ["train.learning_rate=1e-3,nan"]},
      "config.train.learning_rate must be a number, above 0 and at most 1e+38,"
      " got 'nan'.",
    ),
    (
      {"grid": ["eval.length_multipliers=(nan,)"]},
      "config.eval.length_multipliers must be a tuple such as (1, 2), each of"
      " them a whole number, at least 1 and at most 2147483647, got '(nan,)'.",
    ),
    ({"grid": ["memory.budget=1.5"]}, "at most 2147483647, got 1.5."),
    ({"grid": ["data.num_eval=nan"]}, "must be a whole number, got 'nan'."),
    (
      {"grid": ["train.curriculum=3"]},
      "config.train.curriculum must be a tuple such as (1, 2), got 3.",
    ),
    ({"grid": ["seed=1,2"]}, "config.seed is set by --seeds."),
    (
      {"ablate": ["config.memory.policy=lru"]},
      "config.memory.policy is set by --policies.",
    ),
    ({"grid": ["memory.budget"]}, "must have the form config.FIELD=A,B,..."),
    ({"grid": ["memory.budget="]}, "must have the form config.FIELD=A,B,..."),
    ({"grid": ["memory.budget=,"]}, "has no values"),
    ({"grid": ["=1"]}, "must have the form config.FIELD=A,B,..."),
    ({"grid": ["memory.budget=1,1"]}, "gives a setting twice"),
    (
      {"ablate": ["memory.budget=1", "config.memory.budget=1"]},
      "gives a setting twice",
    ),
    (
      {"grid": ["memory.budget=1,2", "memory.budget=3"]},
      "gives a setting twice",
    ),
    ({"grid": ["loss.write=0,0.0"]}, "gives a setting twice"),
    (
      {"learning_rates": "1e-3,0"},
      "--learning_rates must be a number, above 0 and at most 1e+38, got 0.",
    ),
    (
      {"learning_rates": "-1.0"},
      "--learning_rates must be a number, above 0 and at most 1e+38, got -1.0.",
    ),
    (
      {"learning_rates": "fast"},
      "--learning_rates must be a number, above 0 and at most 1e+38, got"
      " 'fast'",
    ),
    ({"learning_rates": "1e-3,1e-3"}, "twice"),
    ({"reference": "lerned"}, "lerned"),
    ({"reference": "full"}, "unknown policy 'full'"),
    ({"encoders": ["big"]}, "'big' is unknown; known: local, full, recurrent"),
    ({"encoders": ["memory"]}, "--encoders: 'memory' is unknown; known: local"),
    ({"encoders": ["ssm", "ssm"]}, "--encoders names one twice: ssm,ssm."),
    ({"policies": ["ssm"]}, "unknown policy 'ssm'"),
    ({"policies": []}, "--policies and --encoders name nothing to run."),
    (
      {"ablate": ["config.model.encoder=full"]},
      "config.model.encoder is set by --encoders.",
    ),
    # Without a layer there is no MLP to widen.
    (
      {
        "encoders": ["full"],
        "grid": ["model.num_layers=0", "model.num_layers_after=0"],
      },
      "'full' has 17,224 parameters at the nearest size; the memory",
    ),
  ],
)
def test_a_mistake_is_one_line(config, options, message):
  assert message in error_of(config, **options)


def test_encoders_are_compared_with_a_memory(config):
  own = plan.changed(config, {"model.encoder": "full"})
  message = "config.model.encoder must be 'memory', got 'full'."
  assert message in error_of(own, encoders=["local"])


def test_an_unknown_field_is_an_error_of_an_unlocked_config_too():
  unlocked = lifecycle_lc.get_config("rebind")
  message = "no field config.memory.slots; did you mean config.memory.num_slots"
  assert message in error_of(unlocked, grid=["memory.slots=1"])


def test_the_errors_of_settings_are_config_errors(config):
  for options in ({"seeds": 0}, {"grid": ["memory.budget=x"]}):
    with pytest.raises(ConfigError):
      plan_of(config, **options)


def test_the_name_of_a_cell_says_what_is_changed():
  cell = Cell("lru", (("memory.budget", 1), ("loss.write", 0.0)))
  assert cell.setting_name == "memory.budget=1, loss.write=0.0"
  assert cell.name == "lru · memory.budget=1, loss.write=0.0"
  assert Cell("lru").setting_name == ""
