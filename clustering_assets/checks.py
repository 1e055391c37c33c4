"""Asset checks: tables against their contracts, and the account of the source rows; `conformance` does the finding."""

import dagster as dg

from clustering_assets.conformance import unaccounted_rows, violations
from clustering_assets.contracts import ALL_TABLES, BOOKKEEPING, SOURCE_FILES, TableContract
from clustering_assets.metadata import asset_key
from clustering_assets.resources import Home
from clustering_assets.sources.accounting import files_to_look_at

_SHOWN = 50


def _result(problems: list[str], fine: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
    listed = "\n".join(f"- {problem}" for problem in [*problems[:_SHOWN], *more])
    return dg.AssetCheckResult(
        passed=not problems,
        severity=severity,
        description=listed or fine,
        metadata={"problems": len(problems)},
    )


def _contract_check(contract: TableContract) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(contract),
        name="follows_contract",
        blocking=True,
        description="Columns, types, nulls, ranges and keys are those of the contract.",
    )
    def follows_contract(home: Home) -> dg.AssetCheckResult:
        with home.warehouse.connect() as backend:
            return _result(
                violations(backend, contract), "The table follows its contract.", dg.AssetCheckSeverity.ERROR
            )

    return follows_contract


@dg.asset_check(
    asset=asset_key(SOURCE_FILES),
    blocking=True,
    description="Rows read = rows kept + rejected + superseded + merged, for every file, counted in the tables.",
)
def every_row_accounted_for(home: Home) -> dg.AssetCheckResult:
    """No row of a source file disappears."""
    with home.warehouse.connect() as backend:
        return _result(unaccounted_rows(backend), "Every row is accounted for.", dg.AssetCheckSeverity.ERROR)


@dg.asset_check(
    asset=asset_key(SOURCE_FILES), description="No file of the source folder is unusable or there twice. Warns only."
)
def every_file_usable(home: Home) -> dg.AssetCheckResult:
    """Somebody has to look at the files that were not loaded."""
    with home.warehouse.connect() as backend:
        return _result(files_to_look_at(backend), "Every file was loaded.", dg.AssetCheckSeverity.WARN)


CHECKS = [
    *(_contract_check(contract) for contract in ALL_TABLES if contract not in BOOKKEEPING),
    every_row_accounted_for,
    every_file_usable,
]
