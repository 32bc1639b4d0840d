"""Multi-query associative recall: an answer at every token that asks.

The text starts with `num_pairs` pairs [key, value]. The rest consists of cells
of two tokens. In one cell per key, the key occurs again, followed by noise, and
its value has to be predicted at the key. The gaps between pairs and questions
follow a power law. In `forgetting_mqar` some keys get a new pair before they
are asked for, which makes the first one invalid.

The parameters are those of MQAR (Arora et al. 2023, "Zoology"; the generator of
HazyResearch/zoology): vocabulary, pairs, power. There are two differences: here
noise has token ids of its own (there, noise may be keys and values, which in a
small vocabulary would form pairs by chance), and labels number values from 0.
"""

import functools

import numpy as np

from nema_lc_jax.data.lifecycle.synthetic import generated
from nema_lc_jax.data.types import (
  MAX_TOKENS,
  DataError,
  Dataset,
  Example,
  require_at_least,
  require_between,
)


def load(
  *,
  seed: int = 0,
  length: int = 64,
  num_pairs: int = 8,
  pair_vocab: int = 8192,
  noise_vocab: int = 16,
  power: float = 0.01,
  num_eval: int = 1024,
  num_test: int = 2048,
) -> Dataset:
  """The task.

  Token ids: 0 padding, `pair_vocab // 2 - 1` keys, `pair_vocab // 2` values,
  then noise. Chance is 1/(pair_vocab // 2). A memory that holds all pairs has
  accuracy 1; one that holds m of them m/num_pairs, and chance for the others.

  Args:
    seed: of the examples.
    length: tokens, even, at least 4 * num_pairs.
    num_pairs: pairs at the start, each asked for once.
    pair_vocab: token ids of padding, keys and values together.
    noise_vocab: token ids of the noise.
    power: a in the weight g^(a-1) of a question in cell g = 1, 2, ...
    num_eval: validation examples.
    num_test: test examples.
  """
  return _load(
    "mqar", seed, length, num_pairs, 0, pair_vocab, noise_vocab, power,
    (num_eval, num_test),
  )  # fmt: skip


def load_forgetting(
  *,
  seed: int = 0,
  length: int = 64,
  num_pairs: int = 8,
  num_rebound: int = 4,
  pair_vocab: int = 8192,
  noise_vocab: int = 16,
  power: float = 0.01,
  num_eval: int = 1024,
  num_test: int = 2048,
) -> Dataset:
  """The task in which `num_rebound` keys get a second value; else as `load`.

  A key that has no free cell before its question keeps its value.
  """
  require_at_least(0, num_rebound=num_rebound, num_pairs=num_pairs)
  if num_rebound > num_pairs:
    raise DataError(f"num_rebound {num_rebound} is above num_pairs {num_pairs}")
  return _load(
    "forgetting_mqar", seed, length, num_pairs, num_rebound, pair_vocab,
    noise_vocab, power, (num_eval, num_test),
  )  # fmt: skip


def _load(
  name: str,
  seed: int,
  length: int,
  num_pairs: int,
  num_rebound: int,
  pair_vocab: int,
  noise_vocab: int,
  power: float,
  sizes: tuple[int, int],
) -> Dataset:
  require_at_least(1, most=MAX_TOKENS, noise_vocab=noise_vocab)
  require_at_least(1, num_pairs=num_pairs)
  require_at_least(1, num_eval=sizes[0], num_test=sizes[1])
  require_at_least(4, most=MAX_TOKENS, pair_vocab=pair_vocab)
  require_between(-10, 10, power=power)
  if pair_vocab // 2 - 1 < num_pairs:
    raise DataError(
      f"pair_vocab {pair_vocab} must be at least {2 * num_pairs + 2}, for"
      f" {num_pairs} keys"
    )

  def check(length: int) -> None:
    if length % 2 or length < 4 * num_pairs:
      raise DataError(
        f"{name} needs an even length of at least {4 * num_pairs}, 4 per pair;"
        f" got {length}"
      )

  check(length)
  options = {
    "num_pairs": num_pairs,
    "num_rebound": num_rebound,
    "pair_vocab": pair_vocab,
    "noise_vocab": noise_vocab,
    "power": power,
  }
  num_values = pair_vocab // 2
  values = tuple(f"v{i}" for i in range(num_values))
  names = ("pad", *(f"k{i}" for i in range(num_values - 1)), *values)
  vocab_size = pair_vocab + noise_vocab
  return generated(
    functools.partial(_draw, options),
    name=name,
    head="causal_lm",
    seed=seed,
    options=options,
    vocab_size=vocab_size,
    num_classes=num_values,
    sizes=sizes,
    check=check,
    chance=1 / num_values,
    description=(
      f"{name}: the values of {num_pairs} keys, each asked for once"
      + (f", {num_rebound} of them bound anew" if num_rebound else "")
    ),
    token_names=(*names, *["n"] * (vocab_size - len(names))),
    label_names=values,
  )


def _draw(
  options: dict, rng: np.random.Generator, length: int, training: bool
) -> Example:
  del training
  P, half = options["num_pairs"], options["pair_vocab"] // 2
  cells = (length - 2 * P) // 2
  keys = 1 + rng.permutation(half - 1)[:P]
  values = rng.permutation(half)[:P]
  weights = np.arange(1, cells + 1) ** (options["power"] - 1.0)
  asked = rng.choice(cells, P, replace=False, p=weights / weights.sum())

  noise = options["pair_vocab"], options["pair_vocab"] + options["noise_vocab"]
  inputs = rng.integers(*noise, length, np.int32)
  truth = np.zeros(length, np.int8)
  invalidates = np.full(length, -1, np.int32)
  updates = np.full(length, -1, np.int32)
  source = np.full(length, -1, np.int32)
  label = np.full(length, -1, np.int32)
  stale = np.full((length, 1), -1, np.int32)
  inputs[0 : 2 * P : 2], inputs[1 : 2 * P : 2] = keys, half + values
  truth[: 2 * P] = 2

  free = np.ones(cells, bool)
  free[asked] = False
  newest = 2 * np.arange(P)  # position of each key's valid pair
  for i in rng.permutation(P)[: options["num_rebound"]]:
    (before,) = np.nonzero(free[: asked[i]])
    if not len(before):
      continue
    cell = rng.choice(before)
    free[cell] = False
    at = 2 * (P + cell)
    stale[2 * (P + asked[i])] = values[i]
    values[i] = (values[i] + rng.integers(1, half)) % half
    inputs[at : at + 2] = keys[i], half + values[i]
    truth[newest[i] : newest[i] + 2] = 1
    truth[at : at + 2] = 2
    invalidates[at : at + 2] = updates[at : at + 2] = newest[i]
    newest[i] = at
  questions = 2 * (P + asked)
  inputs[questions], label[questions] = keys, values
  source[questions] = newest
  # Each pair is asked for once, and is not needed afterwards.
  invalidates[questions] = newest
  return {
    "inputs": inputs,
    "mask": np.ones(length, bool),
    "label": label,
    "ground_truth": truth,
    "invalidates": invalidates,
    "updates": updates,
    "answer_position": source,
    "stale": stale,
  }
