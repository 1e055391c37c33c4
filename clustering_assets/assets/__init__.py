"""The assets, one module per layer.

An asset reads, calls, writes and reports. What it calls knows nothing of Dagster.
"""
