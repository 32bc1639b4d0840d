import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from nema_lc_jax import data

LENGTH = 96
GENERATED = ["toy", "recall", "rebind", "forgetting_mqar"]
NAMES = [*GENERATED, "pytext"]


def loaded(name, pytext):
  return pytext if name == "pytext" else data.load(name)


def batches(dataset, count=4, **options):
  settings = {"batch_size": 8, "seed": 0, "length": LENGTH} | options
  iterator = data.train_iterator(dataset, **settings)
  return [next(iterator) for _ in range(count)]


def digest(batch):
  sha = hashlib.sha256()
  for name in sorted(batch):
    sha.update(name.encode() + batch[name].tobytes())
  return sha.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types_are_the_contract(name, pytext):
  (batch,) = batches(loaded(name, pytext), count=1)
  shapes = {
    "inputs": (np.int32, (8, LENGTH)),
    "mask": (np.bool_, (8, LENGTH)),
    "label": (np.int32, (8,)),
    "ground_truth": (np.int8, (8, LENGTH)),
  }
  if name not in ("toy", "pytext"):
    shapes |= {
      "invalidates": (np.int32, (8, LENGTH)),
      "updates": (np.int32, (8, LENGTH)),
      "answer_position": (np.int32, (8, LENGTH)),
      "stale": (np.int32, (8, 8)),
    }
  if name == "forgetting_mqar":  # A question at every token.
    shapes["label"] = np.int32, (8, LENGTH)
    shapes["stale"] = np.int32, (8, LENGTH, 1)
  if name == "pytext":
    shapes |= {"inputs2": shapes["inputs"], "mask2": shapes["mask"]}
    shapes["group"] = shapes.pop("label")
    del shapes["ground_truth"]
  assert {k: (v.dtype, v.shape) for k, v in batch.items()} == shapes


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_iterator_continues_bit_for_bit(name, pytext, equal):
  dataset = loaded(name, pytext)
  settings = {"batch_size": 64, "seed": 3, "length": LENGTH}
  iterator = data.train_iterator(dataset, **settings)
  for _ in range(7):  # more than an epoch of pytext
    next(iterator)
  state = iterator.get_state()
  expected = [next(iterator) for _ in range(7)]
  restored = data.train_iterator(dataset, **settings)
  restored.set_state(state)
  for batch in expected:
    assert equal(batch, next(restored))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_stream(name, pytext, equal):
  dataset = loaded(name, pytext)
  first, again, other = (
    batches(dataset, count=2, seed=seed) for seed in (0, 0, 1)
  )
  assert all(equal(a, b) for a, b in zip(first, again, strict=True))
  assert not equal(first[0], other[0])


def test_streams_are_the_same_in_another_process():
  code = (
    "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
    "import test_pipeline as t\n"
    "from nema_lc_jax import data\n"
    "for name in t.NAMES:\n"
    "  dataset = data.load(name, length=256)\n"
    "  print(t.digest(t.batches(dataset)[-1]), dataset.fingerprint,\n"
    "    t.digest(dataset.evaluation('test', 96)[5]))\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  lines = subprocess.run(
    [sys.executable, "-c", code, os.path.dirname(__file__)],
    env=os.environ | {"PYTHONHASHSEED": "7"},
    check=True,
    capture_output=True,
    text=True,
  ).stdout.splitlines()
  for name, line in zip(NAMES, lines, strict=True):
    dataset = data.load(name, length=256)
    assert line.split() == [
      digest(batches(dataset)[-1]),
      dataset.fingerprint,
      digest(dataset.evaluation("test", 96)[5]),
    ]


@pytest.mark.parametrize("name", GENERATED)
def test_examples_depend_on_seed_split_index_and_length(name, equal):
  dataset, other = data.load(name, seed=0), data.load(name, seed=1)
  example = dataset.evaluation("test", 192)[3]
  assert equal(example, dataset.evaluation("test", 192)[3])
  assert not equal(example, dataset.evaluation("test", 192)[4])
  assert not equal(example, dataset.evaluation("validation", 192)[3])
  assert not equal(example, dataset.train(192, 0)[3])
  assert not equal(example, other.evaluation("test", 192)[3])
  longer = dataset.evaluation("test", 384)[3]["inputs"]
  assert not np.array_equal(example["inputs"], longer[:192])


@pytest.mark.parametrize("name", GENERATED)
def test_no_text_is_in_two_splits(name):
  dataset = data.load(name)
  seen = {}
  for split in ("train", "validation", "test"):
    source = dataset.evaluation(split, LENGTH)
    seen[split] = {source[i]["inputs"].tobytes() for i in range(400)}
    assert len(seen[split]) == 400
  assert not seen["train"] & seen["validation"]
  assert not seen["train"] & seen["test"]
  assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_evaluation_has_every_example_once_in_order(
  name, batch_size, pytext, equal
):
  if name != "pytext":
    dataset = data.load(name, num_eval=16, num_test=5)
  else:
    dataset = data.load("pytext", length=256, num_eval=16, num_test=5)
  for split, size in (("validation", 16), ("test", 5)):
    source = dataset.evaluation(split, LENGTH)
    rows = []
    for batch in data.eval_batches(
      dataset, split, batch_size=batch_size, length=LENGTH
    ):
      weight, index = batch.pop("weight"), batch.pop("index")
      assert (index[weight > 0] == len(rows) + np.arange(weight.sum())).all()
      assert weight.dtype == np.float32
      assert weight.shape == (batch_size,)
      rows += [
        {key: batch[key][i] for key in batch} for i in np.flatnonzero(weight)
      ]
      padding = np.flatnonzero(weight == 0)
      for i in padding:  # real rows, so that a model sees nothing odd
        assert equal({k: v[i] for k, v in batch.items()}, rows[-1])
    assert len(rows) == size == dataset.num_examples[split]
    assert all(equal(rows[i], source[i]) for i in range(size))


@pytest.mark.parametrize("count", [2, 4])
def test_shards_are_the_rows_of_the_same_batches(pytext, equal, count):
  per_epoch = pytext.num_examples["train"] // 8
  settings = {"count": per_epoch + 1, "seed": 5, "length": 256}
  whole = batches(pytext, **settings)
  seen = [row for batch in whole[:-1] for row in batch["group"].tolist()]
  assert len(set(seen)) == len(seen)
  shards = [batches(pytext, shard=(i, count), **settings) for i in range(count)]
  for batch, *parts in zip(whole, *shards, strict=True):
    joined = {k: np.concatenate([p[k] for p in parts]) for k in batch}
    assert equal(joined, batch)


def test_a_position_holds_for_any_number_of_shards(pytext, equal):
  settings = {"batch_size": 8, "seed": 3, "length": LENGTH}
  whole = data.train_iterator(pytext, **settings)
  for _ in range(3):
    next(whole)
  half = data.train_iterator(pytext, shard=(1, 2), **settings)
  half.set_state(whole.get_state())
  rows = {k: v[4:] for k, v in next(whole).items()}
  assert equal(next(half), rows)


def test_errors_are_raised_at_the_call(pytext, error_of):
  toy = data.load("toy")
  settings = {"batch_size": 4, "length": 16}
  assert "toy has no split 'tset'; it has: train, validation, test" in error_of(
    data.eval_batches, toy, "tset", **settings
  )
  assert "batch_size must be an integer of at least 1, got 0" in error_of(
    data.eval_batches, toy, "test", batch_size=0, length=16
  )
  assert "shard 2 of 2 does not exist" in error_of(
    data.train_iterator, toy, seed=0, shard=(2, 2), **settings
  )
  assert "batch_size 4 must be a multiple of the number of processes, 3" in (
    error_of(data.train_iterator, toy, seed=0, shard=(0, 3), **settings)
  )
  with pytest.raises(IndexError):
    toy.evaluation("test", 16)[2048]


def test_a_batch_larger_than_the_data_has_all_of_them(tmp_path, caplog, equal):
  path = tmp_path / "few.npz"
  inputs, labels = np.arange(1, 29).reshape(14, 2), np.arange(14) % 2
  np.savez(path, inputs=inputs, labels=labels)
  few = data.load("file", path=str(path))
  assert few.num_examples["train"] == 12
  make = lambda shard=(0, 1): data.train_iterator(
    few, batch_size=20, seed=0, length=2, shard=shard
  )
  stream = make()
  seen = np.concatenate([next(stream)["inputs"][:, 0] for _ in range(3)])
  for epoch in seen.reshape(5, 12):
    assert len(set(epoch)) == 12
  assert len({tuple(epoch) for epoch in seen.reshape(5, 12)}) > 1
  restored = make()
  restored.set_state(stream.get_state())
  assert equal(next(restored), next(stream))
  parts = [next(make((i, 2)))["inputs"][:, 0] for i in range(2)]
  assert np.concatenate(parts).tolist() == seen[:20].tolist()
  assert caplog.text.count("batch_size=20 is more than the 12 training") == 1
