"""Silver: the behaviour of each customer, and a record of what was imputed and who was dropped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    IMPUTED_FEATURES,
    ORDER_LINES,
    SOURCE_FILES,
    TableContract,
)
from clustering_assets.failures import in_one_sentence
from clustering_assets.metadata import asset_key, column_lineage, table_facts, table_spec
from clustering_assets.pseudonyms import CLEAR, what_ids_are
from clustering_assets.resources import WAREHOUSE_POOL, Engine, Home, QualityLimits, SourceFolder
from clustering_assets.run_config import SilverConfig
from clustering_assets.silver import silver_lineage, write_silver
from clustering_assets.sources.ingestion import bronze_version
from clustering_assets.versions import FEATURES_VERSION, fingerprint
from clustering_assets.warehouse import (
    WarehouseUnavailable,
    refuse_other_engine,
    row_count,
    table,
    table_version,
    utc_now,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_MOST_IMPUTED = 3
_TABLES = (CUSTOMER_FEATURES, IMPUTATION_LOG, DROPPED_CUSTOMERS, IMPUTED_FEATURES)


@dg.multi_asset(
    # that the files' rows are accounted for is a check of source_files, and nothing is computed before it passed
    specs=[
        table_spec(contract, [ORDER_LINES, SOURCE_FILES], code_version=FEATURES_VERSION, sources=sources)
        for contract, sources in silver_lineage().items()
    ],
    pool=WAREHOUSE_POOL,
)
def silver(
    context: dg.AssetExecutionContext,
    config: SilverConfig,
    home: Home,
    source: SourceFolder,
    engine: Engine,
    quality_limits: QualityLimits,
) -> Iterator[dg.MaterializeResult[None]]:
    """Compute the features of all customers, unless bronze, the day to look from and the pseudonym key are the same."""
    with in_one_sentence():
        as_of = source.day_to_look_from(config.as_of)
        ids = what_ids_are(home.pseudonym_key)
        with home.warehouse.connect() as backend:
            version = fingerprint(FEATURES_VERSION, bronze_version(backend), as_of, ids)
            changed = version != table_version(backend, CUSTOMER_FEATURES.qualified_name)
        if changed:
            context.log.info("computing the features of all customers as of %s", as_of or "the latest order")
            limit = quality_limits.least_rows_kept
            with _computed(engine, home, as_of) as computed, home.warehouse.connect() as backend:
                write_silver(backend, as_of, version, utc_now(), home.pseudonym_key, limit, computed)
        else:
            context.log.info("order lines and settings are those of the last time: the tables stay as they are")
    with in_one_sentence(), home.warehouse.connect() as backend:
        for contract in _TABLES:
            yield dg.MaterializeResult(
                asset_key=asset_key(contract),
                metadata={
                    **table_facts(backend, contract),
                    **(_customers(backend, as_of) if contract is CUSTOMER_FEATURES else {}),
                    "dagster/column_lineage": column_lineage(silver_lineage()[contract]),
                    "customer_ids": "clear" if ids == CLEAR else "pseudonyms",
                    "changed": changed,
                },
                data_version=dg.DataVersion(version),
            )


@contextmanager
def _computed(engine: Engine, home: Home, as_of: date | None) -> "Iterator[Mapping[TableContract, Path] | None]":
    """Give the tables in files where Spark computes them; None where DuckDB does, as it writes them."""
    cluster = engine.cluster
    if cluster is None:
        yield None
        return
    from clustering_assets.spark.bronze import bronze_folder
    from clustering_assets.spark.silver import computed_silver

    with home.warehouse.connect() as backend:
        refuse_other_engine(backend, engine.name)
        folder = bronze_folder(backend)
    if folder is None:
        raise WarehouseUnavailable("There are no order lines yet: materialize bronze first.")
    with computed_silver(cluster, folder, as_of) as computed:
        yield computed


def _customers(backend: "Backend", as_of: date | None) -> dict[str, Any]:
    """Say how many customers were dropped and what was imputed, per feature and in all."""
    log = table(backend, IMPUTATION_LOG).to_pyarrow().to_pylist()
    kept, dropped = row_count(backend, CUSTOMER_FEATURES), row_count(backend, DROPPED_CUSTOMERS)
    filled = {rule: sum(row["values_filled"] for row in log if row["rule"] == rule) for rule in ("zero", "mean")}
    most = sorted((row for row in log if row["values_filled"]), key=lambda row: -row["values_filled"])[:_MOST_IMPUTED]
    [(latest,)] = backend.con.execute(f"select max(order_date)::date from {ORDER_LINES.qualified_name}").fetchall()
    return {
        "as_of": str(as_of or latest),
        "customers_dropped": dropped,
        "customers_dropped_share": dropped / (kept + dropped),
        "values_zero_filled": filled["zero"],
        "values_mean_imputed": filled["mean"],
        "most_imputed": ", ".join(f"{row['feature']} ({row['values_filled'] / kept:.0%})" for row in most) or "nothing",
        "imputation": dg.MetadataValue.table(
            [dg.TableRecord({name: "" if value is None else value for name, value in row.items()}) for row in log]
        ),
    }
