"""Many runs: policies, seeds and settings, trained and compared."""
