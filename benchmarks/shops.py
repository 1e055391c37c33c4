"""Customers of a shop, as the project's own steps make them of its order lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import ibis
import numpy as np
import pandas as pd
from ibis.backends.duckdb import Backend

from clustering_assets.contracts import CLUSTERING_FEATURES, CUSTOMER_FEATURES, IMPUTED_FEATURES, ORDER_LINES
from clustering_assets.silver import silver_tables
from clustering_assets.sources.ingestion import ingest
from clustering_assets.warehouse import Warehouse, table, utc_now

FEATURES = [column.name for column in CLUSTERING_FEATURES]


class Customers(NamedTuple):
    """``silver.customer_features`` in the order of customer_id, and the names of the imputed features per customer."""

    table: pd.DataFrame
    imputed: pd.Series[str]

    @property
    def features(self) -> pd.DataFrame:
        """The 35 features that are clustered."""
        return self.table[FEATURES].astype(np.float64)


def customers_of(backend: Backend, lines: ibis.Table) -> Customers:
    """Compute features and imputation over order lines, as silver does."""

    def keep(rows: ibis.Table, name: str) -> ibis.Table:
        return backend.create_table(f"kept_{name}", rows, temp=True, overwrite=True)

    silver = silver_tables(lines, None, keep)
    return Customers(
        silver[CUSTOMER_FEATURES].order_by("customer_id").to_pandas(),
        silver[IMPUTED_FEATURES].to_pandas().set_index("customer_id")["imputed"],
    )


@contextmanager
def bronze(source: Path, keep_one_in: int = 1) -> Iterator[tuple[Backend, ibis.Table]]:
    """Order lines of a source folder, of one customer in so many, in a warehouse that is gone afterwards."""
    with TemporaryDirectory(prefix="evaluate-") as home, Warehouse(Path(home)).connect() as backend:
        ingest(backend, source, utc_now())
        lines = table(backend, ORDER_LINES)
        yield backend, lines.filter(lines.customer_id.hash().abs() % keep_one_in == 0)
