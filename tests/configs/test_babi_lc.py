"""configs/babi_lc.py: its variants, and a run from files to the table."""

import os
import re

import pytest

from configs import babi_lc
from nema_lc_jax import by_task as command
from nema_lc_jax import data, models
from nema_lc_jax.runs import by_task, naming
from nema_lc_jax.training.checks import _check_lengths, stages_of
from nema_lc_jax.training.experiment import load_data
from tests.data.text.test_babi import write
from tests.helpers import run
from tests.summaries import a_summary

VARIANTS = (*babi_lc.TASKS, "joint")
# The unpacked release; what needs it is skipped without it.
REAL = os.environ.get("NEMA_LC_JAX_DATA")
YES_NO = "1 John is a cat.\n2 Is John a cat?\tyes\t1\n3 Is he?\tno\t1\n" * 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_a_run_that_can_be(variant):
  c = babi_lc.get_config(variant)
  stages = stages_of(c)
  _check_lengths(stages, c)
  assert c.model.chunk_length == c.data.sentence_length
  # At first there is a slot for each sentence, up to 64.
  chunks = stages[0].length // c.model.chunk_length
  assert stages[0].num_slots >= min(chunks, 64)
  assert set(c.data) - {"name", "path"} <= data.options_of(c.data.name)
  models.build_model(
    head="classify", vocab_size=100, num_classes=2, **c.model, **c.memory
  )
  assert c.train.steps % c.train.eval_every == 0


@pytest.mark.skipif(not REAL, reason="needs NEMA_LC_JAX_DATA")
@pytest.mark.parametrize("variant", [v for v in babi_lc.TASKS if v != "3"])
def test_sentences_and_nearly_all_stories_of_a_task_fit(variant, caplog):
  c = babi_lc.get_config(variant)
  c.data.dir = REAL
  dataset = load_data(c)  # Says if a sentence does not fit.
  examples = dataset.evaluation("test", c.data.length)
  assert len(examples) == 1000
  cut = re.findall(r"babi: (\d+) of 1000 questions", caplog.text)
  assert all(int(n) <= 20 for n in cut)


def small(variant, folder):
  c = babi_lc.get_config(variant)
  c.data.dir = str(folder)
  c.data.length = 4 * c.data.sentence_length
  c.data.num_eval = None
  c.model.width = 8
  c.model.num_heads = 2
  c.model.num_hops = 2
  c.model.num_layers = 0
  c.memory.policy = "fifo"
  c.memory.num_slots = 3
  c.memory.controller.hidden = 4
  c.train.update(
    steps=2, batch_size=4, eval_batch_size=8, eval_every=2, checkpoint_every=2,
    curriculum=(), warmup_steps=1,
  )  # fmt: skip
  return c


def test_from_files_to_the_table(tmp_path, capsys):
  files = write(tmp_path / "files", 1)
  write(files, 6, train=YES_NO, test=YES_NO)
  joint = run(small("joint", files), tmp_path / "joint")
  assert list(joint.test_error_by_task) == ["1", "6"]
  printed = capsys.readouterr().out
  assert by_task.line(joint.test_error_by_task) in printed
  # Beside a run of one of them alone, the table has means.
  (tmp_path / "6").mkdir()
  single = a_summary(policy="fifo", test_error_by_task={"6": 0.0})
  single.write(tmp_path / "6")
  assert command.main([str(tmp_path / "joint"), str(tmp_path / "6")]) == 0
  one, six = joint.test_error_by_task.values()
  table = capsys.readouterr().out
  assert f"| 1 | {one:.1%} |\n| 6 | {six / 2:.1%} |\n" in table
  assert f"mean {(one + six / 2) / 2:.1%}" in table


def test_a_table_of_what_cannot_be_is_one_line(tmp_path, capsys):
  def error_of(*summaries):
    for i, summary in enumerate(summaries):
      (tmp_path / f"{i}").mkdir(exist_ok=True)
      summary.write(tmp_path / f"{i}")
    runs = [str(tmp_path / f"{i}") for i in range(len(summaries))]
    assert command.main(runs or [str(tmp_path / "none")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text

  run = lambda policy, errors: a_summary(
    policy=policy, test_error_by_task=errors
  )
  assert "is no finished run: it has no summary.json" in error_of()
  assert "has no errors by task" in error_of(run("fifo", None))
  assert "same tasks; got fifo: 1, 2; lru: 2" in error_of(
    run("fifo", {"1": 0.5, "2": 0.5}), run("lru", {"2": 0.5})
  )


def test_each_task_has_a_folder_of_its_own():
  folder = lambda variant: naming.default(babi_lc.get_config(variant))
  assert folder("6") == "runs/babi-6-learned-seed0"
  assert folder("joint") == "runs/babi-joint-learned-seed0"
