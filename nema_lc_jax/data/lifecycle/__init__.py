"""Synthetic tasks in which only a memory that is managed well can answer."""
