"""Which room may import which, and what an import loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nema_lc_jax

ROOT = Path(nema_lc_jax.__file__).parent
NAME = "nema_lc_jax"
MODULES = sorted(ROOT.rglob("*.py"))

# Each room, and each file of the root, and the rooms that it may import from.
RUNS = {"runs", "errors"}
TRAINING = {
  "training",
  "memory",
  "models",
  "data",
  "plotting",
  "version",
} | RUNS
ALLOWED = {
  "memory": set(),
  "models": {"memory", "own"},
  "data": {"own"},
  "runs": {"errors"},
  "plotting": RUNS,
  "training": TRAINING,
  "sweep": TRAINING,
  "stream": TRAINING,
  "benchmark": TRAINING | {"__init__"},  # For where the package is.
  "inspect": TRAINING | {"stream"},
  # The root.
  "__init__": {"version", "memory", "models", "runs"},
  "version": set(),
  "errors": set(),
  "own": {"errors"},
  "main": {"training"} | RUNS,
  "evaluate": {"training", "data", "stream", "memory"} | RUNS,
  "by_task": {"plotting"} | RUNS,
  "generate": {"stream"} | RUNS,
}
# Other packages that a room may import, where these are few.
FOREIGN = {
  "memory": {"jax", "chex", "flax.struct"},
  "models": {"jax", "chex", "flax"},
  "version": set(),
  "errors": set(),
  "own": set(),
  "main": set(),
}
# And those that it may not.
BARRED = {
  "data": {"jax", "flax", "chex", "optax", "orbax", "tensorflow", "matplotlib"},
  "runs": {"jax", "flax", "chex", "optax", "orbax", "matplotlib"},
  "plotting": {"jax", "flax", "chex", "optax", "orbax"},
}
LINEN = {"models"}  # The only room that may import flax.linen.


def room_of(path):
  """The room of a file; of one in the root, its own name."""
  return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(source):
  """Full names of all that a file imports, inside functions too."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, "a relative import"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def inside(name, packages):
  return any(name == p or name.startswith(p + ".") for p in packages)


def wrong_imports(room, source):
  """Imports of a file in a room that the tables do not allow."""
  wrong = set()
  for name in imports_of(source):
    top, *rest = name.split(".")
    if top == NAME:
      # What is in no room, such as a name that the root offers, is of the root.
      to = rest[0] if rest and rest[0] in ALLOWED else "__init__"
      if to not in ALLOWED[room] | {room}:
        wrong.add(name)
    elif top not in sys.stdlib_module_names:
      known = room not in FOREIGN or inside(name, FOREIGN[room])
      if not known or inside(name, BARRED.get(room, ())):
        wrong.add(name)
    if inside(name, ["flax.linen"]) and room not in LINEN:
      wrong.add(name)
  return wrong


def test_the_tables_name_every_room_and_no_other():
  assert {room_of(path) for path in MODULES} == set(ALLOWED)
  assert {*FOREIGN, *BARRED} <= set(ALLOWED)


@pytest.mark.parametrize(
  "path", MODULES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_imports_only_what_its_room_may(path):
  assert wrong_imports(room_of(path), path.read_text()) == set()


@pytest.mark.parametrize(
  ("room", "source", "wrong"),
  [
    ("memory", "import nema_lc_jax.models", "nema_lc_jax.models"),
    ("models", "from nema_lc_jax import data", "nema_lc_jax.data"),
    ("runs", "def f():\n  import jax.numpy", "jax.numpy"),
    (
      "runs",
      "from nema_lc_jax.training import train",
      f"{NAME}.training.train",
    ),
    ("data", "import nema_lc_jax", "nema_lc_jax"),
    ("training", "from nema_lc_jax import main", "nema_lc_jax.main"),
    ("training", "from flax import linen", "flax.linen"),
    (
      "sweep",
      "from nema_lc_jax.inspect.page import x",
      f"{NAME}.inspect.page.x",
    ),
    ("memory", "import optax", "optax"),
    ("main", "if x:\n  from absl import app", "absl.app"),
  ],
)
def test_a_new_arrow_is_found(room, source, wrong):
  assert wrong_imports(room, source) == {wrong}
  assert wrong_imports(room, "import os") == set()


def test_the_functions_of_streams_need_memory_and_models_only():
  allowed = ["jax", "flax.struct", f"{NAME}.memory", f"{NAME}.models"]
  names = imports_of((ROOT / "stream" / "core.py").read_text())
  rest = {n for n in names if n.split(".")[0] not in sys.stdlib_module_names}
  assert {name for name in rest if not inside(name, allowed)} == set()


# What is loaded, in a fresh interpreter.


def loaded_by(code):
  """Names of all modules that are loaded after some code has run."""
  done = subprocess.run(
    [sys.executable, "-c", f"import sys; {code}; print(*sorted(sys.modules))"],
    capture_output=True,
    check=True,
    cwd=ROOT.parent,
    text=True,
    timeout=120,
  )
  return done.stdout.split()


def test_importing_the_memory_loads_no_data_no_models_no_optimizer():
  names = loaded_by("import nema_lc_jax.memory")
  assert f"{NAME}.memory.allocator" in names
  barred = ["grain", "tensorflow", "tensorflow_datasets", "optax", "orbax"]
  barred += [f"{NAME}.data", f"{NAME}.models"]
  assert [name for name in names if inside(name, barred)] == []


def test_importing_the_package_loads_nothing_heavy():
  names = loaded_by("import nema_lc_jax")
  barred = ["jax", "jaxlib", "flax", "numpy", "tensorflow", "grain"]
  assert [name for name in names if inside(name, barred)] == []
  assert [n for n in names if inside(n, [NAME])] == [NAME, f"{NAME}.version"]


def test_importing_the_data_loads_no_jax_of_ours_and_no_tensorflow():
  names = loaded_by("import nema_lc_jax.data")
  assert f"{NAME}.data.pipeline" in names
  barred = ["flax", "tensorflow", f"{NAME}.memory", f"{NAME}.models"]
  assert [name for name in names if inside(name, barred)] == []


def test_typos_and_help_are_told_before_anything_heavy_is_loaded():
  names = loaded_by(
    "from nema_lc_jax import main;"
    " main.main(['--config=configs/toy_lc.py', '--seed=3'])"
  )
  assert f"{NAME}.main" in names
  barred = ["jax", "flax", "matplotlib", "grain", f"{NAME}.training"]
  assert [name for name in names if inside(name, barred)] == []


@pytest.mark.parametrize(
  ("name", "home"),
  [("build_model", "models"), ("make_policy", "models"), ("read", "memory")],
)
def test_the_root_loads_what_it_offers_on_first_use(name, home):
  assert name in dir(nema_lc_jax)
  found = getattr(nema_lc_jax, name)
  assert found.__module__.startswith(f"{NAME}.{home}")


def test_the_root_does_not_offer_what_it_does_not_have():
  with pytest.raises(AttributeError, match="no attribute 'build_memory'"):
    nema_lc_jax.build_memory  # noqa: B018
