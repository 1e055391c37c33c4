"""A run without Dagster: ``python -m benchmarks.bare SOURCE_FOLDER HOME_FOLDER SETTINGS_OF_GOLD``, which are JSON.

One after the other what the assets and checks call, in one process: tables, models, pictures, exports and every check.
With nothing changed only the checks are left, as in a run through Dagster. What is left out describes the tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustering_assets.comparison import changes, new_values
from clustering_assets.conformance import violations
from clustering_assets.contracts import (
    ALL_TABLES,
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    IMPUTED_FEATURES,
    ORDER_LINES,
    SEGMENT_PROFILES,
    WORKBOOKS,
)
from clustering_assets.forgetting import accept_requests, forgotten_customers, fulfil_requests
from clustering_assets.integrity import IDENTITIES
from clustering_assets.reports.workbook import count_rows, exports_of, next_export, write_workbook
from clustering_assets.saved_models import find_model
from clustering_assets.silver import write_silver
from clustering_assets.sources.accounting import files_to_look_at
from clustering_assets.sources.ingestion import bronze_version, ingest
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import Warehouse, has_table, table, table_version, utc_now

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend


def run(source: Path, home: Path, settings: Mapping[str, Any]) -> None:
    """From the source folder to the exports.

    Parameters
    ----------
    source, home
        The folders.
    settings
        Of `clustering_assets.gold.Request`.
    """
    warehouse = Warehouse(home)
    with warehouse.connect() as backend:
        accept_requests(backend, home, None, utc_now())
        ingest(backend, source, utc_now(), forgotten=forgotten_customers(backend, home))
        version = fingerprint(bronze_version(backend))
        if changed := version != table_version(backend, CUSTOMER_FEATURES.qualified_name):
            write_silver(backend, None, version, utc_now())
    if changed:
        _gold(warehouse, settings, version)
        _export(warehouse)
    fulfil_requests(warehouse, None, utc_now())
    with warehouse.connect() as backend:
        faults = _faults(backend)
    if faults:
        raise RuntimeError(f"the tables break their contracts: {faults[:3]}")
    for stem, _ in WORKBOOKS.values():
        count_rows(exports_of(home / "exports", stem)[-1])


def _gold(warehouse: Warehouse, settings: Mapping[str, Any], version: str) -> None:
    from clustering_assets.gold import Request, read_earlier_fit, segment, write_gold
    from clustering_assets.reports import fit_pictures

    with warehouse.connect() as backend:
        customers = table(backend, CUSTOMER_FEATURES).order_by("customer_id").to_pandas()
        imputed = table(backend, IMPUTED_FEATURES).to_pandas().set_index("customer_id")["imputed"]
        earlier = read_earlier_fit(backend, warehouse.home)
    asked = Request(**settings, input_version=version, model_run_id=version, now=utc_now())
    found = segment(customers, imputed, asked, earlier)
    with warehouse.connect() as backend:
        write_gold(backend, warehouse.home, found, earlier, version)
        profiles = table(backend, SEGMENT_PROFILES).to_pyarrow().to_pylist()
        fit_pictures.curves(find_model(backend))
        fit_pictures.customer_map(table(backend, CUSTOMER_SEGMENTS).to_pandas(), profiles)
        fit_pictures.sizes(profiles)


def _export(warehouse: Warehouse) -> None:
    from clustering_assets.reports.findings_tables import read_findings
    from clustering_assets.reports.segment_report import STEM, write_report
    from clustering_assets.reports.segment_workbook import read_content, write_segment_workbook
    from clustering_assets.reports.wording import Wording

    folder, now, wording = warehouse.home / "exports", utc_now(), Wording("en", "EUR")
    folder.mkdir(exist_ok=True)
    with warehouse.connect() as backend:
        rows = {
            stem: table(backend, contract).order_by(list(contract.key)).to_pyarrow()
            for stem, contract in WORKBOOKS.values()
        }
        findings = read_findings(backend)
        content = read_content(backend, findings)
    for stem, contract in WORKBOOKS.values():
        write_workbook(next_export(folder, stem, now), contract, rows[stem])
    write_report(next_export(folder, STEM, now, ".html"), findings=findings, wording=wording, now=now)
    write_segment_workbook(next_export(folder, STEM, now), content=content, wording=wording, now=now)


def _faults(backend: Backend) -> list[str]:
    """Look at all that the checks look at; return what would stop a run."""
    for contract in (ORDER_LINES, CUSTOMER_FEATURES):
        changes(backend, contract)
    for column in ("category", "brand", "layout"):
        new_values(backend, column)
    files_to_look_at(backend)
    find_model(backend)
    return [
        *(fault for known in ALL_TABLES if has_table(backend, known) for fault in violations(backend, known)),
        *(fault for identity in IDENTITIES for fault in identity.faults(backend)),
    ]


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
