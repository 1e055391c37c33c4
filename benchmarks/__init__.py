"""Benchmarks: every figure is a ratio against a baseline of the same run, since absolute times say little."""
