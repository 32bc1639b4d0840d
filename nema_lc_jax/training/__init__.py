"""A run from config to summary: data, steps, checkpoints, evaluation."""
