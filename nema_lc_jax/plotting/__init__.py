"""Figures of runs: `plot_run` draws one run, `compare` compares several.

On the command line: `python -m nema_lc_jax.plotting --help`.
"""

from nema_lc_jax.plotting.compare import compare
from nema_lc_jax.plotting.run import plot_run

__all__ = ["compare", "plot_run"]
