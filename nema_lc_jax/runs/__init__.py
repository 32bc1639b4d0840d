"""A run's folder and its numbers: files, names, metrics, intervals, markup.

Nothing here computes with JAX or draws.
"""
