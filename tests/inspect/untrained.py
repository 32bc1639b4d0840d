"""What the tests of the inspector share."""

import json
import re

from nema_lc_jax.training.experiment import make_experiment
from tests.helpers import tiny_config
from tests.models.tiny import draw_params

HOSTILE = "</script><b>A & B</b> <!-- {{script}} https://x.org"


def texts_config(path, columns=1, **model):
  """A model of bytes on a small .tsv, whose texts end in padding."""
  c = tiny_config()
  c.data.name = "file"
  c.data.path = str(path / f"texts{columns}.tsv")
  c.model.update(model)
  c.train.curriculum = ()
  rows = [
    "\t".join([str(i % 2), *[f"{i} {HOSTILE}"] * columns]) for i in range(40)
  ]
  (path / f"texts{columns}.tsv").write_text("\n".join(rows) + "\n")
  return c


def untrained(config):
  """An experiment and parameters from before any training."""
  experiment = make_experiment(config)
  return experiment, draw_params(experiment.model)


def data_of(page):
  """The JSON in a page."""
  found = re.findall(
    r'<script type="application/json"[^>]*>(.*?)</script', page
  )
  assert len(found) == 1
  return json.loads(found[0])
