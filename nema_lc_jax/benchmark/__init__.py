"""What the memory costs: speed and memory beside other encoders."""
