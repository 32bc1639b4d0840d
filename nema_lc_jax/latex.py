"""Lines of LaTeX tables."""

from collections.abc import Sequence

# What LaTeX would take for a command.
SPECIAL = str.maketrans(
  {c: f"\\{c}" for c in "_%#&$}{"}
  | {"<": "$<$", "^": r"\^{}", "~": r"\~{}", "\\": r"\textbackslash{}"}
)


def escape(text: str) -> str:
  """The text as LaTeX prints it."""
  return text.translate(SPECIAL)


def line(cells: Sequence[str]) -> str:
  """A row of a tabular, its cells escaped."""
  return " & ".join(map(escape, cells)) + r" \\"
