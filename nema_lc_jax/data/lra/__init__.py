"""The tasks of Long Range Arena, and how its release is found."""
