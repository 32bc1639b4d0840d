"""Command lines: the config that they name and change."""

from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from nema_lc_jax.errors import ConfigError, one_line


def load_config(
  program: str, rest: Sequence[str], *, default: str | None = None
) -> ConfigDict:
  """The config that the flags name and change.

  Args:
    program: for messages.
    rest: flags, without any but those of the config.
    default: the file, where --config does not name one.

  Raises:
    ConfigError: in one line, on anything that cannot be.
  """
  values = flags.FlagValues()
  given = any(arg.lstrip("-").split("=")[0] == "config" for arg in rest)
  if default is not None and not given:
    rest = [f"--config={default}", *rest]
  arguments = [program, *rest]
  holder = config_flags.DEFINE_config_file(
    "config", None, flag_values=values, sys_argv=arguments
  )
  try:
    left = values(arguments)[1:]
    config = holder.value
    if config is None:
      raise ConfigError("--config is required: --config=configs/toy_lc.py")
    _ = config.seed  # A file that failed to load says so only now.
  except (
    flags.Error, AttributeError, ImportError, KeyError, TypeError
  ) as error:  # fmt: skip
    raise ConfigError(one_line(error).removeprefix("error: ")) from None
  if left:
    raise ConfigError(f"unknown argument {left[0]!r}; see --help.")
  return config
