"""`evaluate` on files: labels by name, whole files, trained rows."""

import json
import shutil

import numpy as np
import pytest

from nema_lc_jax import evaluate
from tests.helpers import run, small_config

COLOURS = ("blue", "green", "red")


def write(path, colours, first=0):
  """Rows whose text is their label, with a number that makes it unique."""
  rows = [f"{c}\tsome {c} no {first + i}" for i, c in enumerate(colours)]
  path.write_text("\n".join(rows) + "\n")
  return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run that has learned the three colours; and its file."""
  folder = tmp_path_factory.mktemp("colours")
  path = write(folder / "own.tsv", COLOURS * 40)
  c = small_config()
  c.data = {"name": "file", "path": str(path), "length": 32}
  c.model.update(chunk_length=16, width=16, pool="mean", num_layers=0)
  c.train.update(
    steps=120, batch_size=16, learning_rate=0.02, curriculum=(),
    log_every=60, eval_every=120, checkpoint_every=120,
  )  # fmt: skip
  summary = run(c, folder / "run")
  assert summary.test_accuracy == 1
  return folder / "run", path


def report_of(capsys, *arguments):
  assert evaluate.main(list(map(str, arguments))) == 0
  found = capsys.readouterr()
  return json.loads(found.out), found.err


def test_labels_keep_their_meaning_in_a_file_that_lacks_one(
  trained, tmp_path, capsys
):
  workdir, _ = trained
  other = write(tmp_path / "other.tsv", ("green", "red") * 10, first=1000)
  report, errors = report_of(
    capsys, f"--workdir={workdir}", f"--config.data.path={other}"
  )
  assert report["accuracy"] == 1
  assert (report["split"], report["examples"]) == ("all", 20)
  assert report["trained_examples"] == 0
  assert "was trained on" not in errors


def test_an_unknown_label_is_refused_by_name(trained, tmp_path, capsys):
  workdir, _ = trained
  other = write(tmp_path / "other.tsv", ("green", "pink") * 10)
  arguments = [f"--workdir={workdir}", f"--config.data.path={other}"]
  assert evaluate.main(arguments) == 2
  error = capsys.readouterr().err
  assert "'pink', which the model does not know; it knows 'blue', 'g" in error
  assert error.count("\n") == 1


def test_rows_that_were_trained_on_are_counted(trained, tmp_path, capsys):
  workdir, path = trained
  lines = path.read_text().splitlines()
  (tmp_path / "own.tsv").write_text("\n".join([*lines, "red\tanother"]) + "\n")
  report, errors = report_of(
    capsys,
    f"--workdir={workdir}",
    f"--config.data.path={tmp_path / 'own.tsv'}",
  )
  assert (report["trained_examples"], report["examples"]) == (96, 121)
  assert "warning: the run was trained on 96 of these 121 examples" in errors


def test_another_seed_may_not_split_the_run_s_file_anew(trained, capsys):
  workdir, _ = trained
  assert evaluate.main([f"--workdir={workdir}", "--config.seed=1"]) == 2
  assert "config.seed must be 0, as in training, got 1" in (
    capsys.readouterr().err
  )


def test_training_examples_are_evaluated_if_there_is_an_end_of_them(
  trained, finished, capsys
):
  report, _ = report_of(capsys, f"--workdir={trained[0]}", "--split=train")
  assert report["examples"] == 96
  assert evaluate.main([f"--workdir={finished[0]}", "--split=train"]) == 2
  assert "recall draws its training examples anew" in capsys.readouterr().err
  assert evaluate.main([f"--workdir={finished[0]}", "--split=all"]) == 2
  assert "no split 'all'; it has: train, validation, test" in (
    capsys.readouterr().err
  )


def test_a_run_of_an_older_version_takes_the_names_from_its_data(
  trained, tmp_path, capsys
):
  workdir, _ = trained
  old = shutil.copytree(workdir, tmp_path / "run")
  fields = json.loads((old / "interface.json").read_text())
  kept = {k: fields[k] for k in ("head", "vocab_size", "num_classes")}
  (old / "interface.json").write_text(json.dumps(kept))
  other = write(tmp_path / "other.tsv", ("green", "red") * 10, first=1000)
  report, _ = report_of(
    capsys, f"--workdir={old}", f"--config.data.path={other}"
  )
  assert report["accuracy"] == 1


def test_nothing_is_said_of_training_when_the_run_s_file_has_changed(
  trained, tmp_path, capsys
):
  workdir, path = trained
  run_of = shutil.copytree(workdir, tmp_path / "run")
  own = tmp_path / "own.tsv"
  shutil.copy(path, own)
  config = json.loads((run_of / "config.json").read_text())
  config["data"]["path"] = str(own)
  (run_of / "config.json").write_text(json.dumps(config))
  report, _ = report_of(capsys, f"--workdir={run_of}", "--split=all")
  assert report["trained_examples"] == 96
  own.write_text(own.read_text() + "red\tsome red more\n")
  report, _ = report_of(capsys, f"--workdir={run_of}", "--split=test")
  assert report["trained_examples"] is None


def test_an_old_run_without_its_data_reads_no_names(trained, tmp_path, capsys):
  workdir, _ = trained
  old = shutil.copytree(workdir, tmp_path / "run")
  fields = json.loads((old / "interface.json").read_text())
  kept = {k: fields[k] for k in ("head", "vocab_size", "num_classes")}
  (old / "interface.json").write_text(json.dumps(kept))
  (old / "data.json").write_text('{"fingerprint": "of others"}')
  other = write(tmp_path / "other.tsv", ("green", "red") * 10, first=1000)
  arguments = [f"--workdir={old}", f"--config.data.path={other}"]
  assert evaluate.main(arguments) == 2
  assert "which of its classes is 'green' cannot be told" in (
    capsys.readouterr().err
  )


def test_texts_of_another_kind_are_refused(trained, tmp_path, capsys):
  workdir, _ = trained
  np.savez(tmp_path / "a.npz", inputs=[[30]] * 4, labels=[0, 1, 2, 0])
  row = {"document": "a", "question": "b", "answer": "red"}
  (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
  for name, message in {
    "a.npz": "the model is for texts as bytes, and data set 'file' is not",
    "a.jsonl": "data set 'file' is for questions about documents, and the mod",
  }.items():
    path = f"--config.data.path={tmp_path / name}"
    assert evaluate.main([f"--workdir={workdir}", path]) == 2
    assert message in capsys.readouterr().err
