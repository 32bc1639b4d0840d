"""The page of one example: a self-contained HTML file."""

import dataclasses
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nema_lc_jax.inspect.names import Names
from nema_lc_jax.inspect.record import Record
from nema_lc_jax.plotting import style, timeline
from nema_lc_jax.runs import trace
from nema_lc_jax.runs.files import json_text

FOLDER = Path(__file__).parent
# Decimal places, enough to distinguish shades and widths.
DIGITS = 4
# Fields of a Record that the page shows by cell.
CELLS = (
  "operation",
  "strength",
  "age",
  "usage",
  "born",
  "source",
  "update_source",
  "alive_before",
  "action_probs",
  "attention",
  "write_strength",
  "candidates",
)


@dataclasses.dataclass(frozen=True)
class Inspection:
  """The inspection of one example; a notebook shows its page."""

  title: str
  record: Record = dataclasses.field(repr=False)
  page: str = dataclasses.field(repr=False)
  # The fact of each chunk, for the PNG; empty if it is not known.
  facts: Sequence[str] = dataclasses.field(default=(), repr=False)

  @property
  def data(self) -> dict[str, np.ndarray]:
    """The recorded arrays by name, as `Record` documents them."""
    return self.record.arrays

  def _repr_html_(self) -> str:
    """The page in a frame, so that its styles do not affect the notebook."""
    return (
      f'<iframe srcdoc="{html.escape(self.page)}" style="width:100%;'
      'height:900px;border:0"></iframe>'
    )

  def save(self, path: str | Path) -> list[Path]:
    """Writes the page, and its grid as a PNG next to it."""
    path = Path(path)
    image = path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(self.page, encoding="utf-8")
    with style.STYLE():
      figure = timeline.memory_timeline(
        self.record.trace, title=self.title, facts=self.facts
      )
      figure.savefig(image, metadata={"Software": None})
    return [path, image]


def content(
  record: Record, names: Names, *, title: str, facts: Sequence[str]
) -> dict[str, Any]:
  """The data of the page, as JSON values.

  Args:
    record: of the example.
    names: texts of its tokens and labels.
    title: of the page.
    facts: further lines about the run and the example.
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
  """By step: number of live slots, their mean age, numbers of operations."""
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
  """The model's answers with all slots, and with slots removed."""
  known = record.label >= 0
  given = int(record.removed[0].argmax())
  # Without a label, the page shows the probability of the model's answer.
  shown = record.label if known else given
  best = record.removed.argmax(1)
  return {
    "chunk": record.asked,
    "label": names.label(record.label) if known else None,
    "given": names.label(given),
    "right": bool(given == record.label) if known else None,
    "pooled": record.pooled,
    "mass": _listed(record.mass),
    # With all slots, without slot 0, 1, ..., and without any.
    "probability": _listed(record.removed[:, shown]),
    "answers": [names.label(int(i)) for i in best],
    "changed": _listed(best != given),
  }


def render(data: dict[str, Any]) -> str:
  """The HTML of `content`, with style, script and data."""
  # These could end the script element, or open a comment in it.
  text = json_text(data, indent=None, separators=(",", ":"))
  for sign in "<>&":
    text = text.replace(sign, f"\\u{ord(sign):04x}")
  read = lambda name: (FOLDER / name).read_text(encoding="utf-8")
  parts = {
    "title": html.escape(data["title"]),
    "style": read("page.css"),
    "script": read("grid.js") + read("page.js"),
    "data": text,
  }
  # In one pass, so that placeholders in the data are not replaced.
  return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], read("page.html"))


def _listed(array: np.ndarray) -> list:
  """An array as lists, with rounded numbers, and flags as 0 and 1."""
  array = np.asarray(array)
  if array.dtype == bool:
    array = array.astype(int)
  elif array.dtype.kind == "f":
    # JSON has no infinite numbers.
    array = np.round(np.nan_to_num(array.astype(float)), DIGITS)
  return array.tolist()
