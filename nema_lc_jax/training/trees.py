"""Leaves of pytrees by name."""

from typing import Any

import jax


def named_leaves(tree: Any) -> dict[str, Any]:
  """The leaves in order, by paths such as "memory.content"."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }
