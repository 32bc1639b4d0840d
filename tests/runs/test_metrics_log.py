import io
import json
import math
import os

import pytest

from nema_lc_jax.runs.metrics_log import MetricWriter, read_metrics
from nema_lc_jax.training import progress
from nema_lc_jax.training.progress import Progress

METRICS = {
  "loss": 0.6931,
  "accuracy": 0.5172,
  "write_rate": 0.31,
  "update_rate": 0.02,
  "forget_rate": 0.01,
  "examples_per_second": 411.8,
}


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.fixture
def clock(monkeypatch):
  """A clock to turn by hand, in place of the one `Progress` looks at."""
  now = [0.0]
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  return now


def write(workdir, steps, **kwargs):
  with MetricWriter(workdir, tensorboard=False) as writer:
    for step in steps:
      writer.write(step, "train", {"loss": 1 / step, **kwargs})


def steps_of(workdir):
  return [row["step"] for row in read_metrics(workdir)]


def test_what_is_written_is_read_back(tmp_path):
  with MetricWriter(tmp_path / "new" / "run", tensorboard=False) as writer:
    writer.write(1, "train", METRICS)
    writer.write(1, "validation", {"accuracy": 1})
  assert read_metrics(tmp_path / "new" / "run") == [
    {"step": 1, "split": "train", **METRICS},
    {"step": 1, "split": "validation", "accuracy": 1.0},
  ]


def test_a_line_is_on_disk_before_the_writer_is_closed(tmp_path):
  writer = MetricWriter(tmp_path, tensorboard=False)
  writer.write(1, "train", METRICS)
  assert steps_of(tmp_path) == [1]
  writer.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_stay_valid_json(tmp_path, value):
  with MetricWriter(tmp_path) as writer:
    writer.write(1, "train", {"loss": value})
  text = (tmp_path / "metrics.jsonl").read_text()

  def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")

  assert json.loads(text, parse_constant=refuse)["loss"] is None
  assert math.isnan(read_metrics(tmp_path)[0]["loss"])


def test_a_resumed_run_has_every_step_once(tmp_path):
  write(tmp_path, [1, 2, 3, 4])
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 5, "split": "tr')  # the kill
  assert steps_of(tmp_path) == [1, 2, 3, 4]

  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.truncate_after(2)
    for step in (3, 4, 5):
      writer.write(step, "train", {"loss": 0.0})

  assert steps_of(tmp_path) == [1, 2, 3, 4, 5]
  assert [row["loss"] for row in read_metrics(tmp_path)] == [1, 0.5, 0, 0, 0]
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_truncating_keeps_every_split_of_the_last_step(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    for step in (1, 2):
      writer.write(step, "train", {"loss": 1.0})
      writer.write(step, "validation", {"loss": 1.0})
    writer.truncate_after(1)
  splits = [(row["step"], row["split"]) for row in read_metrics(tmp_path)]
  assert splits == [(1, "train"), (1, "validation")]


def test_truncating_before_anything_was_written_is_no_mistake(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.truncate_after(10)
    writer.write(11, "train", METRICS)
  assert steps_of(tmp_path) == [11]


def test_appending_after_a_kill_does_not_join_two_lines(tmp_path):
  write(tmp_path, [1])
  with (tmp_path / "metrics.jsonl").open("ab") as file:
    file.write(b'{"step": 2, \xff\x00')
  write(tmp_path, [2])
  assert steps_of(tmp_path) == [1, 2]


def test_a_broken_line_before_the_last_is_an_error(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
  with pytest.raises(ValueError, match="line 1 is not JSON"):
    read_metrics(tmp_path)


def test_reading_a_folder_without_metrics_says_so(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no metrics\.jsonl in"):
    read_metrics(tmp_path)


def test_tensorboard_gets_the_same_scalars(tmp_path):
  with MetricWriter(tmp_path) as writer:
    writer.write(7, "validation", {"accuracy": 0.75})
  (events,) = (tmp_path / "tensorboard").iterdir()
  assert b"validation/accuracy" in events.read_bytes()


def test_progress_off_a_terminal_is_one_plain_line_per_call(clock):
  stream = io.StringIO()
  progress = Progress(600, stream=stream)
  clock[0] = 100.0  # compiles
  progress.restart(100)
  progress.update(100, METRICS)  # The pace is not known yet.
  clock[0] = 123.0
  progress.update(200, METRICS)
  progress.message("saved")
  progress.close()
  assert stream.getvalue().splitlines() == [
    "step 100/600 · loss 0.693 · acc 0.52 · "
    "write 0.31 update 0.02 forget 0.01 · 412 ex/s",
    "step 200/600 · loss 0.693 · acc 0.52 · "
    "write 0.31 update 0.02 forget 0.01 · 412 ex/s · 1m32s left",
    "saved",
  ]
  assert "\r" not in stream.getvalue()


def test_a_resumed_run_judges_its_pace_from_where_it_resumed(clock):
  stream = io.StringIO()
  progress = Progress(1000, initial=500, stream=stream)
  clock[0] = 10.0
  progress.update(510, {})
  assert stream.getvalue() == "step 510/1000 · 8m10s left\n"


def test_progress_leaves_out_what_was_not_measured(clock):
  stream = io.StringIO()
  Progress(10, stream=stream).update(10, {"loss": math.nan})
  assert stream.getvalue() == "step 10/10 · loss nan · 0s left\n"


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(0.4, "0s"), (59.6, "1m00s"), (92, "1m32s"), (11100, "3h05m")],
)
def test_durations(seconds, text):
  assert progress._duration(seconds) == text


def test_a_terminal_without_room_gets_plain_lines():
  primary, secondary = os.openpty()  # 0 by 0 until someone says otherwise
  with os.fdopen(secondary, "w") as stream:
    Progress(10, stream=stream).update(10, {})
    assert os.read(primary, 100).strip() == "step 10/10 · 0s left".encode()
  os.close(primary)


def test_progress_on_a_terminal_is_a_bar_that_messages_do_not_break():
  stream = Terminal()
  progress = Progress(600, initial=100, stream=stream)
  progress.update(200, METRICS)
  progress.message("saved a checkpoint")
  progress.update(300, METRICS)
  progress.close()
  text = stream.getvalue()
  assert "step 200/600" in text
  assert " 50%" in text
  assert "loss 0.693 · acc 0.52" in text
  # The message stands alone on its line; the bar is drawn again below it.
  assert "\rsaved a checkpoint\n" in text
  assert text.endswith("\n")
