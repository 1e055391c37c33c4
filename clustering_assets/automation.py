"""What runs together."""

import dagster as dg

_VALIDATION = dg.AssetSelection.assets(["gold", "out_of_time_validation"])
_APPLIED = dg.AssetSelection.assets(["gold", "model_assignments"])

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all() - _VALIDATION - _APPLIED,
    description="From the source folder to the exports. What did not change is not computed again.",
)
out_of_time_validation = dg.define_asset_job(
    "out_of_time_validation",
    selection=_VALIDATION,
    description="How much of customers' later behaviour the segments of past days explain, from bronze as it stands.",
)
apply_model = dg.define_asset_job(
    "apply_model",
    selection=_APPLIED,
    description="The customers as they are now, in the segments of a model that was fitted before; nothing is fitted.",
)
JOBS = [everything, out_of_time_validation, apply_model]

SCHEDULES = [
    dg.ScheduleDefinition(
        name="monthly_out_of_time_validation",
        job=out_of_time_validation,
        cron_schedule="0 4 1 * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="On the first of the month: a month of new behaviour is worth another look.",
    )
]
