"""Inspecting the memory of a trained model.

python -m nema_lc_jax.inspect --workdir RUN
python -m nema_lc_jax.inspect --workdir RUN --horizon 64
"""

from nema_lc_jax.inspect.horizon import survival, write_horizon
from nema_lc_jax.inspect.page import Inspection
from nema_lc_jax.inspect.record import Record
from nema_lc_jax.inspect.run import show

__all__ = [
  "Inspection",
  "Record",
  "show",
  "survival",
  "write_horizon",
]
