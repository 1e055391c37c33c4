"""Dagster's own records of old runs, which nothing else ever deletes: runs, events, verdicts of checks, logs."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import dagster as dg
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from clustering_assets.checks import CHECKS
from clustering_assets.resources import Retention

_AT_A_TIME = 100


def delete_old_runs(instance: dg.DagsterInstance, before: datetime, checks: Iterable[dg.AssetCheckKey]) -> int:
    """Delete finished runs that began before a moment, with all that Dagster recorded of them; return how many.

    Runs that made the newest materialization of an asset, or gave the newest verdict of a check, stay: the UI would say
    otherwise that the asset was never made.
    """
    kept = {*_newest_materializations(instance), *_newest_verdicts(instance, checks)}
    finished = dg.RunsFilter(statuses=FINISHED_STATUSES, created_before=before)
    run_ids, cursor = [], None
    while records := instance.get_run_records(finished, limit=_AT_A_TIME, cursor=cursor):
        cursor = records[-1].dagster_run.run_id
        run_ids += [record.dagster_run.run_id for record in records]
    old = [run_id for run_id in run_ids if run_id not in kept]
    for run_id in old:
        _delete(instance, run_id)
    return len(old)


def _newest_materializations(instance: dg.DagsterInstance) -> Iterator[str]:
    for key in instance.all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        if event is not None:
            yield event.run_id


def _newest_verdicts(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]) -> Iterator[str]:
    for key in checks:
        for record in instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        ):
            yield record.run_id


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run as Dagster does, and what that leaves: its verdicts, its logs and the file of its events."""
    # not loaded with the code location: SQLAlchemy and Alembic take half a second
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = instance.event_log_storage
    instance.delete_run(run_id)
    if isinstance(events, SqlEventLogStorage):
        with events.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))
    if isinstance(events, SqliteEventLogStorage):
        shard = Path(events.path_for_shard(run_id))
        for path in (shard, *shard.parent.glob(f"{shard.name}-*")):
            path.unlink(missing_ok=True)


@dg.op(name="delete_old_runs", out=dg.Out(dg.Nothing))
def _delete_old_runs(context: dg.OpExecutionContext, retention: Retention) -> None:
    """Delete what Dagster recorded of runs that are older than CLUSTERING_KEEP_RUN_DAYS."""
    before = datetime.now(UTC) - timedelta(days=retention.keep_run_days)
    deleted = delete_old_runs(context.instance, before, chain.from_iterable(check.check_keys for check in CHECKS))
    if context.instance.schedule_storage:
        # what the automation looked at, which Dagster keeps for 30 days whatever is set
        context.instance.schedule_storage.purge_asset_evaluations(before.timestamp())
    context.log.info("deleted %s runs from before %s", f"{deleted:,}", f"{before:%Y-%m-%d %H:%M} UTC")


@dg.job(description="Delete Dagster's records of old runs; no table, export or model is touched.")
def clean_up() -> None:
    """Delete old runs."""
    _delete_old_runs()


daily_clean_up = dg.ScheduleDefinition(
    name="daily_clean_up",
    job=clean_up,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: what Dagster records of a run is of use for weeks, not for years.",
)
