"""Training and comparison of policies, encoders, settings and seeds."""
