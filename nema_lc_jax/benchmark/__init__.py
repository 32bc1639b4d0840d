"""Speed and memory use of NeMA-LC, compared with other encoders."""
