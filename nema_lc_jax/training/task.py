"""What a model and its data must agree on."""

import dataclasses

from nema_lc_jax import data
from nema_lc_jax.errors import ConfigError

# The fields of a TaskSpec on which a model depends.
SIZES = ("head", "vocab_size", "num_classes")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
  """What a model and its data must agree on; it is kept with the run."""

  head: str
  vocab_size: int
  num_classes: int
  # What the numbers mean, and how a text becomes an example: see `Dataset`.
  token_names: tuple[str, ...] = ()
  label_names: tuple[str, ...] = ()
  byte_level: bool = False
  questions: bool = False
  sentence_length: int = 0

  @property
  def asks(self) -> bool:
    """Whether an answer needs a question about the text."""
    return self.questions or self.sentence_length > 0

  def fit(self, dataset: data.Dataset) -> data.Dataset:
    """The data set in the numbers of a model of this spec.

    Raises:
      ValueError: in one line, if the model cannot read the data set.
    """
    dataset = data.renumbered(
      dataset,
      vocab_size=self.vocab_size,
      num_classes=self.num_classes,
      token_names=self.token_names,
      label_names=self.label_names,
    )
    if dataset.head != self.head:
      raise ConfigError(
        f"data set {dataset.name!r} is for the head {dataset.head!r}, the"
        f" model has {self.head!r}."
      )
    for name, what in {
      "byte_level": "texts as bytes",
      "questions": "questions about documents",
      "sentence_length": "texts as words",
    }.items():
      if bool(getattr(dataset, name)) != bool(getattr(self, name)):
        one, other = "the model", f"data set {dataset.name!r}"
        one, other = (other, one) if getattr(dataset, name) else (one, other)
        raise ConfigError(f"{one} is for {what}, and {other} is not.")
    if dataset.sentence_length != self.sentence_length:
      raise ConfigError(
        f"data set {dataset.name!r} has sentence_length"
        f" {dataset.sentence_length}, the model {self.sentence_length}."
      )
    for name in ("vocab_size", "num_classes"):
      here, there = getattr(self, name), getattr(dataset, name)
      if there > here:
        raise ConfigError(
          f"data set {dataset.name!r} has {name} {there}, the model {here}."
        )
    return dataset


def task_spec(dataset: data.Dataset) -> TaskSpec:
  """What a model for this data set must have."""
  return TaskSpec(
    dataset.head,
    dataset.vocab_size,
    dataset.num_classes,
    tuple(dataset.token_names),
    tuple(dataset.label_names),
    dataset.byte_level,
    dataset.questions,
    dataset.sentence_length,
  )
