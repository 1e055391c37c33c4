"""Segments of customers: the estimator, its parameter choice, stability, the map and the profiles.

In scikit-learn style, on numpy arrays and pandas frames. No orchestration, no warehouse, no query engine here.
"""
