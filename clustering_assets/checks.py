"""Asset checks: tables against their contracts, the account of the source rows, the segmentation against its limits.

`conformance` and `quality` do the finding.
"""

from collections.abc import Iterator

import dagster as dg

from clustering_assets.conformance import unaccounted_rows, violations
from clustering_assets.contracts import ALL_TABLES, BOOKKEEPING, SEGMENT_MODEL, SOURCE_FILES, TableContract
from clustering_assets.failures import in_one_sentence
from clustering_assets.metadata import asset_key, verbatim
from clustering_assets.quality import MEASURES, judge
from clustering_assets.resources import WAREHOUSE_POOL, Home, QualityLimits
from clustering_assets.sources.accounting import files_to_look_at

_SHOWN = 50


def _result(problems: list[str], fine: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
    listed = "\n".join(f"- {verbatim(problem)}" for problem in [*problems[:_SHOWN], *more])
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
        pool=WAREHOUSE_POOL,
        description="Columns, types, nulls, ranges and keys are those of the contract.",
    )
    def follows_contract(home: Home) -> dg.AssetCheckResult:
        with in_one_sentence(), home.warehouse.connect() as backend:
            return _result(
                violations(backend, contract), "The table follows its contract.", dg.AssetCheckSeverity.ERROR
            )

    return follows_contract


@dg.asset_check(
    asset=asset_key(SOURCE_FILES),
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Rows read = rows kept + rejected + superseded + merged, for every file, counted in the tables.",
)
def every_row_accounted_for(home: Home) -> dg.AssetCheckResult:
    """No row of a source file disappears."""
    with in_one_sentence(), home.warehouse.connect() as backend:
        return _result(unaccounted_rows(backend), "Every row is accounted for.", dg.AssetCheckSeverity.ERROR)


@dg.asset_check(
    asset=asset_key(SOURCE_FILES),
    pool=WAREHOUSE_POOL,
    description="No file of the source folder is unusable or there twice. Warns only.",
)
def every_file_usable(home: Home) -> dg.AssetCheckResult:
    """Somebody has to look at the files that were not loaded."""
    with in_one_sentence(), home.warehouse.connect() as backend:
        return _result(files_to_look_at(backend), "Every file was loaded.", dg.AssetCheckSeverity.WARN)


@dg.multi_asset_check(
    name="gold__segment_model_quality",
    specs=[
        dg.AssetCheckSpec(
            measure.name,
            asset=asset_key(SEGMENT_MODEL),
            description=f"{measure.meaning}, within the limits of the resource quality_limits. Warns only.",
        )
        for measure in MEASURES
    ],
    pool=WAREHOUSE_POOL,
)
def segmentation_quality(home: Home, quality_limits: QualityLimits) -> Iterator[dg.AssetCheckResult]:
    """Somebody has to look before anybody acts on segments that are poor, or other than they were."""
    # scikit-learn is not loaded with the code location
    from clustering_assets.gold import find_model

    with in_one_sentence(), home.warehouse.connect() as backend:
        model = find_model(backend)
    figures = {**model, "outlier_share": model["outliers"] / model["customers"]}
    for measure in MEASURES:
        figure = figures[measure.name]
        at_least, at_most = (
            getattr(quality_limits, name) if name else None for name in (measure.at_least, measure.at_most)
        )
        if measure.name == "outlier_share" and at_least is not None and at_least * model["customers"] < 1:
            at_least = None  # As in fitting, a least share of less than one customer asks for none.
        passed, description = judge(measure, figure, at_least, at_most)
        numbers = {"figure": figure, "at_least": at_least, "at_most": at_most}
        yield dg.AssetCheckResult(
            passed=passed,
            check_name=measure.name,
            asset_key=asset_key(SEGMENT_MODEL),
            severity=dg.AssetCheckSeverity.WARN,
            description=description,
            metadata={name: number for name, number in numbers.items() if number is not None},
        )


CHECKS = [
    *(_contract_check(contract) for contract in ALL_TABLES if contract not in BOOKKEEPING),
    every_row_accounted_for,
    every_file_usable,
    segmentation_quality,
]
