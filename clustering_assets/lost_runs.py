"""Runs whose process is gone, with the code server that would have told: Dagster goes on counting them as running.

The queue behind them would not move.
"""

from pathlib import Path

import dagster as dg

from clustering_assets.locks import dead_runs

_SAID = "The process of the run is gone, as if it was killed or its machine lost power. Run it again."


def end_lost_runs(home: Path, instance: dg.DagsterInstance) -> list[str]:
    """End the runs in a home folder whose process is gone as failed, and return their ids."""
    lost = []
    for run_id in dead_runs(home):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, _SAID)
            lost.append(run_id)
    return lost
