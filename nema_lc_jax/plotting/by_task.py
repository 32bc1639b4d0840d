"""The table of errors by task, with published results."""

from collections.abc import Mapping

import numpy as np

from nema_lc_jax.runs import markup
from nema_lc_jax.runs.by_task import failed, summed_up

# Errors in % by task, of one model trained on all 20 tasks (10,000 questions
# each), means over several runs; and the mean number of failed tasks per run.
# From Franke et al. 2018 (arXiv:1807.02658; github.com/JoergFranke/ADNC), who
# cite the others; LSTM from Graves et al. 2016 by github.com/willsq/tf-DNC. The
# best of 20 DNC runs has a mean error of 3.8% and 2 failed tasks.
MODELS = ("LSTM", "DNC", "EntNet", "SDNC", "ADNC")

PUBLISHED = {
  "1": (28.4, 9.0, 0.0, 0.0, 0.1),
  "2": (56.0, 39.2, 15.3, 7.1, 0.8),
  "3": (51.3, 39.6, 29.3, 9.4, 6.5),
  "4": (0.8, 0.4, 0.1, 0.1, 0.0),
  "5": (3.2, 1.5, 0.4, 0.9, 1.0),
  "6": (15.2, 6.9, 0.6, 0.1, 0.0),
  "7": (16.4, 9.8, 1.8, 1.6, 1.0),
  "8": (17.7, 5.5, 1.5, 0.5, 0.2),
  "9": (15.4, 7.7, 0.0, 0.1, 0.0),
  "10": (28.7, 9.6, 0.1, 0.3, 0.1),
  "11": (12.2, 3.3, 0.2, 0.0, 0.0),
  "12": (5.4, 5.0, 0.0, 0.2, 0.0),
  "13": (7.2, 3.1, 0.0, 0.1, 0.0),
  "14": (55.9, 11.0, 7.3, 5.6, 0.2),
  "15": (47.0, 27.2, 3.6, 3.6, 0.1),
  "16": (53.3, 53.6, 53.3, 53.0, 52.1),
  "17": (34.8, 32.4, 8.8, 12.4, 18.5),
  "18": (5.0, 4.2, 1.3, 1.6, 1.1),
  "19": (90.9, 64.6, 70.4, 30.8, 43.3),
  "20": (1.3, 0.0, 0.0, 0.0, 0.1),
}

PUBLISHED_FAILED = (17.1, 11.2, 5.0, 4.1, 3.2)


def table(groups: Mapping[str, Mapping[str, float]], *, published: bool) -> str:
  """A Markdown table of errors by policy, and of published errors.

  Means are over the tasks in `groups`, also those of published errors. The
  published number of failed tasks is of all 20.
  """
  tasks = list(next(iter(groups.values())))
  columns = {
    name: [
      *(f"{found[task]:.1%}" for task in tasks),
      f"{summed_up(found)['mean_error']:.1%}",
      f"{len(failed(found))} of {len(tasks)}",
    ]
    for name, found in groups.items()
  }
  if published:
    errors = np.array([PUBLISHED[task] for task in tasks])
    for i, name in enumerate(MODELS):
      columns[f"{name}, published"] = [
        *(f"{error:.1f}%" for error in [*errors[:, i], errors[:, i].mean()]),
        f"{PUBLISHED_FAILED[i]} of {len(PUBLISHED)}",
      ]
  names = [*tasks, "mean", "failed"]
  rows = zip(names, *columns.values(), strict=True)
  return markup.markdown_table(["task", *columns], list(rows))
