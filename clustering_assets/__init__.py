"""Customer segmentation by return behaviour, as Dagster assets."""
