import re

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lra import listops_trees as trees

SMALL = {"min_length": 50, "max_length": 120}
SIZES = {"num_train": 60, "num_eval": 20, "num_test": 30}


def value_of(text):
  """The value of a list, by rewriting its innermost brackets: an oracle."""
  apply = {
    "MIN": min,
    "MAX": max,
    "MED": lambda digits: int(np.median(digits)),
    "SM": lambda digits: sum(digits) % 10,
  }
  inner = re.compile(r"\[(\w+)((?: \d)+) \]")
  while inner.search(text):
    text = inner.sub(
      lambda m: str(apply[m[1]]([int(d) for d in m[2].split()])), text
    )
  return int(text)


def depth_of(tokens):
  depth = deepest = 0
  for token in tokens:
    depth += (token[0] == "[") - (token == "]")
    deepest = max(deepest, depth)
  return deepest


def text_of(example):
  ids = example["inputs"][example["mask"]]
  return " ".join(trees.TOKENS[i - 1] for i in ids)


def write(folder, **files):
  folder.mkdir(parents=True, exist_ok=True)
  for name in ("train", "val", "test"):
    rows = files.get(name, ["( ( ( [MAX 2 ) 9 ) ] )\t9"])
    text = "".join(row + "\r\n" for row in ("Source\tTarget", *rows))
    (folder / f"basic_{name}.tsv").write_bytes(text.encode())
  return folder


def test_the_oracle_knows_the_example_of_the_paper():
  assert value_of("[MAX 2 9 [MIN 4 7 ] 0 ]") == 9
  assert value_of("[SM 5 6 [MED 1 2 4 9 ] ]") == 4


@pytest.fixture(scope="module")
def listops(cache):
  return data.load("listops", **SMALL, **SIZES)


def test_generated_labels_are_the_values(listops):
  assert listops.num_examples == {"train": 60, "validation": 20, "test": 30}
  texts = set()
  for split, size in listops.num_examples.items():
    examples = listops.evaluation(split, 128)
    assert len(examples) == size
    for i in range(size):
      text = text_of(examples[i])
      assert value_of(text) == examples[i]["label"]
      assert 50 < len(text.split()) < 120
      texts.add(text)
  assert len(texts) == 110  # No list is in two splits.


def test_trees_are_drawn_as_in_the_reference():
  rng = np.random.Generator(np.random.Philox(1))
  levels = trees.grow(rng, 2000)
  assert len(levels) == 10
  assert (levels[0].arguments > 0).all()
  assert not levels[9].arguments.any()
  for level in levels[1:9]:
    assert (level.arguments > 0).mean() == pytest.approx(0.25, abs=0.03)
  tokens = np.concatenate([level.token for level in levels])
  digits, operators = tokens[tokens < 10], tokens[tokens >= 10]
  for found, kinds in ((digits, 10), (operators - 10, 4)):
    shares = np.bincount(found, minlength=kinds) / len(found)
    np.testing.assert_allclose(shares, 1 / kinds, atol=0.02)
  arguments = np.concatenate([level.arguments for level in levels])
  arguments = arguments[arguments > 0]
  assert (arguments.min(), arguments.max()) == (2, 10)
  assert arguments.mean() == pytest.approx(6, abs=0.1)


def test_a_hand_made_tree_is_evaluated_and_written():
  # [SM 3 [MED 1 8 ] 9 ], and [MIN 4 [MAX 5 6 7 ] ]
  levels = [
    trees.Level(np.array([0, 1]), np.array([13, 10]), np.array([3, 2])),
    trees.Level(
      np.array([0, 0, 0, 1, 1]),
      np.array([3, 12, 9, 4, 11]),
      np.array([0, 2, 0, 0, 3]),
    ),
    trees.Level(
      np.array([0, 0, 1, 1, 1]), np.array([1, 8, 5, 6, 7]), np.zeros(5, int)
    ),
  ]
  assert trees.evaluate(levels).tolist() == [6, 4]
  sizes = trees.subtree_sizes(levels)
  assert sizes[0].tolist() == [8, 8]
  text = " ".join(trees.TOKENS[i] for i in trees.write(levels, sizes))
  assert text == "[SM 3 [MED 1 8 ] 9 ] [MIN 4 [MAX 5 6 7 ] ]"


def test_long_lists_reach_the_depth_of_the_reference():
  rng = np.random.Generator(np.random.Philox(2))
  lists = trees.draw(rng, 500, 2000)
  depths = []
  for _ in range(5):
    ids, value = next(lists)
    tokens = [trees.TOKENS[i] for i in ids]
    assert 500 < len(tokens) < 2000
    assert value_of(" ".join(tokens)) == value
    depths.append(depth_of(tokens))
  assert max(depths) == 9  # At depth 10 there are digits only.


def test_lists_are_of_the_data_seed_and_not_of_the_run(listops, equal):
  again = data.load("listops", seed=7, **SMALL, **SIZES)
  assert again.fingerprint == listops.fingerprint
  other = data.load("listops", data_seed=1, **SMALL, **SIZES)
  assert other.fingerprint != listops.fingerprint
  first, second = (d.evaluation("test", 128)[0] for d in (listops, other))
  assert not equal(first, second)
  # More of a split begins with the same lists.
  more = data.load("listops", **SMALL, **SIZES | {"num_test": 31})
  assert equal(more.evaluation("test", 128)[29],
               listops.evaluation("test", 128)[29])  # fmt: skip


def test_lists_are_cut_and_padded(listops):
  whole = listops.evaluation("train", 128)[0]
  cut = listops.evaluation("train", 16)[0]
  assert cut["inputs"].tolist() == whole["inputs"][:16].tolist()
  size = int(whole["mask"].sum())
  assert whole["mask"].tolist() == [i < size for i in range(128)]
  assert not whole["inputs"][size:].any()
  assert whole["inputs"].max() <= listops.vocab_size - 1 == 15


def test_baselines_are_those_of_counting(listops):
  found = listops.baselines("test", 128)
  labels = {
    split: [int(listops.evaluation(split, 128)[i]["label"]) for i in range(n)]
    for split, n in listops.num_examples.items()
  }
  most = np.bincount(labels["train"]).argmax()
  assert found["majority"] == pytest.approx(np.mean(labels["test"] == most))
  assert set(found) == {"majority", "root_operator"}


@pytest.mark.parametrize(
  "folder", ["", "listops-1000", "lra_release/lra_release/listops-1000"]
)
def test_release_files_are_read(tmp_path, folder):
  write(tmp_path / folder, test=["( ( ( [SM 7 ) ( ( [MIN 1 ) 5 ) ] ) ] )\t8"])
  listops = data.load("listops", dir=str(tmp_path))
  example = listops.evaluation("test", 12)[0]
  assert example["inputs"].tolist() == [14, 8, 11, 2, 6, 15, 15, *[0] * 5]
  assert example["label"] == 8
  assert listops.num_examples == {"train": 1, "validation": 1, "test": 1}


@pytest.mark.parametrize(
  ("row", "message"),
  [
    ("( [MAX 2", "expected 2 columns between tabs (Source, Target), got 1"),
    ("[MAX 2 ]\t2\t2", "expected 2 columns between tabs"),
    ("", "expected 2 columns between tabs"),
    ("[MAX 2 ]\t", "expected a target of 0 to 9, got ''"),
    ("[MAX 2 ]\t10", "expected a target of 0 to 9, got '10'"),
    ("[MAX 2 ]\t2.0", "expected a target of 0 to 9, got '2.0'"),
    ("[MEAN 2 ]\t2", "unknown token '[MEAN'; known: 0 1 2 3 4 5 6 7 8 9 [MIN"),
    ("( )\t2", "the source is empty"),
    ("[MAX 2 [MIN 3 ]\t2", "the source has brackets that do not match"),
    ("[MAX 2 ] ] [MIN 3\t2", "the source has brackets that do not match"),
    ("\t2", "the source is empty"),
  ],
)
def test_a_malformed_line_is_named(tmp_path, row, message, error_of):
  write(tmp_path, val=["[MAX 2 ]\t2", row])
  error = error_of(data.load, "listops", dir=str(tmp_path))
  assert f"basic_val.tsv:3: {message}" in error


def test_bytes_that_are_no_text_are_named_in_one_line(tmp_path, error_of):
  write(tmp_path)
  path = tmp_path / "basic_train.tsv"
  path.write_bytes(b"Source\tTarget\n[MAX \xff ]\t2\n")
  assert "basic_train.tsv:2: unknown token" in error_of(
    data.load, "listops", dir=str(tmp_path)
  )
  path.write_bytes(b"\xff\xfe")
  assert "basic_train.tsv:1: expected the columns" in error_of(
    data.load, "listops", dir=str(tmp_path)
  )
  path.write_bytes(b"Source\tTarget\n")
  assert "basic_train.tsv: the file has no lists" in error_of(
    data.load, "listops", dir=str(tmp_path)
  )


def test_a_missing_split_is_named(tmp_path, error_of):
  (write(tmp_path) / "basic_val.tsv").unlink()
  assert "lacks basic_val.tsv" in error_of(
    data.load, "listops", dir=str(tmp_path)
  )
  assert "lra_release.gz" in error_of(
    data.load, "listops", dir=str(tmp_path / "nowhere")
  )


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"min_length": 49}, "min_length must be an integer of at least 50"),
    ({"max_length": 549}, "max_length must be an integer of at least 550"),
    ({"num_train": 0}, "num_train must be an integer of at least 1"),
    ({"data_seed": -1}, "seed must be an integer in 0.."),
  ],
)
def test_options_are_checked(options, message, error_of):
  assert message in error_of(data.load, "listops", **options)
