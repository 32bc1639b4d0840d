"""Training a run from its config: steps, loop, checkpoints, evaluation."""
