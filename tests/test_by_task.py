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
  assert by_task.line({"1": 0.0, "2": 0.252}) == (
    "error by task 1: 0.0%, 2: 25.2%; mean 12.6%; above 5%, failed: 1 of 2 (2)"
  )


def test_means_are_over_the_runs_that_have_a_task():
  runs = [{"2": 0.5, "10": 0.0}, {"2": 0.25}, None]
  found = by_task.means({"test_error_by_task": errors} for errors in runs)
  assert found == {"2": 0.375, "10": 0.0}
  assert list(found) == ["2", "10"]  # in order of number
