"""Config files: finding and loading them, and their variants."""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from nema_lc_jax.errors import ConfigError, what_failed

# The folder of config files, relative to the current folder. DEFAULT has the
# fields that all runs share, and is no run itself.
FOLDER = Path("configs")
DEFAULT = FOLDER / "default.py"


def config_files() -> list[Path]:
  """The config files of runs, without DEFAULT."""
  paths = sorted(FOLDER.glob("*.py"))
  return [path for path in paths if path.stem not in ("__init__", DEFAULT.stem)]


def load_module(path: Path) -> ModuleType:
  """Loads a config file as a module.

  Raises:
    ConfigError: in one line, if the file does not exist or fails.
  """
  if not path.is_file():
    known = ", ".join(map(str, config_files())) or f"none in {FOLDER}/"
    raise ConfigError(f"there is no config file {path}; there are: {known}.")
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  if spec is None:
    raise ConfigError(f"config file {path} must end in .py.")
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    raise ConfigError(
      f"config file {path} fails: {what_failed(error)}"
    ) from error
  if not callable(getattr(module, "get_config", None)):
    raise ConfigError(f"config file {path} has no function get_config.")
  return module


def load_file(spec: str) -> ConfigDict:
  """Loads the config of FILE[:VARIANT], locked against new fields.

  Raises:
    ConfigError: in one line, if there is no such file or variant.
  """
  name, colon, variant = spec.partition(":")
  path = Path(name)
  module = load_module(path)
  if variant and not inspect.signature(module.get_config).parameters:
    raise ConfigError(f"{name} has no variants, got {variant!r}.")
  try:
    config = module.get_config(*[variant] if colon else [])
  except ValueError:
    raise
  except Exception as error:
    raise ConfigError(
      f"config file {path} fails: {what_failed(error)}"
    ) from error
  if not isinstance(config, ConfigDict):
    raise ConfigError(f"get_config of {name} must return a ConfigDict.")
  return config.lock()


def variants(module: ModuleType) -> dict[str, str]:
  """The description of each variant of a config file, by name."""
  listed = getattr(module, "VARIANTS", {})
  return {name: line for name, (line, _) in listed.items()}


def default_variant(module: ModuleType) -> str | None:
  """The variant that is used if none is named."""
  parameters = inspect.signature(module.get_config).parameters.values()
  values = [p.default for p in parameters if p.default is not p.empty]
  return values[0] if values else None
