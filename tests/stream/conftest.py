import pytest

from nema_lc_jax.runs import config_json
from nema_lc_jax.training import restore, train
from tests.helpers import tiny_config


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
  """A run of two steps."""
  folder = tmp_path_factory.mktemp("stream") / "run"
  config = tiny_config(steps=2, curriculum=())
  config.eval.length_multipliers = (1,)
  train.run(config, str(folder))
  return folder


@pytest.fixture(scope="session")
def opened(workdir):
  """Its experiment and its parameters."""
  experiment, state = restore.open_run(
    workdir, config_json.read_config(workdir)
  )
  return experiment, state.params
