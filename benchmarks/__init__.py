"""Measurements a reader can run: `python -m benchmarks.<name>`. A claim of speed in the docs comes from here."""
