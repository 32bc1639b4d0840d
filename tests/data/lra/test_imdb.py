import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nema_lc_jax import data
from nema_lc_jax.data.lra.tfds_source import FOLDER_VARIABLE
from nema_lc_jax.data.prepare import prepare

# The unpacked aclImdb; the test of it is skipped without.
REAL = os.environ.get("NEMA_LC_JAX_IMDB")


def write(folder, count=20):
  """So many reviews of each split and class, in the layout of aclImdb."""
  for split in ("train", "test"):
    for name, word in (("neg", "awful"), ("pos", "great")):
      place = folder / split / name
      place.mkdir(parents=True)
      for i in range(count):
        (place / f"{i}_1.txt").write_text(f"{word} {split} {i}\n")
  return folder


def texts(imdb, split, length=40):
  examples = imdb.evaluation(split, length)
  return {
    bytes((e["inputs"][e["mask"]] - 1).tolist()): int(e["label"])
    for e in (examples[i] for i in range(len(examples)))
  }


@pytest.mark.parametrize("folder", ["", "aclImdb"])
def test_reviews_are_read_and_validation_held_out(tmp_path, folder):
  write(tmp_path / folder)
  imdb = data.load("imdb", dir=str(tmp_path), num_eval=12)
  assert imdb.num_examples == {"train": 28, "validation": 12, "test": 40}
  assert imdb.byte_level
  assert imdb.label_names == ("negative", "positive")
  train, held_out = texts(imdb, "train"), texts(imdb, "validation")
  assert not train.keys() & held_out.keys()
  both = train | held_out
  assert both == {
    f"{word} train {i}".encode(): label
    for label, word in enumerate(("awful", "great"))
    for i in range(20)
  }
  assert set(held_out.values()) == {0, 1}
  assert all(b"test" in text for text in texts(imdb, "test"))
  # Another seed of the run holds out the same.
  other = data.load("imdb", dir=str(tmp_path), num_eval=12, seed=5)
  assert texts(other, "validation") == held_out
  assert other.fingerprint == imdb.fingerprint


def test_any_bytes_are_cut_and_padded(tmp_path):
  write(tmp_path, count=1)
  (tmp_path / "train/pos/0_1.txt").write_bytes(b"\xff\x00\xc3abc")
  imdb = data.load("imdb", dir=str(tmp_path), num_eval=1)
  found = texts(imdb, "train", 5) | texts(imdb, "validation", 5)
  assert found == {b"\xff\x00\xc3ab": 1, b"awful": 0}
  example = imdb.evaluation("test", 20)[0]
  assert example["inputs"].dtype == np.int32
  assert not example["inputs"][~example["mask"]].any()
  assert example["mask"].sum() == len("awful test 0")


def test_a_fixed_part_of_the_test_split_can_be_chosen(tmp_path, error_of):
  write(tmp_path)
  load = lambda **options: data.load(
    "imdb", dir=str(tmp_path), num_eval=4, **options
  )
  some = load(num_test=9)
  assert some.num_examples["test"] == 9
  assert texts(some, "test").items() < texts(load(), "test").items()
  assert texts(some, "test") == texts(load(num_test=9, seed=1), "test")
  assert some.fingerprint != load().fingerprint
  assert load(num_test=41).num_examples["test"] == 40  # all
  assert "num_test must be an integer of at least 1" in error_of(
    load, num_test=0
  )


def test_counting_bytes_tells_different_alphabets_apart(tmp_path):
  write(tmp_path)
  imdb = data.load("imdb", dir=str(tmp_path), num_eval=4)
  assert imdb.baselines("test", 5) == {"majority": 0.5, "byte_histogram": 1.0}


def test_a_changed_file_is_prepared_anew_and_said_so(tmp_path, caplog):
  write(tmp_path, count=3)
  load = lambda: data.load("imdb", dir=str(tmp_path), num_eval=1)
  before = load()
  caplog.clear()
  assert load().fingerprint == before.fingerprint
  assert "anew" not in caplog.text
  # Of the same size and name.
  (tmp_path / "test/neg/0_1.txt").write_text("AWFUL test 0\n")
  after = load()
  assert "imdb is prepared anew: imdb-" in caplog.text
  assert b"AWFUL test 0" in texts(after, "test")
  assert after.fingerprint != before.fingerprint


def test_of_few_reviews_a_tenth_is_held_out(tmp_path, caplog):
  write(tmp_path, count=15)
  found = data.load("imdb", dir=str(tmp_path), num_eval=5432)
  assert found.num_examples["validation"] == 3
  assert found.num_examples["train"] == 27
  assert "num_eval=5432 is more than there are; 3 are used" in caplog.text


def test_bad_folders_are_named(tmp_path, error_of):
  load = lambda **options: error_of(
    data.load, "imdb", dir=str(tmp_path), **options
  )
  assert f"no train/neg in {tmp_path}" in load()
  write(tmp_path, count=2)
  (tmp_path / "test/pos/1_1.txt").write_text(" \n")
  assert "1_1.txt: the review is empty" in load(num_eval=1)
  for path in (tmp_path / "test/pos").iterdir():
    path.unlink()
  assert "test/pos has no .txt files" in load(num_eval=1)
  (tmp_path / "test/pos").rmdir()
  assert "lacks test/pos" in load(num_eval=1)


@pytest.mark.skipif(not REAL, reason="needs NEMA_LC_JAX_IMDB")
def test_the_real_reviews():
  found = data.load("imdb", dir=REAL)
  sizes = {"train": 22_500, "validation": 2500, "test": 25_000}
  assert found.num_examples == sizes
  labels = [int(found.evaluation("test", 9)[i]["label"]) for i in range(25_000)]
  assert sum(labels) == 12_500
  train, held_out = (
    texts(found, "train", 4000),
    texts(found, "validation", 4000),
  )
  assert not set(train) & set(held_out)


def test_what_tensorflow_datasets_prepared_is_the_same(
  tmp_path, monkeypatch, error_of
):
  monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
  message = error_of(data.load, "imdb")
  assert "download_and_prepare(file_format='array_record')" in message
  assert "aclImdb_v1.tar.gz" in message
  own = write(tmp_path / "aclImdb")
  records = {
    split: [
      {"text": path.read_bytes().strip(), "label": label}
      for label, name in enumerate(("neg", "pos"))
      for path in (own / split / name).iterdir()
    ]
    for split in ("train", "test")
  }
  folder = tmp_path / "imdb_reviews" / "plain_text"
  folder.mkdir(parents=True)

  def make():
    prepare(
      "imdb_reviews",
      fingerprint="0" * 64,
      features={
        "text": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["neg", "pos"]),
      },
      splits={s: lambda s=s: iter(records[s]) for s in records},
      cache=tmp_path / "elsewhere",
    )
    (prepared,) = (tmp_path / "elsewhere").iterdir()
    prepared.rename(folder / "1.0.0")

  make()
  found = data.load("imdb", num_eval=5)
  expected = data.load("imdb", dir=str(tmp_path), num_eval=5)
  for split in ("train", "validation", "test"):
    assert texts(found, split) == texts(expected, split)
  # Prepared again there, of other records under the same description.
  for row in records["test"]:
    row["label"] = 1 - row["label"]
  (folder / "1.0.0").rename(tmp_path / "old")
  make()
  again = data.load("imdb", num_eval=5)
  assert again.fingerprint != found.fingerprint
  labels = lambda dataset: [
    int(dataset.evaluation("test", 9)[i]["label"])
    for i in range(dataset.num_examples["test"])
  ]
  assert sum(labels(again)) == len(labels(found)) - sum(labels(found))
  assert labels(again) != labels(found)
