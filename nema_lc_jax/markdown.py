"""Markdown tables."""

from collections.abc import Sequence


def table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
  """A table of rows of cells under a header."""
  lines = [header, ["---"] * len(header), *cells]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)
