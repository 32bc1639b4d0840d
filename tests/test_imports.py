"""Which module may import which, and what an import loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nema_lc_jax

ROOT = Path(nema_lc_jax.__file__).parent
NAME = "nema_lc_jax"
MODULES = sorted(ROOT.rglob("*.py"))


def module_of(path):
  parts = path.relative_to(ROOT.parent).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
  """Full names of all that a file imports, inside functions too."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"relative import in {path.name}"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def inside(name, packages):
  return any(name == p or name.startswith(p + ".") for p in packages)


def part(name):
  """Files of one subpackage."""
  files = [path for path in MODULES if path.is_relative_to(ROOT / name)]
  assert files
  return files


def foreign(path, allowed):
  """Imports of a file from outside `allowed` and the standard library."""
  return {
    name
    for name in imports_of(path)
    if name.split(".")[0] not in sys.stdlib_module_names
    and not inside(name, allowed)
  }


def test_the_functions_of_streams_need_memory_and_models_only():
  allowed = ["jax", "flax.struct", f"{NAME}.memory", f"{NAME}.models"]
  assert foreign(ROOT / "stream" / "core.py", allowed) == set()


@pytest.mark.parametrize("path", part("memory"), ids=module_of)
def test_the_memory_imports_jax_chex_struct_and_itself_only(path):
  allowed = ["jax", "chex", "flax.struct", f"{NAME}.memory"]
  assert foreign(path, allowed) == set()


@pytest.mark.parametrize("path", part("models"), ids=module_of)
def test_models_import_the_memory_and_themselves_only(path):
  allowed = ["jax", "chex", "flax", f"{NAME}.memory", f"{NAME}.models"]
  assert foreign(path, allowed) == set()


@pytest.mark.parametrize("path", part("data"), ids=module_of)
def test_data_import_no_jax_no_tensorflow_and_none_of_the_rest(path):
  names = imports_of(path)
  barred = ["jax", "flax", "chex", "optax", "orbax", "tensorflow"]
  assert not {name for name in names if inside(name, barred)}
  ours = {name for name in names if inside(name, [NAME])}
  assert {n for n in ours if not inside(n, [f"{NAME}.data"])} == set()


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_nothing_imports_main_and_linen_lives_in_models_only(path):
  names = imports_of(path)
  assert not {name for name in names if inside(name, [f"{NAME}.main"])}
  if not path.is_relative_to(ROOT / "models"):
    assert not {name for name in names if inside(name, ["flax.linen"])}


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_nothing_else_imports_the_inspector(path):
  names = imports_of(path)
  if not path.is_relative_to(ROOT / "inspect"):
    assert not {n for n in names if inside(n, [f"{NAME}.inspect"])}


def test_the_walk_finds_imports_at_all():
  seen = set().union(*(imports_of(path) for path in MODULES))
  assert {"jax", "flax.linen", f"{NAME}.memory.types.Chunk"} <= seen


# What is loaded, in a fresh interpreter.

REPORT = "; print(time.perf_counter() - start, *sorted(sys.modules))"


def loaded_by(statement):
  """Seconds it takes to import, and the names of all modules then loaded."""
  code = "import sys, time; start = time.perf_counter(); " + statement + REPORT
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    check=True,
    cwd=ROOT.parent,
    text=True,
    timeout=120,
  )
  seconds, *names = done.stdout.split()
  return float(seconds), names


def test_importing_the_memory_loads_no_data_no_models_no_optimizer():
  seconds, names = loaded_by("import nema_lc_jax.memory")
  print(f"import nema_lc_jax.memory: {seconds:.2f} s")
  assert f"{NAME}.memory.allocator" in names
  barred = ["grain", "tensorflow", "tensorflow_datasets", "optax", "orbax"]
  barred += [f"{NAME}.data", f"{NAME}.models"]
  assert [name for name in names if inside(name, barred)] == []
  assert seconds < 20


def test_importing_the_package_loads_nothing_heavy():
  _, names = loaded_by("import nema_lc_jax")
  barred = ["jax", "jaxlib", "flax", "numpy", "tensorflow", "grain"]
  assert [name for name in names if inside(name, barred)] == []
  assert [n for n in names if inside(n, [NAME])] == [NAME, f"{NAME}.version"]


def test_importing_the_data_loads_no_jax_of_ours_and_no_tensorflow():
  _, names = loaded_by("import nema_lc_jax.data")
  assert f"{NAME}.data.pipeline" in names
  barred = ["flax", "tensorflow", f"{NAME}.memory", f"{NAME}.models"]
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
