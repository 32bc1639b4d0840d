"""A run's folder and its numbers: files, names, metrics, intervals, markup.

Nothing here imports JAX or matplotlib.
"""
