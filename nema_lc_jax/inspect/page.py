"""The page of one example: a single HTML file that needs nothing else."""

import dataclasses
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nema_lc_jax.inspect.names import Names
from nema_lc_jax.inspect.record import Record
from nema_lc_jax.plotting import style, timeline
from nema_lc_jax.runs import trace

FOLDER = Path(__file__).parent
# Enough to tell any two shades or widths apart.
DIGITS = 4
# Of a Record, what the page shows cell by cell.
CELLS = (
  "operation",
  "strength",
  "age",
  "usage",
  "born",
  "source",
  "alive_before",
  "action_probs",
  "attention",
  "write_strength",
  "candidates",
)


@dataclasses.dataclass(frozen=True)
class Inspection:
  """One example, inspected; in a notebook it shows its page."""

  title: str
  record: Record = dataclasses.field(repr=False)
  page: str = dataclasses.field(repr=False)

  @property
  def data(self) -> dict[str, np.ndarray]:
    """The recorded arrays by name, as `Record` documents them."""
    return self.record.arrays

  def _repr_html_(self) -> str:
    """The page in a frame, so that its styles stay inside."""
    return (
      f'<iframe srcdoc="{html.escape(self.page)}" style="width:100%;'
      'height:900px;border:0"></iframe>'
    )

  def save(self, path: str | Path) -> list[Path]:
    """Writes the page, and the same grid as a PNG next to it."""
    path = Path(path)
    image = path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(self.page, encoding="utf-8")
    with style.STYLE():
      figure = timeline.memory_timeline(self.record.trace, title=self.title)
      figure.savefig(image, metadata={"Software": None})
    return [path, image]


def content(
  record: Record, names: Names, *, title: str, facts: Sequence[str]
) -> dict[str, Any]:
  """What the page shows, as JSON values.

  Args:
    record: of the example.
    names: how to write its tokens and labels.
    title: of the page.
    facts: what else to say about the run and the example.
  """
  cells = {name: _listed(getattr(record, name)) for name in CELLS}
  rows = zip(record.tokens, record.valid, strict=True)
  optional = lambda x: None if x is None else _listed(x)
  return {
    "title": title,
    "facts": list(facts),
    "operations": trace.OPERATIONS,
    "colours": timeline.COLOURS,
    "texts": [names.text(ids[valid]) for ids, valid in rows],
    "active": _listed(record.valid.any(1)),
    "ground_truth": optional(record.ground_truth),
    "invalidates": optional(record.invalidates),
    "answer": _answer(record, names),
    "series": series(record),
    **cells,
  }


def series(record: Record) -> dict[str, list[float]]:
  """By step: slots in use, their mean age, and the number of operations."""
  live = record.strength > 0
  ages = np.where(live, record.age, 0).sum(1) / np.maximum(live.sum(1), 1)
  operation = record.operation
  count = lambda mask: _listed(mask.sum(1))
  return {
    "used": count(live),
    "age": _listed(ages),
    "writes": count(record.source >= 0),
    "evictions": count(operation == trace.REPLACED),
    "updates": count(operation == trace.UPDATED),
    "forgets": count(record.forgets),
  }


def _answer(record: Record, names: Names) -> dict[str, Any]:
  """What the model answers, with each slot and without it."""
  known = record.label >= 0
  given = int(record.removed[0].argmax())
  # Without a right answer, it is the model's own whose probability is told.
  told = record.label if known else given
  best = record.removed.argmax(1)
  return {
    "chunk": record.asked,
    "label": names.label(record.label) if known else None,
    "given": names.label(given),
    "right": bool(given == record.label) if known else None,
    "pooled": record.pooled,
    "mass": _listed(record.mass),
    # With all slots, without slot 0, 1, ..., and without any.
    "probability": _listed(record.removed[:, told]),
    "answers": [names.label(int(i)) for i in best],
    "changed": _listed(best != given),
  }


def render(data: dict[str, Any]) -> str:
  """The page of `content`: HTML with its style, its script and its data."""
  # In a script element, these could end it, or open a comment.
  text = json.dumps(data, allow_nan=False, separators=(",", ":"))
  for sign in "<>&":
    text = text.replace(sign, f"\\u{ord(sign):04x}")
  read = lambda name: (FOLDER / name).read_text(encoding="utf-8")
  parts = {
    "title": html.escape(data["title"]),
    "style": read("page.css"),
    "script": read("grid.js") + read("page.js"),
    "data": text,
  }
  # In one pass, so that nothing in the data is taken for a part.
  return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], read("page.html"))


def _listed(array: np.ndarray) -> list:
  """An array as lists; numbers are rounded, and flags are 0 and 1."""
  array = np.asarray(array)
  if array.dtype == bool:
    array = array.astype(int)
  elif array.dtype.kind == "f":
    # Scores that are infinite mean nothing on the page, and JSON has none.
    array = np.round(np.nan_to_num(array.astype(float)), DIGITS)
  return array.tolist()
