"""Provenance of a run: versions, hardware, commit, hash of parameters."""

import contextlib
import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nema_lc_jax import version
from nema_lc_jax.memory.types import Params

PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "grain",
  "numpy",
)


def params_sha256(params: Params) -> str:
  """SHA-256 of the names, types, shapes and bytes of all parameters."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def git_commit() -> str | None:
  """The commit of this source, "-dirty" if edited; None without a checkout."""
  folder = Path(__file__).parent

  def git(*command: str) -> str:
    return subprocess.run(
      ["git", "-C", str(folder), *command],
      check=True,
      capture_output=True,
      text=True,
    ).stdout.strip()

  try:
    if not git("ls-files", Path(__file__).name):
      return None  # Installed inside the checkout of another project.
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def versions() -> dict[str, str]:
  """Versions of Python and of the packages that results depend on."""
  installed = {
    "python": platform.python_version(),
    "nema-lc-jax": version.__version__,
  }
  for name in PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      installed[name] = importlib.metadata.version(name)
  return installed


def hardware() -> dict[str, Any]:
  """The devices and the machine of the run."""
  devices = jax.devices()
  return {
    "platform": devices[0].platform,
    "device": devices[0].device_kind,
    "devices": len(devices),
    "machine": platform.machine(),
  }
