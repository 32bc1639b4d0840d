import numpy as np

from nema_lc_jax import by_task


def test_errors_by_task_and_what_they_sum_up_to():
  right = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
  tasks = np.array([2, 10, 10, 2, 2, 1])
  errors = by_task.errors(right, tasks)
  # In order of number; a task of many examples counts like one of few.
  assert list(errors) == ["1", "2", "10"]
  np.testing.assert_allclose(list(errors.values()), [0, 1 / 3, 1 / 2])
  summed = by_task.summed_up(errors)
  np.testing.assert_allclose(summed["mean_error"], (0 + 1 / 3 + 1 / 2) / 3)
  assert summed["failed_tasks"] == 2


def test_five_percent_is_not_failed_yet():
  right = np.repeat([1.0, 0.0], [95, 5])
  assert by_task.failed(by_task.errors(right, np.ones(100, int))) == []
  right[0] = 0.0
  assert len(by_task.failed(by_task.errors(right, np.ones(100, int)))) == 1


def test_the_line_names_errors_and_failed_tasks():
  summary = {
    "test_error_by_task": {"1": 0.0, "2": 0.251},
    "test_metrics": {"mean_error": 0.126, "failed_tasks": 1.0},
  }
  assert by_task.line(summary) == (
    "error by task 1: 0.0%, 2: 25.1%; mean 12.6%; above 5%, failed: 1 of 2 (2)"
  )
  assert by_task.line({"test_error_by_task": None}) is None
