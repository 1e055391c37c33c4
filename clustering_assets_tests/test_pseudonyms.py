"""Pseudonyms in the place of customer ids: everywhere but in bronze, and what becomes of old ids with another key."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from clustering_assets.config import BadSetting, read_environment
from clustering_assets.contracts import (
    ALL_TABLES,
    CUSTOMER_FEATURES,
    CUSTOMER_SEGMENTS,
    MODEL_ASSIGNMENTS,
    SEGMENT_HISTORY,
)
from clustering_assets.definitions import build_defs
from clustering_assets.pseudonyms import has_customers, hide_ids, pseudonym, what_ids_are
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.warehouse import Warehouse, has_table, replace_table, table
from clustering_assets_tests.conftest import Shop, make_shop, materializations

KEY, OTHER_KEY = "a key that nobody guesses", "another key that nobody guesses"
FAST = {"ops": {"gold": {"config": {"stability_resamples": 0, "max_clusters": 3, "n_splits": 2, "n_init": 2}}}}
OUTSIDE_BRONZE = [contract for contract in ALL_TABLES if contract.layer != "bronze" and has_customers(contract)]


def ids_outside_bronze(shop: Shop) -> dict[str, set[str]]:
    """Every value of a customer id column, by table and workbook."""
    found: dict[str, set[str]] = {}
    with shop.warehouse.connect() as backend:
        for contract in OUTSIDE_BRONZE:
            if has_table(backend, contract):
                rows = table(backend, contract).to_pandas()
                names = [name for name in ("customer_id", "source_customer_id") if name in rows]
                found[contract.qualified_name] = {*rows[names].to_numpy().ravel()}
    for path in (shop.home / "exports").glob("*.xlsx"):
        of_the_report = path.name.startswith("segment_report")
        rows = pd.read_excel(path, "Customers", header=1) if of_the_report else pd.read_excel(path)
        names = [name for name in rows if name.endswith("customer_id") or name in ("Customer", "Pseudonym")]
        found[path.name] = {*rows[names].to_numpy().ravel()}
        assert found[path.name]
    return found


def customers(shop: Shop) -> set[str]:
    with shop.warehouse.connect() as backend:
        return {row[0] for row in backend.con.execute("select distinct customer_id from bronze.order_lines").fetchall()}


def segments(shop: Shop) -> pd.DataFrame:
    with shop.warehouse.connect() as backend:
        return table(backend, CUSTOMER_SEGMENTS).to_pandas().set_index("customer_id").sort_index()


def run_the_other_jobs(shop: Shop) -> None:
    """Write the tables of customers that a run of everything does not write."""
    defs = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    assert defs.resolve_job_def("apply_model").execute_in_process().success
    assert defs.resolve_job_def("segment_history").execute_in_process(partition_key="2024-06-01").success


def test_a_pseudonym_is_the_same_for_the_same_key_and_another_for_any_other() -> None:
    assert pseudonym("ann@x.org", KEY) == pseudonym("ann@x.org", KEY)
    assert len({pseudonym(customer, key) for customer in ("ann@x.org", "bob@x.org") for key in (KEY, OTHER_KEY)}) == 4
    assert re.fullmatch(r"customer-[0-9a-f]{32}", pseudonym("ann@x.org", KEY))
    assert len({what_ids_are(key) for key in (None, KEY, OTHER_KEY)}) == 3


def test_a_key_that_can_be_guessed_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_PSEUDONYM_KEY", "hunter2")
    with pytest.raises(BadSetting, match=r"fewer than 16 characters .*set a random one") as refused:
        read_environment()
    assert "hunter2" not in str(refused.value)


def test_ids_are_hidden_in_tables_whole(tmp_path: Path) -> None:
    with Warehouse(tmp_path).connect() as backend:
        rows = {name: [f"{name} {number}" for number in range(3)] for name in ("customer_id", "source_customer_id")}
        replace_table(
            backend,
            CUSTOMER_FEATURES,
            pd.DataFrame(rows).reindex(columns=[*CUSTOMER_FEATURES.column_names]),
        )
        hide_ids(backend, {CUSTOMER_FEATURES.qualified_name: CUSTOMER_FEATURES}, KEY)
        hidden = table(backend, CUSTOMER_FEATURES).to_pandas()
    assert [*hidden["customer_id"]] == [pseudonym(f"customer_id {number}", KEY) for number in range(3)]
    assert [*hidden["source_customer_id"]] == [*hidden["customer_id"]]


def test_setting_rotating_and_removing_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop(tmp_path, customers=60, lines=1_500)
    assert shop.run(**FAST).success
    run_the_other_jobs(shop)
    clear, ids = segments(shop), customers(shop)
    assert all(found <= ids for name, found in ids_outside_bronze(shop).items() if "source" not in name)

    monkeypatch.setenv("CLUSTERING_PSEUDONYM_KEY", KEY)
    hidden = {pseudonym(customer, KEY): customer for customer in ids}
    result = shop.run(**FAST)
    assert result.success
    assert not materializations(result)["bronze/order_lines"]["changed"].value
    found = ids_outside_bronze(shop)
    assert {*found} >= {contract.qualified_name for contract in OUTSIDE_BRONZE}
    assert all(values <= {*hidden} for values in found.values())
    now = segments(shop).rename(index=hidden).sort_index()
    assert (now["segment_id"] == clear["segment_id"]).mean() > 0.95
    with shop.warehouse.connect() as backend:
        changes = backend.con.execute("select distinct change from gold.segment_changes").fetchall()
    assert {change for (change,) in changes} <= {"moved"}

    monkeypatch.setenv("CLUSTERING_PSEUDONYM_KEY", OTHER_KEY)
    result = shop.run(**FAST)
    assert result.success
    found = ids_outside_bronze(shop)
    assert not {MODEL_ASSIGNMENTS.qualified_name, SEGMENT_HISTORY.qualified_name} & {*found}
    assert all(values <= {pseudonym(customer, OTHER_KEY) for customer in ids} for values in found.values())
    assert found["gold.segment_changes"] == set()
    assert "pseudonyms" in materializations(result)["gold/segment_changes"]["compared_with"].value
    assert {*segments(shop)["segment_id"]} == {*now["segment_id"]}
    run_the_other_jobs(shop)
    assert {*ids_outside_bronze(shop)} >= {contract.qualified_name for contract in OUTSIDE_BRONZE}

    monkeypatch.delenv("CLUSTERING_PSEUDONYM_KEY")
    assert shop.run(**FAST).success
    found = ids_outside_bronze(shop)
    assert found["gold.customer_segments"] == {*clear.index}
    assert found["gold.segment_changes"] == set()


def test_the_key_is_not_among_what_the_code_location_tells_the_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_PSEUDONYM_KEY", KEY)
    told = serialize_value(RepositorySnap.from_def(build_defs().get_repository_def()))
    assert "memory_limit" in told
    assert KEY not in told
