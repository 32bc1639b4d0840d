"""One file in three splits, and what the splits of several files share."""

import collections
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nema_lc_jax import data
from nema_lc_jax.data.text.split import SHARES, groups, split_rows

TEXT = st.sampled_from(["a", "b", "c d", "ee", "f" * 9, "g" * 9 + "h"])
LENGTH = 8


def check_split(group, seed):
  group = np.array(group)
  parts = split_rows(groups(group.tolist()), seed)
  assert sorted(np.concatenate(list(parts.values()))) == list(range(len(group)))
  kinds = {split: set(group[rows]) for split, rows in parts.items()}
  assert all(kinds.values())
  assert sum(map(len, kinds.values())) == len(set(group))
  return {split: len(rows) for split, rows in parts.items()}


@settings(deadline=None)
@given(
  st.lists(st.integers(1, 9), min_size=3, max_size=60)
  | st.lists(st.integers(1, 200), min_size=20, max_size=60),
  st.integers(0, 2**32 - 1),
)
def test_groups_stay_together_and_shares_are_of_rows(sizes, seed):
  group = np.repeat(np.arange(len(sizes)), sizes)
  found = check_split(group, seed)
  if len(sizes) >= 20 and len(set(sizes)) > 1:
    for split, share in SHARES.items():
      # No split is off by more than the largest group.
      assert abs(found[split] - share * len(group)) <= max(sizes) + 1, found


def test_a_document_with_half_of_all_questions_is_in_training():
  group = [0] * 100 + [i for i in range(1, 51) for _ in range(2)]
  for seed in range(20):
    found = check_split(group, seed)
    assert found == {"train": 160, "validation": 20, "test": 20}


def test_equal_groups_are_split_as_before():
  parts = split_rows(np.arange(20), 1)
  order = data.types.shuffled(20, 1)
  assert parts["validation"].tolist() == order[:2].tolist()
  assert parts["test"].tolist() == order[2:4].tolist()
  assert parts["train"].tolist() == order[4:].tolist()


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(TEXT, st.sampled_from("xy")), min_size=3))
def test_no_text_is_in_two_splits_of_one_file(tmp_path_factory, rows):
  """Rows as users have them: repeated, imbalanced, long ones cut."""
  path = tmp_path_factory.mktemp("own") / "a.tsv"
  path.write_text("".join(f"{label}\t{text}\n" for text, label in rows))
  dataset = data.load("file", path=str(path))
  different = {text for text, _ in rows}
  if len(different) < 3:
    with pytest.raises(data.DataError, match="can't be split in three"):
      dataset.evaluation("train", LENGTH)
    assert len(dataset.evaluation("all", LENGTH)) == len(rows)
    return
  seen = collections.Counter()
  for split in data.SPLITS:
    source = dataset.evaluation(split, 99)
    assert len(source) == dataset.num_examples[split] > 0
    seen.update({source[i]["inputs"].tobytes() for i in range(len(source))})
  assert set(seen.values()) == {1}
  assert len(seen) == len(different)


def write(folder, **splits):
  for split, rows in splits.items():
    (folder / f"{split}.tsv").write_text("".join(f"{r}\n" for r in rows))
  return data.load("file", path=str(folder))


def test_what_given_splits_share_is_counted_after_the_cut(tmp_path, caplog):
  dataset = write(
    tmp_path,
    train=["x\tabcd1", "y\tother"],
    validation=["x\tabcd2", "y\tnew"],
    test=["y\tother", "x\tother", "x\tnone"],
  )
  with caplog.at_level(logging.WARNING):
    dataset.evaluation("test", 5)
    dataset.evaluation("test", 5)
  assert [r.getMessage() for r in caplog.records] == [
    f"{tmp_path}: the text of 2 of 3 rows of test is in train as well, at"
    " length 5"
  ]
  caplog.clear()
  with caplog.at_level(logging.WARNING):
    dataset.evaluation("test", 4)
  said = [r.getMessage() for r in caplog.records]
  assert "the text of 1 of 2 rows of validation is in train" in said[1]


def test_labels_that_training_has_not_are_one_line_after_the_cut(
  tmp_path, caplog
):
  labels = {
    "train": [[0, 9, 8]],
    "validation": [[1, -1, 8], [0, 0, -1]],
    "test": [[-1, 7, 8]],
  }
  for number, (split, rows) in enumerate(labels.items(), 1):
    inputs = np.full((len(rows), 3), number)
    np.savez(tmp_path / f"{split}.npz", inputs=inputs, labels=rows)
  dataset = data.load("file", path=str(tmp_path))
  caplog.clear()
  with caplog.at_level(logging.WARNING):
    dataset.evaluation("train", 2)
  assert [r.getMessage() for r in caplog.records][1:] == [
    f"{tmp_path}: 1 of 3 labels of validation and 1 of 1 labels of test are"
    " none of training's, such as '1'; an answer to them can only be wrong"
  ]


def test_a_split_far_from_its_share_is_said(tmp_path, caplog):
  path = tmp_path / "a.tsv"
  rows = ["x\tbig"] * 50 + ["y\tbig too"] * 49 + ["x\tsmall"]
  path.write_text("\n".join(rows))
  with caplog.at_level(logging.WARNING):
    data.load("file", path=str(path)).evaluation("test", 8)
  assert "rows, since rows with one text stay together" in caplog.text


def test_a_header_is_part_of_the_fingerprint_and_orders_the_columns(tmp_path):
  """What was once a row is none now, so the data are others."""
  rows = [
    f"{text}\tx\t{other}" for text, other in zip("abcd", "efgh", strict=True)
  ]
  path = tmp_path / "a.tsv"
  path.write_text("\n".join(["text2\tlabel\ttext1", *rows]))
  dataset = data.load("file", path=str(path))
  assert (dataset.head, dataset.num_examples["all"]) == ("match", 4)
  row = dataset.evaluation("all", 2)[0]
  assert bytes((row["inputs"][:1] - 1).tolist()) == b"e"  # text1
  plain = data.types.fingerprint(files=[data.types.checksum(path)])
  assert dataset.fingerprint != plain
