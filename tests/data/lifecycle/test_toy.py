import numpy as np

from nema_lc_jax import data


def test_the_key_stands_once_early_and_is_the_label():
  toy = data.load("toy", num_classes=4, noise_vocab=32)
  examples = toy.evaluation("validation", 40)
  positions, labels = [], []
  for i in range(len(examples)):
    inputs, truth = examples[i]["inputs"], examples[i]["ground_truth"]
    (at,) = np.flatnonzero(inputs <= 4)  # keys are 1..4
    assert inputs[at] - 1 == examples[i]["label"]
    assert inputs.min() >= 1
    assert inputs.max() < toy.vocab_size
    np.testing.assert_array_equal(np.flatnonzero(truth), [at])
    assert truth[at] == 2
    positions.append(at)
    labels.append(examples[i]["label"])
  # Every place of the first three quarters, none of the last; 1,024 draws.
  assert set(positions) == set(range(30))
  assert np.bincount(positions).max() < 70  # 34 expected
  assert np.bincount(labels).min() > 200  # 256 expected
  assert toy.baselines("test", 40) == {"chance": 0.25, "best_possible": 1.0}


def test_errors_name_the_option(error_of):
  assert "num_classes must be an integer of at least 2, got 1" in error_of(
    data.load, "toy", num_classes=1
  )
  assert "length of at least 4, got 3" in error_of(data.load, "toy", length=3)
  assert "num_test must be an integer of at least 1, got 1.5" in error_of(
    data.load, "toy", num_test=1.5
  )
