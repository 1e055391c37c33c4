"""Customers who asked to be forgotten: first out of what is there, last a look whether nothing of them is left."""

import dagster as dg

from clustering_assets.assets.exports import published_now
from clustering_assets.contracts import (
    ALL_TABLES,
    FORGOTTEN_CUSTOMERS,
    FULFILLED_REQUESTS,
    MODEL_ASSIGNMENTS,
    SEGMENT_HISTORY,
)
from clustering_assets.failures import in_one_sentence
from clustering_assets.forgetting import LAYERS_ABOVE, accept_requests, fulfil_requests
from clustering_assets.forgotten import read_record, requests
from clustering_assets.metadata import table_facts, table_spec
from clustering_assets.pseudonyms import has_customers
from clustering_assets.resources import WAREHOUSE_POOL, Database, Home
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import utc_now

_TABLES = [contract for contract in ALL_TABLES if contract.layer in LAYERS_ABOVE and has_customers(contract)]
"""What a customer is in above bronze."""
_OF_THEIR_OWN_JOB = {MODEL_ASSIGNMENTS, SEGMENT_HISTORY}
_COPIES = [
    dg.AssetKey(["exports", name])
    for name in ("silver_workbook", "gold_workbook", "segment_report", "segment_report_workbook")
]
"""What a customer is in besides the tables."""


@dg.multi_asset(specs=[table_spec(FORGOTTEN_CUSTOMERS)], pool=WAREHOUSE_POOL)
def requests_to_forget(home: Home) -> dg.MaterializeResult[None]:
    """Take the requests in the folder `forget` of the home: nothing of those customers is read or kept from here on."""
    with in_one_sentence(), home.warehouse.connect() as backend:
        accepted = accept_requests(backend, home.warehouse.home, home.pseudonym_key, utc_now())
        return dg.MaterializeResult(
            metadata={
                **table_facts(backend, FORGOTTEN_CUSTOMERS),
                "requests": accepted.requests,
                "customers": accepted.customers,
                "unknown_customers": accepted.unknown_customers,
                "rows_removed_above_bronze": accepted.rows_removed,
                "changed": accepted.customers > 0,
            },
            data_version=dg.DataVersion(fingerprint(read_record(home.warehouse.home).digest)),
        )


@dg.multi_asset(
    specs=[
        table_spec(
            FULFILLED_REQUESTS,
            [contract for contract in _TABLES if contract not in _OF_THEIR_OWN_JOB],
        )
        # it comes last: in the group of bronze, the layers would lead in a circle
        .replace_attributes(group_name="privacy")
        .merge_attributes(deps=_COPIES)
    ],
    pool=WAREHOUSE_POOL,
)
def receipts(home: Home, database: Database) -> dg.MaterializeResult[None]:
    """Look whether anything is left of those who asked, write the warehouse anew and close their requests.

    A database that tables are published in has to have them without those customers: where that has not happened in
    this run, it does so here, since the asset of the database may be skipped or fail.
    """
    with in_one_sentence():
        if database.url is not None and requests(home.warehouse.home):
            published_now(home, database, database.url)
        customers = fulfil_requests(home.warehouse, home.pseudonym_key, utc_now())
        with home.warehouse.connect() as backend:
            facts = table_facts(backend, FULFILLED_REQUESTS)
    return dg.MaterializeResult(metadata={**facts, "customers": customers, "changed": customers > 0})


FORGETTING = [requests_to_forget, receipts]
