"""Synthetic tasks that require selective writing, retaining and forgetting."""
