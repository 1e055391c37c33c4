"""The command behind ``make run``: everything from the source folder to the exports, and a summary that a person reads.

The run is one of Dagster's, recorded like any other where DAGSTER_HOME is set; the summary says what its
materializations say.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from clustering_assets.automation import everything
from clustering_assets.config import BadSetting, read_environment
from clustering_assets.reports.summary import print_summary

_LAYERS = ("bronze", "silver", "gold", "exports")


def main() -> int:
    """Run everything; return 0, or 1 after one sentence on what went wrong."""
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    complaints = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        environment = read_environment()
        from clustering_assets.definitions import build_defs

        job = build_defs().resolve_job_def(everything.name)
    except BadSetting as error:
        complaints.print(Text("Stopped:", "bold red"), Text(str(error)))
        return 1
    with _instance() as instance:
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if not result.success:
            _print_failures(complaints, result)
            return 1
        print_summary(
            Console(highlight=False, markup=False), _materialized(result), _seconds(result), _warnings(result)
        )
    print(f"home: {environment.home}")
    return 0


def _instance() -> dg.DagsterInstance:
    folder = os.environ.get("DAGSTER_HOME")
    if not folder:
        return dg.DagsterInstance.ephemeral()
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


def _seconds(result: dg.ExecuteInProcessResult) -> dict[str, float]:
    """Time of each layer, its checks included."""
    seconds: dict[str, float] = {}
    for event in result.filter_events(lambda event: event.is_step_success):
        step = (event.step_key or "").split("__")[0]
        layer = step if step in _LAYERS else "exports"
        seconds[layer] = seconds.get(layer, 0.0) + event.step_success_data.duration_ms / 1000
    return dict(sorted(seconds.items(), key=lambda item: _LAYERS.index(item[0])))


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
