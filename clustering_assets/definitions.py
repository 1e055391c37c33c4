"""The code location: everything that Dagster loads."""

from typing import Any

import dagster as dg

from clustering_assets.assets.bronze import bronze
from clustering_assets.assets.exports import EXPORTS
from clustering_assets.assets.forgetting import FORGETTING
from clustering_assets.assets.gold import gold, model_assignments
from clustering_assets.assets.history import history
from clustering_assets.assets.silver import silver
from clustering_assets.assets.validation import validation
from clustering_assets.automation import JOBS, SCHEDULES, SENSORS, following
from clustering_assets.checks import CHECKS
from clustering_assets.resources import resources


def build_defs(**overrides: dg.ConfigurableResource[Any]) -> dg.Definitions:
    """Return the definitions for the environment, with some resources replaced.

    Parameters
    ----------
    **overrides
        Resources by name, such as ``home``, in place of those that the environment gives.
    """
    followers = following([silver, gold, *EXPORTS])
    return dg.Definitions(
        assets=[bronze, *followers, model_assignments, history, validation, *FORGETTING],
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={**resources(), **overrides},
        # DuckDB has one writing process, and five steps one after the other need no process each
        executor=dg.in_process_executor,
    )


defs = build_defs()
