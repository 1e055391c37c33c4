"""What runs together."""

import dagster as dg

WRITES_WAREHOUSE = {"warehouse": "writes"}
"""Tag of runs that write the warehouse: dagster.yaml lets one of them run at a time."""

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all(),
    description="From the source folder to the exports. What did not change is not computed again.",
    tags=WRITES_WAREHOUSE,
)
JOBS = [everything]
