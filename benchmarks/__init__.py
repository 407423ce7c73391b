"""Measurements: this engine beside others, in one process run. Results in README.md."""
