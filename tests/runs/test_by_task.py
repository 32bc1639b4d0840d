import numpy as np

from nema_lc_jax import by_task as command
from nema_lc_jax.plotting.by_task import PUBLISHED
from nema_lc_jax.runs import by_task
from tests.summaries import a_summary


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
  found = by_task.means(a_summary(test_error_by_task=run) for run in runs)
  assert found == {"2": 0.375, "10": 0.0}
  assert list(found) == ["2", "10"]  # in order of number


def test_published_errors_have_the_published_means():
  assert list(PUBLISHED) == [str(task) for task in range(1, 21)]
  means = np.mean(list(PUBLISHED.values()), axis=0)
  published = [27.3, 16.7, 9.7, 6.4, 6.3]
  np.testing.assert_array_equal(means.round(1), published)


def _run(tmp_path, task, policy, **errors):
  path = tmp_path / f"{task}-{policy}"
  path.mkdir()
  a_summary(task=task, policy=policy, test_error_by_task=errors).write(path)
  return str(path)


def test_published_means_are_of_the_tasks_that_were_run(tmp_path, capsys):
  runs = [
    _run(tmp_path, "babi", "learned", **{"2": 0.25, "17": 0.0}),
    _run(tmp_path, "babi", "fifo", **{"2": 0.5, "17": 0.125}),
  ]
  assert command.main([*runs, "--published"]) == 0
  out = capsys.readouterr().out.splitlines()
  assert out[0].startswith("| task | learned | fifo | LSTM, published | DNC")
  assert out[2].startswith("| 2 | 25.0% | 50.0% | 56.0% | 39.2% | 15.3% |")
  # (39.2 + 32.4) / 2 of the DNC, (15.3 + 8.8) / 2 of EntNet.
  assert out[4].startswith("| mean | 12.5% | 31.2% | 45.4% | 35.8% | 12.1% |")
  assert out[5].startswith("| failed | 1 of 2 | 2 of 2 | 17.1 of 20 | 11.2 of")
  assert out[-1].startswith("fifo: mean 31.2%; above 5%")


def test_other_tasks_have_no_published_columns(tmp_path, capsys):
  run = _run(tmp_path, "file", "learned", **{"1": 0.25})
  assert command.main([run]) == 0
  assert "DNC" not in capsys.readouterr().out
  assert command.main([run, "--published"]) == 2
  assert "--published is for bAbI" in capsys.readouterr().err
