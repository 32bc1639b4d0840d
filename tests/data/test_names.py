"""Data in the numbers of a trained model."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nema_lc_jax import data
from nema_lc_jax.data.names import renumbered
from nema_lc_jax.data.types import DataError

WORDS = st.lists(st.text(min_size=1, max_size=3), min_size=2, unique=True)


def lines(path, labels):
  """A tsv in which the text of a row is its own number and its label."""
  rows = [f"{label}\t{i} {label}\n" for i, label in enumerate(labels)]
  path.write_text("".join(rows))
  return data.load("file", path=str(path))


def labels_of(dataset):
  rows = dataset.evaluation("all", 24)
  found = {}
  for i in range(len(rows)):
    row = rows[i]
    text = bytes((row["inputs"][row["mask"]] - 1).tolist()).decode()
    found[text.split()[1]] = int(row["label"])
  return found


def test_labels_of_another_file_get_the_model_s_numbers(tmp_path):
  known = ("blue", "green", "red")
  other = lines(tmp_path / "a.tsv", ["red", "green"] * 5)
  assert labels_of(other) == {"green": 0, "red": 1}
  found = renumbered(other, vocab_size=257, num_classes=3, label_names=known)
  assert labels_of(found) == {"green": 1, "red": 2}
  assert found.num_classes == 3
  assert found.label_names == known
  batch = next(data.train_iterator(found, batch_size=4, seed=0, length=24))
  assert set(batch["label"].tolist()) == {1, 2}
  # Accuracies of guesses do not depend on numbers.
  assert found.baselines("all", 24) == other.baselines("all", 24)


def test_a_label_that_the_model_lacks_is_named(tmp_path, error_of):
  other = lines(tmp_path / "a.tsv", ["red", "pink"] * 5)
  message = error_of(
    renumbered,
    other,
    vocab_size=257,
    num_classes=2,
    label_names=("blue", "red"),
  )
  assert message == (
    "the data have the label 'pink', which the model does not know; it knows"
    " 'blue', 'red'"
  )


def numbered(path, labels):
  inputs = np.arange(1, 1 + 2 * len(labels)).reshape(-1, 2)
  np.savez(path, inputs=inputs, labels=labels)
  return data.load("file", path=str(path))


@pytest.mark.parametrize(
  ("labels", "num_classes", "label_names", "expected"),
  [
    # The model's labels were far apart, and so are these.
    ([9, 9, 500], 3, ("5", "9", "500"), [1, 1, 2]),
    # The model's were not.
    ([3, 3, 700], 701, (), [3, 3, 700]),
    # Numbers are numbers for a model whose labels have names.
    ([0, 1, 1], 2, ("no", "yes"), [0, 1, 1]),
    ([0, 2, 1], 4, (), [0, 2, 1]),
  ],
)
def test_numbers_as_labels(
  tmp_path, labels, num_classes, label_names, expected
):
  found = renumbered(
    numbered(tmp_path / "a.npz", labels),
    vocab_size=99,
    num_classes=num_classes,
    label_names=label_names,
  )
  rows = found.evaluation("all", 2)
  assert [int(rows[i]["label"]) for i in range(3)] == expected


def test_numbers_that_were_no_labels_are_refused(tmp_path, error_of):
  other = numbered(tmp_path / "a.npz", [0, 1, 1])
  found = renumbered(
    other, vocab_size=99, num_classes=2, label_names=("5", "1")
  )
  rows = found.evaluation("all", 2)
  assert int(rows[1]["label"]) == 1
  assert "the label '0', which the model" in error_of(rows.__getitem__, 0)


@given(WORDS, st.randoms())
def test_every_field_is_mapped_by_name_and_the_rest_is_left(names, random):
  """Tokens, labels and stale labels, in any order; -1 stays."""
  toy = data.load("toy", num_test=4)
  shown = list(names)
  random.shuffle(shown)
  n = len(shown)

  def make(i):
    return {
      "inputs": np.arange(n, dtype=np.int32),
      "mask": np.ones(n, bool),
      "label": np.int32(i % n),
      "stale": np.array([-1, i % n], np.int32),
    }

  own = dataclasses.replace(
    toy, vocab_size=n, num_classes=n, token_names=shown, label_names=shown,
    evaluation=lambda *_: data.Examples(4, make),
  )  # fmt: skip
  found = renumbered(
    own, vocab_size=n, num_classes=n, token_names=names, label_names=names
  )
  row = found.evaluation("test", n)[1]
  assert [names[i] for i in row["inputs"]] == shown
  assert names[row["label"]] == shown[1 % n]
  assert row["stale"].tolist() == [-1, row["label"]]
  assert row["mask"].all()


def test_words_that_the_model_lacks_are_unknown_ones_with_a_warning(caplog):
  toy = data.load("toy", num_test=4)
  row = {
    "inputs": np.arange(4, dtype=np.int32),
    "mask": np.ones(4, bool),
    "label": np.int32(0),
  }
  own = dataclasses.replace(
    toy,
    vocab_size=4,
    token_names=("", "<unk>", "milk", "sea"),
    evaluation=lambda *_: data.Examples(4, lambda i: row),
  )
  names = ("", "<unk>", "sea", "apple", "bread")
  found = renumbered(
    own, vocab_size=5, num_classes=toy.num_classes, token_names=names
  )
  assert found.evaluation("test", 4)[0]["inputs"].tolist() == [0, 1, 1, 2]
  assert "1 of the 4 words of the data, such as 'milk'" in caplog.text
  # A model without such a token cannot read them.
  with pytest.raises(DataError, match="<unk>"):
    renumbered(
      own,
      vocab_size=5,
      num_classes=toy.num_classes,
      token_names=("", *names[2:]),
    )


def test_names_that_are_not_unique_leave_the_numbers():
  toy = dataclasses.replace(data.load("toy"), label_names=("n", "n", "a", "b"))
  assert (
    renumbered(
      toy, vocab_size=toy.vocab_size, num_classes=4, label_names=("a", "b")
    )
    is toy
  )
