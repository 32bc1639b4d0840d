"""NeMA-LC in JAX: a Transformer memory whose slots' life is learned."""

from nema_lc_jax.version import __version__

__all__ = ["__version__"]
