"""Several fake CPU devices for every test; `policy` runs over all policies.

pytest --policy=my_module:my_policy tests/memory runs those tests on a policy of
one's own, from a module in the current folder.
"""

import fcntl
import gc
import os
import pickle
import sys
from pathlib import Path

import pytest

FAKE_DEVICES = 4
# Tests compile much and compute little.
FLAGS = [
  f"--xla_force_host_platform_device_count={FAKE_DEVICES}",
  "--xla_backend_optimization_level=0",
  "--xla_llvm_disable_expensive_passes=true",
  "--xla_cpu_use_fusion_emitters=false",  # a third of the time to compile
  "--xla_cpu_parallel_codegen_split_count=1",
  "--xla_cpu_prefer_vector_width=128",
  # With it, devices that run a program from the cache may begin its sums over
  # devices in different orders, and wait for each other for ever.
  "--xla_cpu_enable_concurrency_optimized_scheduler=false",
  # Devices wait for each other: by default 40 s, which a loaded machine takes.
  "--xla_cpu_collective_call_warn_stuck_timeout_seconds=120",
  "--xla_cpu_collective_call_terminate_timeout_seconds=300",
]


# `configs`, `tests` and a policy of one's own are found however pytest is run.
for folder in (str(Path(__file__).parents[1]), os.getcwd()):
  if folder not in sys.path:
    sys.path.insert(0, folder)

from nema_lc_jax.runs.process import machine  # noqa: E402

# Before jax is imported: it reads these when it starts. What one test or one
# worker has compiled, all others and the next run find beside pytest's cache.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
CACHE = Path(__file__).parents[1] / ".pytest_cache" / f"jax-{machine()}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


# Tracing makes many objects, of which few are garbage.
gc.set_threshold(50_000, 20, 20)


def pytest_addoption(parser):
  """Adds --policy."""
  parser.addoption(
    "--policy",
    action="append",
    default=[],
    metavar="MODULE:FUNCTION",
    help="a policy that tests of policies run on, in place of all known ones;"
    " may be given several times",
  )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """All tests of a file run on one worker, so its fixtures are made once."""
  from xdist.scheduler import LoadFileScheduling

  # Files with few tests are among the longest: they are not left to the end.
  config.option.loadscopereorder = False
  return LoadFileScheduling(config, log)


def pytest_generate_tests(metafunc):
  """A test that takes `policy` runs once per name in `POLICIES`."""
  if "policy" in metafunc.fixturenames:
    # Not at the top: most tests of the data need no jax.
    from nema_lc_jax.models import POLICIES

    names = metafunc.config.getoption("policy") or list(POLICIES)
    metafunc.parametrize("policy", names)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
  """Prepared data go to a folder of this session, never to the user's."""
  folder = tmp_path_factory.mktemp("cache")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("NEMA_LC_JAX_CACHE", str(folder))
    yield folder


@pytest.fixture(scope="session")
def finished(cache, tmp_path_factory):
  """The folder of a run of `tiny_config`, and what `train.run` has returned.

  It is trained once for all tests and all workers, so no test may change it.
  """
  folder = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    folder = folder.parent  # of the workers' folders
  workdir, returned = folder / "finished", folder / "finished.pickle"
  with (folder / "finished.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not returned.exists():
      # Not at the top: most tests of the data need no jax.
      from nema_lc_jax.training import train
      from tests.helpers import tiny_config

      summary = train.run(tiny_config(), str(workdir))
      returned.write_bytes(pickle.dumps(summary))
  return workdir, pickle.loads(returned.read_bytes())


@pytest.fixture(autouse=True, scope="module")
def few_programs():
  """A worker that has run most tests would hold too many programs."""
  yield
  if "jax" in sys.modules:
    from nema_lc_jax.sweep.pool import release_programs

    release_programs()


@pytest.fixture(scope="session")
def haystack_run(tmp_path_factory):
  """The folder of a run that reads words, as it begins, and its experiment."""
  from configs import lra_lc
  from nema_lc_jax.training.experiment import make_experiment
  from tests.helpers import save_run

  config = lra_lc.get_config("haystack")
  config.data.vocabulary = 300
  config.model.update(width=8, num_heads=2, num_layers=0)
  config.memory.num_slots = 3
  config.train.curriculum = ()
  folder = save_run(config, tmp_path_factory.mktemp("haystack"))
  return folder, make_experiment(config)
