"""Tables as Markdown and as LaTeX."""

from collections.abc import Sequence

# Characters that LaTeX would take for commands.
SPECIAL = str.maketrans(
  {c: f"\\{c}" for c in "_%#&$}{"}
  | {"<": "$<$", "^": r"\^{}", "~": r"\~{}", "\\": r"\textbackslash{}"}
)


def latex_escape(text: str) -> str:
  """The text with LaTeX's special characters escaped."""
  return text.translate(SPECIAL)


def latex_row(cells: Sequence[str]) -> str:
  """A row of a tabular, its cells escaped."""
  return " & ".join(map(latex_escape, cells)) + r" \\"


def markdown_table(
  header: Sequence[str], cells: Sequence[Sequence[str]]
) -> str:
  """A Markdown table from a header and rows of cells."""
  lines = [header, ["---"] * len(header), *cells]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)
