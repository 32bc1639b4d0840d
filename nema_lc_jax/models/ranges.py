"""What the numbers of a config may be: `Range`, and those of a model."""

from typing import Any, NamedTuple

# Steps, positions and numbers of rows are int32; parameters are float32.
MAX_WHOLE = 2**31 - 1
MAX_REAL = 1e38
# Layers, hops and the taps of a convolution are traced one by one.
MAX_UNROLLED = 100


class Range(NamedTuple):
  """The numbers that a field may have; NaN is in no range."""

  low: float
  high: float
  whole: bool
  above: bool = False  # whether `low` itself is not allowed
  below: bool = False  # whether `high` itself is not allowed
  optional: bool = False  # whether None is allowed

  def __contains__(self, value: Any) -> bool:
    if value is None:
      return self.optional
    kinds = int if self.whole else int | float
    if not isinstance(value, kinds) or isinstance(value, bool):
      return False
    low = value > self.low if self.above else value >= self.low
    high = value < self.high if self.below else value <= self.high
    return low and high

  def words(self, *, usual: bool = True) -> str:
    """The bounds in words; without `usual`, only those that say something."""
    low = f"{'above' if self.above else 'at least'} {self.low:.15g}"
    high = f"{'below' if self.below else 'at most'} {self.high:.15g}"
    bounds = {low: self.low != -MAX_REAL, high: not self._usual_high()}
    return " and ".join(b for b, says in bounds.items() if usual or says)

  def _usual_high(self) -> bool:
    return self.high == (MAX_WHOLE if self.whole else MAX_REAL)

  def require(self, name: str, value: Any, form: str = "") -> None:
    """Raises ValueError, which names the field, unless the value is allowed.

    Args:
      name: of the field.
      value: to check.
      form: words about a field of which the value is a part.
    """
    if value not in self:
      kind = "a whole number" if self.whole else "a number"
      none = "None or " * self.optional
      raise ValueError(
        f"{name} must be {form}{none}{kind}, {self.words()}, got {value!r}."
      )


def whole(low: int, high: int = MAX_WHOLE, **more: bool) -> Range:
  """Whole numbers from `low`."""
  return Range(low, high, True, **more)


def real(low: float, high: float = MAX_REAL, **more: bool) -> Range:
  """Finite numbers from `low`."""
  return Range(low, high, False, **more)


ANY_WHOLE = whole(-MAX_WHOLE)
ANY_REAL = real(-MAX_REAL)
# Of the learned policies' options.
CONTROLLER = {
  "hidden": whole(1),
  "max_decay": real(0, 1),
  "write_threshold": real(0, 1),
  "soft_eviction_decay": real(0, 1, above=True),
  "noise": real(0),
  "write_bias": ANY_REAL,
  "update_threshold": real(-1, 2),
  "capacity": whole(1, optional=True),
}
# Of the fields of a model, by their names in a run's config.
MODEL = {
  "model.vocab_size": whole(1, 2**30),
  "model.num_classes": whole(1),
  "model.chunk_length": whole(1),
  "model.width": whole(1),
  "model.num_layers": whole(0, MAX_UNROLLED),
  "model.num_layers_after": whole(0, MAX_UNROLLED),
  "model.num_heads": whole(1),
  "model.mlp_ratio": real(0, 1000, above=True),
  "model.ngram_sizes": whole(2, MAX_UNROLLED),
  "model.ngram_rows": whole(1, 2**24),
  "model.conv_kernel_size": whole(0, MAX_UNROLLED),
  "model.dropout": real(0, 1, below=True),
  "model.query_norm": real(0, above=True),
  "model.read_gain": real(0, 1000),
  "model.num_hops": whole(1, MAX_UNROLLED),
  "model.chunk_batch_size": whole(0),
  "model.bptt_chunks": whole(1, optional=True),
  "memory.num_slots": whole(1),
  "memory.overprovisioned_slots": whole(0),
  "memory.num_candidates": whole(1),
  "memory.budget": whole(0),
}
# Fields that are tuples; their ranges are those of the elements.
TUPLES = ("model.ngram_sizes",)


def require_options(options: dict[str, Any]) -> None:
  """Raises ValueError on an option of the learned policies out of its range."""
  for name, value in options.items():
    if name in CONTROLLER:
      CONTROLLER[name].require(f"config.memory.controller.{name}", value)
