"""Asset checks: tables against their contracts, the account of the source rows, the segmentation against its limits.

`conformance`, `integrity`, `comparison` and `quality` do the finding.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.comparison import NEWEST_ORDER, REJECTED_SHARE, ROWS, changes, new_values
from clustering_assets.conformance import violations
from clustering_assets.contracts import (
    ALL_TABLES,
    BOOKKEEPING,
    CUSTOMER_FEATURES,
    ORDER_LINES,
    REJECTED_ROWS,
    SEGMENT_MODEL,
    SOURCE_FILES,
    WORKBOOKS,
    TableContract,
)
from clustering_assets.failures import in_one_sentence
from clustering_assets.integrity import IDENTITIES
from clustering_assets.metadata import asset_key, verbatim
from clustering_assets.quality import (
    MEASURES,
    implausible_newest_order,
    judge,
    lost_or_grown,
    many_rejected,
    never_seen,
    shifted_shares,
)
from clustering_assets.resources import WAREHOUSE_POOL, Home, QualityLimits
from clustering_assets.saved_models import find_model
from clustering_assets.sources.accounting import files_to_look_at
from clustering_assets.warehouse import LAYERS, row_count

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SHOWN = 50
_CONTRACT = "follows_contract"


def _result(problems: list[str], fine: str, severity: dg.AssetCheckSeverity, **which: Any) -> dg.AssetCheckResult:
    more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
    listed = "\n".join(f"- {verbatim(problem)}" for problem in [*problems[:_SHOWN], *more])
    return dg.AssetCheckResult(
        passed=not problems,
        severity=severity,
        description=listed or fine,
        metadata={"problems": len(problems)},
        **which,
    )


def _contract_checks(layer: str) -> dg.AssetChecksDefinition:
    """All that has to hold of the tables of a layer.

    Those that are written together are checked in one step, and what comes after any of them waits for all; Dagster
    makes steps of their own of tables that come at another point of the graph.
    """
    tables = {asset_key(known): known for known in ALL_TABLES if known.layer == layer and known not in BOOKKEEPING}
    identities = {
        dg.AssetCheckKey(asset_key(identity.table), identity.name): identity
        for identity in IDENTITIES
        if identity.table.layer == layer
    }

    @dg.multi_asset_check(
        name=f"{layer}__contracts",
        specs=[
            *(
                dg.AssetCheckSpec(
                    _CONTRACT,
                    asset=key,
                    blocking=True,
                    description="Columns, types, nulls, ranges, values, keys and the rows of other tables that belong "
                    "to its own are those of the contract.",
                )
                for key in tables
            ),
            *(
                dg.AssetCheckSpec(key.name, asset=key.asset_key, blocking=True, description=identity.meaning)
                for key, identity in identities.items()
            ),
        ],
        can_subset=True,
        pool=WAREHOUSE_POOL,
    )
    def contracts(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
        with in_one_sentence(), home.warehouse.connect() as backend:
            for key in sorted(context.selected_asset_check_keys):
                if key.name == _CONTRACT:
                    problems, fine = violations(backend, tables[key.asset_key]), "The table follows its contract."
                else:
                    problems, fine = identities[key].faults(backend), identities[key].meaning
                yield _result(
                    problems,
                    fine,
                    dg.AssetCheckSeverity.ERROR,
                    asset_key=key.asset_key,
                    check_name=key.name,
                )

    return contracts


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
    name="exports__contracts",
    specs=[
        dg.AssetCheckSpec(
            "rows_of_the_table",
            asset=["exports", name],
            blocking=True,
            description=f"The newest workbook holds as many rows as {contract.qualified_name}.",
        )
        for name, (_, contract) in WORKBOOKS.items()
    ],
    can_subset=True,
    pool=WAREHOUSE_POOL,
)
def whole_workbooks(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Nobody sees of a workbook that half of it is missing."""
    from clustering_assets.reports.workbook import count_rows, exports_of

    for key in sorted(context.selected_asset_check_keys):
        stem, contract = WORKBOOKS[key.asset_key.path[-1]]
        with in_one_sentence(), home.warehouse.connect() as backend:
            there = row_count(backend, contract)
        problems = [
            f"{path.name} has {rows:,} rows, and {contract.qualified_name} {there:,}: remove the file and run again."
            for path in exports_of(home.exports, stem)[-1:]
            if (rows := count_rows(path)) != there
        ]
        yield _result(
            problems,
            "The workbook is whole.",
            dg.AssetCheckSeverity.ERROR,
            asset_key=key.asset_key,
            check_name=key.name,
        )


_WATCHED = {
    (ORDER_LINES, "row_count_steady"): "Neither many fewer nor many more lines than before.",
    (ORDER_LINES, "missing_shares_steady"): "No column lacks values in many more or many fewer lines than before.",
    (ORDER_LINES, "newest_order_plausible"): "The newest order is not in the future, nor earlier than before.",
    (ORDER_LINES, "categories_and_brands_known"): "Every category and brand was seen in a load before.",
    (REJECTED_ROWS, "few_rejected"): "Only a small share of the rows was rejected.",
    (SOURCE_FILES, "layouts_known"): "Every layout was seen in a load before.",
    (CUSTOMER_FEATURES, "row_count_steady"): "Neither many fewer nor many more customers than before.",
    (CUSTOMER_FEATURES, "imputed_shares_steady"): "No feature was filled in for many more or many fewer customers.",
}
"""Table and check -> what is watched. Before means: before the table was last written."""


def _found(backend: "Backend", contract: TableContract, check: str, limits: QualityLimits) -> list[str]:
    figures = changes(backend, ORDER_LINES if contract is REJECTED_ROWS else contract)
    match check:
        case "row_count_steady":
            return lost_or_grown(figures.get(ROWS), limits.min_row_ratio, limits.max_row_ratio)
        case "newest_order_plausible":
            today = datetime.now(UTC).date()
            return implausible_newest_order(figures.get(NEWEST_ORDER), today, limits.max_newest_order_days)
        case "few_rejected":
            return many_rejected(figures.get(REJECTED_SHARE), limits.max_rejected_share)
        case "categories_and_brands_known" | "layouts_known":
            columns = ("layout",) if contract is SOURCE_FILES else ("category", "brand")
            return [fault for column in columns for fault in never_seen(column, new_values(backend, column))]
        case _:
            return shifted_shares(figures, limits.max_missing_share_change)


def _watches(layer: str) -> dg.AssetChecksDefinition:
    """What is odd about the tables of a layer, in one step; it stops nothing."""
    watched = {
        dg.AssetCheckKey(asset_key(contract), check): (contract, meaning)
        for (contract, check), meaning in _WATCHED.items()
        if contract.layer == layer
    }

    @dg.multi_asset_check(
        name=f"{layer}__watch",
        specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description=f"{meaning} Warns only.")
            for key, (_, meaning) in watched.items()
        ],
        can_subset=True,
        pool=WAREHOUSE_POOL,
    )
    def watch(
        context: dg.AssetCheckExecutionContext, home: Home, quality_limits: QualityLimits
    ) -> Iterator[dg.AssetCheckResult]:
        with in_one_sentence(), home.warehouse.connect() as backend:
            for key in sorted(context.selected_asset_check_keys):
                contract, meaning = watched[key]
                problems = _found(backend, contract, key.name, quality_limits)
                yield _result(
                    problems, meaning, dg.AssetCheckSeverity.WARN, asset_key=key.asset_key, check_name=key.name
                )

    return watch


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
    can_subset=True,
)
def segmentation_quality(
    context: dg.AssetCheckExecutionContext, home: Home, quality_limits: QualityLimits
) -> Iterator[dg.AssetCheckResult]:
    """Somebody has to look before anybody acts on segments that are poor, or other than they were."""
    with in_one_sentence(), home.warehouse.connect() as backend:
        model = find_model(backend)
    figures = {**model, "outlier_share": model["outliers"] / model["customers"]}
    selected = {key.name for key in context.selected_asset_check_keys}
    for measure in (measure for measure in MEASURES if measure.name in selected):
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
    *map(_contract_checks, LAYERS),
    whole_workbooks,
    *map(_watches, ("bronze", "silver")),
    every_file_usable,
    segmentation_quality,
]
