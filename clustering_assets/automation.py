"""What runs together, and when: at new files, every night, every month, and behind an asset that changed."""

import time
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from clustering_assets.alerts import alerts
from clustering_assets.clean_up import clean_up, daily_clean_up
from clustering_assets.failures import in_one_sentence
from clustering_assets.forgotten import requests
from clustering_assets.lost_runs import end_lost_runs
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.source_changes import Look, last_look, look
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import LAYERS, utc_now

_VALIDATION = dg.AssetSelection.assets(["gold", "out_of_time_validation"])
_APPLIED = dg.AssetSelection.assets(["gold", "model_assignments"])
_HISTORY = dg.AssetSelection.assets(["gold", "segment_history"])

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all() - _VALIDATION - _APPLIED - _HISTORY,
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
segment_history = dg.define_asset_job(
    "segment_history",
    selection=_HISTORY,
    description="The customers as they were known at the end of past months, in the segments of the newest model.",
)
forget_customers = dg.define_asset_job(
    "forget_customers",
    selection=dg.AssetSelection.all() - _VALIDATION - _APPLIED - _HISTORY,
    description="Everything, without the customers in the folder `forget` of the home, and nothing left of them.",
)
JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    everything,
    out_of_time_validation,
    apply_model,
    segment_history,
    forget_customers,
    clean_up,
]

SCHEDULES = [
    dg.ScheduleDefinition(
        name="nightly_refresh",
        job=everything,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: what a failed run left undone, and what no new file tells of, such as new code.",
    ),
    dg.ScheduleDefinition(
        name="monthly_out_of_time_validation",
        job=out_of_time_validation,
        cron_schedule="0 4 1 * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="On the first of the month: a month of new behaviour is worth another look.",
    ),
    dg.build_schedule_from_partitioned_job(
        segment_history,
        name="monthly_segment_history",
        day_of_month=1,
        hour_of_day=5,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="On the first of the month: the month that ended joins the history of the segments.",
    ),
    daily_clean_up,
]

_SHOWN = 5
_UNFINISHED = [
    status
    for status in dg.DagsterRunStatus
    if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]


@dg.sensor(
    job=everything,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Runs everything when files in the source folder are new, changed or gone, once they stopped growing.",
)
def source_folder(context: dg.SensorEvaluationContext, home: Home, source: SourceFolder) -> dg.SensorResult:
    """Ask for one run for all that changed since the last one.

    A missing folder fails the tick and leaves the cursor as it is: files that cannot be seen are not gone. A run that
    failed is not asked for again before the contents change, since it would most likely fail again; the nightly
    refresh tries it once more.
    """
    now = time.time()
    with in_one_sentence():
        before = last_look(context.cursor, Path(home.path), now)
        seen = look(source.folder, before, now, source.limits)
        if seen.files != before.files:
            seen.remember(Path(home.path))
    if awaited := seen.awaited(now):
        return _wait(f"Waiting until these stop changing: {_some(awaited)}.", seen)
    if seen.unread:
        return _wait(f"Still to be looked into: {_some(seen.unread)}.", seen)
    if not seen.is_new:
        return _wait("Nothing new in the source folder.", seen)
    unfinished = context.instance.get_runs(dg.RunsFilter(job_name=everything.name, statuses=_UNFINISHED), limit=1)
    if unfinished:
        return _wait(f"Waiting for run {unfinished[0].run_id}; what comes meanwhile is loaded together.", seen)
    asked = seen.with_request()
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=asked.request)], cursor=asked.cursor)


def _wait(reason: str, seen: Look) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=seen.cursor)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def following(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Make assets follow what they are made of, whoever materialized that: as soon as its data version changed.

    Of several layers the last one counts, since that follows the others. Each asset waits until what it is made of
    stands and its blocking checks passed. A table that came out as it was moves nothing, and neither does a run that
    goes on to these assets by itself; where such a run broke off, it is continued once. What was never there is for
    a run of everything.
    """
    return [_following(asset) for asset in assets]


def _following(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    layers = {key.path[0] for key in asset.dependency_keys} - {key.path[0] for key in asset.keys}
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(condition.data_version_changed())
    when = (
        changed.allow(dg.AssetSelection.groups(max(layers, key=LAYERS.index))).since_last_handled()
        & ~condition.missing()  # such as a database that nobody configured
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
        & condition.all_deps_blocking_checks_passed()
    )
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=when))


@dg.sensor(
    job=forget_customers,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts when a request to forget customers is in the folder `forget` of the home, and each hour again "
    "until it is fulfilled.",
)
def requests_to_forget(home: Home) -> dg.RunRequest | dg.SkipReason:
    """Name requests by size and time: a run key stays in the event log, and a file may be called after somebody."""
    with in_one_sentence():
        stamps = [(each.st_size, each.st_mtime_ns) for each in (path.stat() for path in requests(Path(home.path)))]
    if not stamps:
        return dg.SkipReason("There is no request to forget anybody.")
    return dg.RunRequest(run_key=fingerprint(stamps, f"{utc_now():%Y-%m-%d %H}"))


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone, so that those in the queue behind them begin. Starts no run.",
)
def lost_runs(context: dg.SensorEvaluationContext, home: Home) -> dg.SkipReason:
    """Look for runs whose process is gone."""
    lost = end_lost_runs(Path(home.path), context.instance)
    return dg.SkipReason(f"Ended as failed: {', '.join(lost)}." if lost else "Every run is alive.")


SENSORS = [
    source_folder,
    requests_to_forget,
    lost_runs,
    alerts,
    dg.AutomationConditionSensorDefinition(
        "downstream_of_changes",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Runs what is made of an asset that somebody materialized alone, if that changed it.",
    ),
]
