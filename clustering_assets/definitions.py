"""The code location: everything that Dagster loads."""

from typing import Any

import dagster as dg

from clustering_assets.assets.bronze import bronze
from clustering_assets.assets.exports import gold_workbook, silver_workbook
from clustering_assets.assets.gold import gold
from clustering_assets.assets.silver import silver
from clustering_assets.automation import JOBS
from clustering_assets.checks import CHECKS
from clustering_assets.config import read_environment
from clustering_assets.resources import Home, SourceFolder


def build_defs(**overrides: dg.ConfigurableResource[Any]) -> dg.Definitions:
    """Return the definitions for the environment, with some resources replaced.

    Parameters
    ----------
    **overrides
        ``home`` or ``source``, in place of those that the environment gives.
    """
    environment = read_environment()
    resources = {
        "home": Home(
            path=str(environment.home),
            memory_limit=environment.memory_limit,
            pseudonym_key=environment.pseudonym_key,
        ),
        "source": SourceFolder(
            path=str(environment.source_dir),
            layout=environment.source_layout,
            as_of=environment.as_of.isoformat() if environment.as_of else None,
        ),
    }
    return dg.Definitions(
        assets=[bronze, silver, gold, silver_workbook, gold_workbook],
        asset_checks=CHECKS,
        jobs=JOBS,
        resources={**resources, **overrides},
        # DuckDB has one writing process, and five steps one after the other need no process each
        executor=dg.in_process_executor,
    )


defs = build_defs()
