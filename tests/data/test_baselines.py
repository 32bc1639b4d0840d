import numpy as np
import pytest

from nema_lc_jax.data.baselines import best_threshold, byte_histogram
from nema_lc_jax.data.byte_text import text_pair
from nema_lc_jax.data.types import Examples


@pytest.mark.parametrize(
  ("scores", "labels", "threshold"),
  [
    ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.8),
    ([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.9),
    ([0.9, 0.8], [0, 0], np.inf),
    ([0.3, 0.9, 0.5], [1, 1, 1], 0.3),
  ],
)
def test_the_threshold_is_right_most_often(scores, labels, threshold):
  found = best_threshold(np.array(scores), np.array(labels))
  assert found == threshold
  right = ((np.array(scores) >= found) == labels).mean()
  for other in [*scores, np.inf]:
    assert ((np.array(scores) >= other) == labels).mean() <= right


def test_pairs_of_one_alphabet_are_told_from_pairs_of_two():
  def make(i):
    rng = np.random.default_rng(i)
    alphabets = (b"abcd", b"wxyz")
    first, second = alphabets[0], alphabets[1 - i % 2]
    texts = [bytes(rng.choice(list(a), 50)) for a in (first, second)]
    # Padding is no byte: without that, long padding would look alike.
    return text_pair(*texts, 500) | {"label": np.int32(i % 2)}

  pairs = Examples(60, make)
  assert byte_histogram(pairs, pairs)["byte_histogram"] == 1.0
