import pytest

from nema_lc_jax.runs import config_json
from nema_lc_jax.training import restore


@pytest.fixture(scope="session")
def workdir(finished):
  """The folder of a run."""
  return finished[0]


@pytest.fixture(scope="session")
def opened(workdir):
  """Its experiment and its parameters."""
  experiment, state = restore.open_run(
    workdir, config_json.read_config(workdir)
  )
  return experiment, state.params
