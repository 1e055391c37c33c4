"""What the Dagster instance knows of problems, from runs, checks, ticks and materializations; no table is opened."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import dagster as dg
from dagster._core.scheduler.instigation import (
    InstigatorState,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from clustering_assets.contracts import ORDER_LINES
from clustering_assets.metadata import NEWEST_CONTENT, asset_key
from clustering_assets.problems import (
    FailedStep,
    Problem,
    check_failed,
    failing,
    no_new_data,
    run_failed,
    silent,
)
from clustering_assets.quality import MEASURES

SILENT_AFTER = timedelta(minutes=15)
"""A schedule is silent when it is late by this; a sensor, by ten of its intervals and no less than this."""

_INTERVALS = 10
_FAILING_TICKS = 3
"""Ticks of a sensor that fail in a row before it counts: one may meet a code location that is just being loaded."""

_RUNS = 100
"""Newest finished runs of each job that are looked at."""

_EVALUATIONS = 20
"""Newest evaluations of a check among which one that finished is looked for."""

_LIMITED = {measure.name for measure in MEASURES}
_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def open_problems(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    now: datetime,
    no_new_data_days: int,
    *,
    location: str | None = None,
    listening: bool = True,
) -> list[Problem]:
    """Return what is wrong with the jobs, checks, sensors, schedules and data of a code location.

    Parameters
    ----------
    instance, repository
        Where it runs, and what.
    now
        With a time zone.
    no_new_data_days
        Days without new content in the source folder that are a problem; 0: none are.
    location
        Name of the code location; without it, sensors and schedules go by their names alone.
    listening
        Whether somebody watched until now. Where not, everything may have stood still, and silence says nothing.
    """
    checks = _failed_checks(instance, repository)
    return [
        *_failed_runs(instance, repository, set(checks)),
        *checks.values(),
        *_instigators(instance, repository, now, location, listening),
        *_old_data(instance, now, no_new_data_days),
    ]


def _failed_checks(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> dict[dg.AssetCheckKey, Problem]:
    """Return the checks whose latest evaluation that finished failed."""
    storage, graph = instance.event_log_storage, repository.asset_graph
    found = {}
    for key, record in storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys)).items():
        if record.status.value == "PLANNED":  # of a run that is under way, or that ended before the check
            history = storage.get_asset_check_execution_history(key, _EVALUATIONS)
            record = next((one for one in history if one.status.value != "PLANNED"), record)
        if record.status.value == "FAILED" and record.event is not None and record.event.dagster_event is not None:
            evaluation = record.event.dagster_event.asset_check_evaluation_data
            found[key] = check_failed(
                key.asset_key.path,
                key.name,
                _utc(record.event.timestamp),
                evaluation.description or "",
                blocking=graph.get(key).blocking and evaluation.severity == dg.AssetCheckSeverity.ERROR,
                limited=key.name in _LIMITED,
            )
    return found


@dataclass(frozen=True, slots=True)
class _Finished:
    """A run that succeeded or failed: what it was to do, and when it did (seconds since 1970)."""

    key: str
    what: str
    run_id: str
    succeeded: bool
    began: float
    ended: float
    assets: frozenset[dg.AssetKey]
    partition: str


def _failed_runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, failed_checks: set[dg.AssetCheckKey]
) -> Iterator[Problem]:
    """Yield the failed runs after which nobody did what they were to do."""
    finished = [run for job in repository.job_names for run in _finished(instance, repository, job)]
    latest: dict[str, _Finished] = {}
    for run in sorted(finished, key=lambda run: run.ended):
        latest[run.key] = run
    for run in latest.values():
        if run.succeeded or _made_good(instance, run, finished):
            continue
        steps = list(_failed_steps(instance, run.run_id))
        by_check = bool(steps) and all(step.error == "DagsterAssetCheckFailedError" for step in steps)
        # a check that stopped a run is told of itself, as long as it fails
        if not (by_check and failed_checks & _failed_in(instance, run.run_id)):
            yield run_failed(run.key, run.what, run.run_id, _utc(run.ended), steps)


def _finished(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, job: str) -> Iterator[_Finished]:
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    for record in instance.get_run_records(dg.RunsFilter(job_name=job, statuses=ended), limit=_RUNS):
        run = record.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            continue
        if run.asset_selection or run.asset_check_selection:
            assets = frozenset(run.asset_selection or ())
            chosen = sorted(
                [key.to_user_string() for key in assets]
                + [f"{key.asset_key.to_user_string()}:{key.name}" for key in run.asset_check_selection or ()]
            )
            what = ", ".join(chosen[:3]) + (f" and {len(chosen) - 3} more" if len(chosen) > 3 else "")
        else:
            assets = frozenset(repository.get_job(job).asset_layer.selected_asset_keys)
            chosen, what = [], job
        partition = "...".join(dict.fromkeys(run.tags[tag] for tag in _PARTITION_TAGS if tag in run.tags))
        yield _Finished(
            key=" ".join([job, *chosen, partition]).strip(),
            what=f"{what} for {partition}" if partition else what,
            run_id=run.run_id,
            succeeded=run.status == dg.DagsterRunStatus.SUCCESS,
            began=record.start_time or record.create_timestamp.timestamp(),
            ended=record.end_time or record.update_timestamp.timestamp(),
            assets=assets,
            partition=partition,
        )


def _made_good(instance: dg.DagsterInstance, failed: _Finished, finished: list[_Finished]) -> bool:
    """Whether a later run, or several together, made what a failed run was to make."""
    if not failed.assets:
        return False
    after = [run for run in finished if run.succeeded and run.began >= failed.ended]
    if any(run.assets >= failed.assets and run.partition == failed.partition for run in after):
        return True
    if failed.partition:
        return False
    records = instance.get_asset_records(sorted(failed.assets))
    made = [record.asset_entry.last_materialization_record for record in records]
    newest = [one for one in made if one and (one.run_id == failed.run_id or one.timestamp > failed.began)]
    return len(newest) == len(failed.assets) and any(one.run_id != failed.run_id for one in newest)


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> Iterator[FailedStep]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        if entry.dagster_event is not None:
            failure = entry.dagster_event.step_failure_data
            error = failure.error and (failure.error.cause or failure.error)
            yield FailedStep(
                entry.step_key or "a step",
                (failure.user_failure_data and failure.user_failure_data.description) or "",
                (error and error.cls_name) or "an error",
            )


def _failed_in(instance: dg.DagsterInstance, run_id: str) -> set[dg.AssetCheckKey]:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    return {evaluation.asset_check_key for evaluation in evaluations if not evaluation.passed}


def _instigators(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    now: datetime,
    location: str | None,
    listening: bool,
) -> Iterator[Problem]:
    """Yield the sensors and schedules that give no sign of life, or whose ticks fail."""
    states = {
        (state.instigator_type.value, state.name): state
        for state in instance.all_instigator_state()
        if location in (None, state.selector.location_name)
    }
    for sensor in repository.sensor_defs:
        every = timedelta(seconds=sensor.minimum_interval_seconds or 30)
        due = now - max(_INTERVALS * every, SILENT_AFTER)
        on = sensor.default_status == dg.DefaultSensorStatus.RUNNING
        state = states.get(("SENSOR", sensor.name))
        yield from _instigator(instance, "sensor", state, on, due if listening else None, _FAILING_TICKS)
    for schedule in repository.schedule_defs:
        times = schedule_execution_time_iterator(
            (now - SILENT_AFTER).timestamp(), schedule.cron_schedule, schedule.execution_timezone, ascending=False
        )
        on = schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        state = states.get(("SCHEDULE", schedule.name))
        yield from _instigator(instance, "schedule", state, on, next(times) if listening else None, 1)


def _instigator(
    instance: dg.DagsterInstance,
    kind: str,
    state: InstigatorState | None,
    on: bool,
    due: datetime | None,
    failures: int,
) -> Iterator[Problem]:
    """Yield what is wrong with one: ``due`` is when its last tick must have been at the latest."""
    if state is None or not (state.is_running or on):
        return
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=failures + 1)
    signs = [*(tick.timestamp for tick in ticks), *_switched_on(state)]
    path = _page(kind, state)
    if due is not None and signs and max(signs) < due.timestamp():
        yield silent(kind, state.name, _utc(max(signs)), path, running=state.is_running)
    ended = [tick for tick in ticks if tick.status != TickStatus.STARTED][:failures]
    if len(ended) == failures and all(tick.status == TickStatus.FAILURE for tick in ended):
        error = (ended[0].error and (ended[0].error.cause or ended[0].error).cls_name) or "an error"
        yield failing(kind, state.name, _utc(ended[0].timestamp), error, path)


def _switched_on(state: InstigatorState) -> list[float]:
    data = state.instigator_data
    if isinstance(data, ScheduleInstigatorData):
        moment = data.start_timestamp
    else:
        moment = data.last_sensor_start_timestamp if isinstance(data, SensorInstigatorData) else None
    return [moment] if moment else []


def _page(kind: str, state: InstigatorState) -> str:
    origin = state.origin.repository_origin
    location, repository = origin.code_location_origin.location_name, origin.repository_name
    place = location if repository == "__repository__" else f"{repository}@{location}"
    return f"/locations/{quote(place, safe='')}/{kind}s/{quote(state.name)}"


def _old_data(instance: dg.DagsterInstance, now: datetime, days: int) -> list[Problem]:
    event = instance.get_latest_materialization_event(asset_key(ORDER_LINES))
    newest = event and event.asset_materialization and event.asset_materialization.metadata.get(NEWEST_CONTENT)
    if not isinstance(newest, dg.TimestampMetadataValue) or newest.value is None:
        return []
    return no_new_data(_utc(newest.value), now, days, asset_key(ORDER_LINES).path)


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
