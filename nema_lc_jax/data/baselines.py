"""Baselines that count bytes, for matching and for classification."""

import numpy as np

from nema_lc_jax.data.byte_text import VOCAB_SIZE
from nema_lc_jax.data.types import Examples

# With so many examples, the error of a fitted threshold is below one percent.
FIT_PAIRS = 4000
# Penalty of the ridge regression, per example.
RIDGE = 1e-5


def byte_histogram(fit: Examples, split: Examples) -> dict[str, float]:
  """Accuracy of thresholding the cosine similarity of two byte histograms.

  The threshold is fitted on the first `FIT_PAIRS` labelled pairs of `fit`, then
  applied to all of `split`. `byte_histogram` compares plain counts;
  `byte_histogram_sqrt_idf` compares square roots of counts, weighted by how few
  texts of `fit` contain the byte, and is stronger.
  """
  fit1, fit2, fit_labels = _counts(fit, min(len(fit), FIT_PAIRS))
  counts1, counts2, labels = _counts(split, len(split))
  idf = np.log((1 + len(fit1)) / (1 + (fit1 > 0).sum(0)))
  weightings = {
    "byte_histogram": lambda counts: counts,
    "byte_histogram_sqrt_idf": lambda counts: np.sqrt(counts) * idf,
  }
  accuracies = {}
  for name, weigh in weightings.items():
    threshold = best_threshold(_cosine(weigh(fit1), weigh(fit2)), fit_labels)
    same = _cosine(weigh(counts1), weigh(counts2)) >= threshold
    accuracies[name] = float((same == labels).mean())
  return accuracies


def byte_classifier(fit: Examples, split: Examples) -> dict[str, float]:
  """Accuracy of a linear classifier of the shares of bytes in an example.

  It is fitted by ridge regression on the first `FIT_PAIRS` labelled examples of
  `fit`, then applied to all of `split`.
  """
  shares, labels = _shares(fit, min(len(fit), FIT_PAIRS))
  evaluated, truth = _shares(split, len(split))
  targets = np.eye(1 + labels.max())[labels]
  # The scale of square roots of shares does not depend on the length.
  gram = shares.T @ shares + RIDGE * len(shares) * np.eye(shares.shape[1])
  weights = np.linalg.solve(gram, shares.T @ (targets - targets.mean(0)))
  answers = (evaluated @ weights + targets.mean(0)).argmax(1)
  return {"byte_histogram": float((answers == truth).mean())}


def _shares(examples: Examples, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Square roots of byte shares [count, vocabulary], and labels [count]."""
  shares, labels = np.zeros((count, VOCAB_SIZE)), np.zeros(count, int)
  for i in range(count):
    example = examples[i]
    shares[i] = np.bincount(
      example["inputs"][example["mask"]], minlength=VOCAB_SIZE
    )
    labels[i] = example["label"]
  return np.sqrt(shares / shares.sum(1, keepdims=True)), labels


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
  """The t for which `scores >= t` [n] is equal to `labels` [n] most often."""
  order = np.argsort(-scores, kind="stable")
  # Right minus wrong answers, up to a constant, if all scores down to this one
  # are answered with 1. The first entry is for answering none with 1.
  gain = np.cumsum(np.append(0, 2 * labels[order] - 1))
  return float(np.append(np.inf, scores[order])[gain.argmax()])


def _counts(pairs: Examples, count: int) -> tuple[np.ndarray, ...]:
  """Byte counts [count, vocabulary] of both texts, and labels [count]."""
  counts = np.zeros((2, count, VOCAB_SIZE))
  labels = np.zeros(count, int)
  for i in range(count):
    pair = pairs[i]
    for side, name in enumerate(("inputs", "inputs2")):
      counts[side, i] = np.bincount(pair[name], minlength=VOCAB_SIZE)
    labels[i] = pair["label"]
  counts[:, :, 0] = 0  # padding
  return counts[0], counts[1], labels


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  return (a * b).sum(1) / np.maximum(norms, 1e-12)
