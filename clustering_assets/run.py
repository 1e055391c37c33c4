"""The command behind ``make run``: everything from the source folder to the exports, and a summary that a person reads.

The run is one of Dagster's, recorded like any other where DAGSTER_HOME is set; the summary says what its
materializations say.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import dagster as dg
import yaml
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from clustering_assets.automation import everything
from clustering_assets.config import BadSetting, read_environment
from clustering_assets.reports.progress import RunProgress
from clustering_assets.reports.summary import print_summary

_LAYERS = ("bronze", "silver", "gold", "exports")
_COUNTED = {
    "bronze/order_lines",
    "silver/customer_features",
    "gold/customer_segments",
    "exports/silver_workbook",
    "exports/gold_workbook",
    "exports/database_tables",
}
"""Assets whose rows the progress of a layer shows."""

_LOGS = {"python_logs": {"managed_python_loggers": ["clustering_assets"], "python_log_level": "INFO"}}
"""As in dagster.yaml, for a run that nobody records."""


def main(*, as_json: bool = False, config: Path | None = None) -> int:
    """Run everything; return 0, or 1 after one sentence on what went wrong.

    Parameters
    ----------
    as_json
        Whether to print what the run did as JSON instead of a summary.
    config
        YAML file with the config of the run, as the launchpad takes it.
    """
    # An interpreter that ends looks through all objects for what can go, which takes 1.3 s here; the system takes all
    atexit.register(gc.freeze)
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    complaints = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        environment = read_environment()
        from clustering_assets.definitions import build_defs

        defs = build_defs()
        job = defs.resolve_job_def(everything.name)
        run_config = {**_read_config(config, job), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    except BadSetting as error:
        complaints.print(Text("Stopped:", "bold red"), Text(str(error)))
        return 1
    run_id, layers = str(uuid4()), _layers_of_assets(defs)
    with _terminal() as terminal, _instance() as instance, RunProgress(Console(file=terminal), _LAYERS) as progress:
        # made here, so that what a run says on its way comes out above the progress
        logging.basicConfig(format="%(message)s")
        logging.root.handlers[0].setLevel(logging.WARNING)
        instance.add_event_listener(run_id, _Listener(progress, layers))
        result = job.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False, run_config=run_config)
    if not result.success:
        _print_failures(complaints, result)
        return 1
    materialized, seconds, found = _materialized(result), _seconds(result, layers), _warnings(result)
    if as_json:
        print(json.dumps(_as_json(environment.home, run_id, materialized, seconds, found), indent=2))
        return 0
    print_summary(Console(highlight=False, markup=False), materialized, seconds, found)
    print(f"home: {environment.home}")
    return 0


def _as_json(
    home: Path,
    run_id: str,
    materialized: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, float],
    found: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "home": str(home),
        "run_id": run_id,
        "changed": any(facts["changed"] for facts in materialized.values()),
        "seconds": {layer: round(spent, 3) for layer, spent in seconds.items()},
        "rows": {
            asset: facts["dagster/row_count"]
            for asset, facts in sorted(materialized.items())
            if "dagster/row_count" in facts  # the report has none
        },
        "warnings": [{"check": check, "found": said} for check, said in found.items()],
    }


class _Listener:
    """Tells the progress what the events of a run say.

    Called by Dagster for each event as it is stored, in the thread of the run; nothing has to be polled for it.
    """

    def __init__(self, progress: RunProgress, layers: Mapping[str, str]) -> None:
        self._progress, self._layers = progress, layers

    def __call__(self, entry: dg.EventLogEntry) -> None:
        if entry.step_key is None:
            return
        layer, event = _layer(entry.step_key, self._layers), entry.dagster_event
        if event is None:
            self._progress.said(layer, entry.user_message)
        elif event.is_step_start:
            self._progress.began(layer)
        elif event.is_step_success or event.is_step_failure:
            self._progress.ended(layer, well=event.is_step_success)
        elif event.is_step_materialization:
            made = event.step_materialization_data.materialization
            rows = made.metadata.get("dagster/row_count")
            if made.asset_key.to_user_string() in _COUNTED and rows is not None:
                self._progress.wrote(layer, int(str(rows.value)))


def _layers_of_assets(defs: dg.Definitions) -> dict[str, str]:
    """Return the layer of each step that makes assets, by its name."""
    made = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
    return {asset.op.name: min(asset.keys).path[0] for asset in made}


def _layer(step: str, layers: Mapping[str, str]) -> str:
    """Return the layer of a step; that of checks begins with its name."""
    return layers.get(step) or step.split("__")[0]


def _read_config(path: Path | None, job: dg.JobDefinition) -> dict[str, Any]:
    """Read the config of a run; raise BadSetting, with everything that is wrong, where it cannot be used."""
    if path is None:
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        dg.validate_run_config(job, config)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSetting(f"The config {path} cannot be read: {error}") from error
    except dg.DagsterInvalidConfigError as error:
        raise BadSetting(
            f"The config {path} cannot be used: {' '.join(each.message for each in error.errors)}"
        ) from error
    return dict(config)


@contextmanager
def _terminal() -> Iterator[IO[str]]:
    """Open the error output once more: within a step, Dagster leads the one that is open to a file of the step."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # it is no file, as in a test
        yield sys.stderr
        return
    with os.fdopen(descriptor, "w", encoding=sys.stderr.encoding) as terminal:
        yield terminal


def _instance() -> dg.DagsterInstance:
    folder = os.environ.get("DAGSTER_HOME")
    if not folder:
        return dg.DagsterInstance.ephemeral(settings=_LOGS)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.get()


def _materialized(result: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, Any]]:
    """Metadata of the run's materializations, by ``layer/table``."""
    found: dict[str, Mapping[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        found[materialization.asset_key.to_user_string()] = {
            name: [record.data for record in value.records] if isinstance(value, dg.TableMetadataValue) else value.value
            for name, value in materialization.metadata.items()
        }
    return found


def _seconds(result: dg.ExecuteInProcessResult, layers: Mapping[str, str]) -> dict[str, float]:
    """Time of each layer, its checks included."""
    seconds = dict.fromkeys(_LAYERS, 0.0)
    for event in result.filter_events(lambda event: event.is_step_success):
        seconds[_layer(event.step_key or "", layers)] += event.step_success_data.duration_ms / 1000
    return seconds


def _warnings(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What the checks that failed have to say, in Markdown, by asset and check."""
    return {
        f"{evaluation.asset_key.to_user_string()}, {evaluation.check_name}": evaluation.description or ""
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }


def _print_failures(console: Console, result: dg.ExecuteInProcessResult) -> None:
    """Print what each failed step says, and before that what checks found."""
    for check, found in _warnings(result).items():
        console.print(Text("Stopped:", "bold red"), Text(check))
        console.print(Markdown(found))
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            said = failure.user_failure_data.description
        else:
            error = failure.error.cause or failure.error if failure.error else None
            reason = error.message.strip() if error else "the step failed"
            said = f"{event.step_key}: {reason} (`make ui` shows the run with its log)"
        console.print(Text("Stopped:", "bold red"), Text(said))


if __name__ == "__main__":
    sys.exit(main())
