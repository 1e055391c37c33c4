"""The history of the segments: months of the past as they were known then, written one beside the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from clustering_assets.conformance import violations
from clustering_assets.contracts import SEGMENT_HISTORY
from clustering_assets.definitions import build_defs
from clustering_assets.history import Month, known_customers, moves, share_lines, sizes, write_month
from clustering_assets.metadata import asset_key
from clustering_assets.pseudonyms import pseudonym
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import Shop

MARCH = Month(date(2025, 3, 1))
SPAN = (date(2025, 2, 10), date(2025, 12, 20))


@pytest.mark.parametrize(
    ("month", "until", "day"),
    [
        (date(2025, 1, 1), None, None),
        (date(2025, 2, 1), None, date(2025, 2, 28)),
        (date(2024, 2, 1), None, None),
        (date(2025, 12, 1), None, date(2025, 12, 31)),
        (date(2026, 1, 1), None, None),
        (date(2025, 6, 1), date(2025, 6, 15), date(2025, 6, 15)),
        (date(2025, 7, 1), date(2025, 6, 15), None),
    ],
)
def test_a_month_is_looked_at_from_its_last_day_if_there_were_orders(
    month: date, until: date | None, day: date | None
) -> None:
    assert Month(month).day_to_look_from(SPAN, until) == day
    assert Month(month).day_to_look_from(None, until) is None


def test_a_month_ends_where_the_next_one_starts() -> None:
    for year, month in ((2023, 12), (2024, 2), (2025, 1), (2025, 11)):
        end = Month(date(year, month, 1)).end
        assert end == date(year + month // 12, month % 12 + 1, 1)


def history(day: date, **segments: int) -> pd.DataFrame:
    names = {-1: "Outliers", 0: "Keepers", 1: "Returners"}
    return pd.DataFrame(
        {
            "as_of": pd.Timestamp(day),
            "customer_id": [*segments],
            "segment_id": [*segments.values()],
            "segment_name": [names[segment] for segment in segments.values()],
            "confidence": 1.0,
            "outlier_score": 0.5,
            "model_run_id": "model",
            "assigned_at": datetime(2025, 5, 1),
        }
    )


def test_a_month_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    april = Month(date(2025, 4, 1))
    with Warehouse(tmp_path).connect() as backend:
        write_month(backend, MARCH, history(date(2025, 3, 31), a=0, b=1), "1")
        write_month(backend, april, history(date(2025, 4, 30), a=0, b=0, c=1), "1")
        write_month(backend, MARCH, history(date(2025, 3, 31), a=1), "2")
        query = "select as_of::date::varchar, customer_id, segment_id from gold.segment_history order by all"
        assert backend.con.execute(query).fetchall() == [
            ("2025-03-31", "a", 1),
            ("2025-04-30", "a", 0),
            ("2025-04-30", "b", 0),
            ("2025-04-30", "c", 1),
        ]
        assert violations(backend, SEGMENT_HISTORY) == []
        write_month(backend, april, None, "2")
        assert len(backend.con.execute(query).fetchall()) == 1


def test_moves_between_months_are_counted(tmp_path: Path) -> None:
    with Warehouse(tmp_path).connect() as backend:
        write_month(backend, MARCH, history(date(2025, 3, 31), a=0, b=0, c=1, d=-1), "1")
        write_month(backend, Month(date(2025, 4, 1)), history(date(2025, 4, 30), a=0, b=1, c=1, e=1), "1")
        days, shares, names = share_lines(sizes(backend, 13))
        summary, ways = moves(backend, days)
    assert shares == {-1: [0.25, 0.0], 0: [0.5, 0.25], 1: [0.25, 0.75]}
    assert names == {-1: "Outliers", 0: "Keepers", 1: "Returners"}
    assert summary == [
        {
            "month": "2025-04",
            "customers": 4,
            "kept_segment_share": 2 / 3,
            "moved": 1,
            "joined": 1,
            "left": 1,
            "same_model": True,
        }
    ]
    assert ways == [{"month": "2025-04", "from": "Keepers", "to": "Returners", "customers": 1, "share_of_from": 0.5}]


@pytest.fixture(scope="module")
def ran(finished: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, dg.DagsterInstance]]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield finished.copied_to(tmp_path_factory.mktemp("shop")), instance


def deployed(shop: Shop, **settings: Any) -> dg.Definitions:
    return build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source), **settings))


def backfill(
    ran: tuple[Shop, dg.DagsterInstance], first: str, last: str, **settings: Any
) -> dict[str, dict[str, dg.MetadataValue[Any]]]:
    """Materialize a range of months in one run, as a backfill from the UI does; return the metadata by month."""
    shop, instance = ran
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = deployed(shop, **settings).resolve_job_def("segment_history")
    result = job.execute_in_process(instance=instance, tags=tags)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {str(event.partition): dict(event.metadata) for event in events}


def rows_of(shop: Shop) -> pd.DataFrame:
    with shop.warehouse.connect() as backend:
        rows: pd.DataFrame = backend.con.execute("select * from gold.segment_history order by as_of, customer_id").df()
        return rows


def test_a_backfill_is_one_run_with_one_report_and_a_second_one_computes_nothing(
    ran: tuple[Shop, dg.DagsterInstance],
) -> None:
    shop, instance = ran
    found = backfill(ran, "2022-11-01", "2023-04-01")
    assert len(found) == 6
    *others, last = (found[month] for month in sorted(found))
    assert last["months_without_orders"].value.startswith("2 (2022-11 to 2022-12): the orders are from 2023-01-")
    assert last["months_computed"].value == 6
    assert {"sizes", "months", "flows", "shares"} <= {*last}
    assert not any("shares" in metadata for metadata in others)
    assert len(last["months"].records) == 3  # type: ignore[attr-defined]
    rows = rows_of(shop)
    assert [f"{day:%Y-%m-%d}" for day in rows["as_of"].unique()] == [
        "2023-01-31",
        "2023-02-28",
        "2023-03-31",
        "2023-04-30",
    ]
    assert rows["model_run_id"].nunique() == 1
    assert rows.groupby("as_of").size().is_monotonic_increasing, "who is known stays known"
    again = backfill(ran, "2022-11-01", "2023-04-01")
    assert again["2023-04-01"]["changed"].value is False
    pd.testing.assert_frame_equal(rows_of(shop), rows)
    keys = instance.get_materialized_partitions(asset_key(SEGMENT_HISTORY))
    assert len(keys) == 6


def test_a_month_alone_changes_no_other_month(ran: tuple[Shop, dg.DagsterInstance]) -> None:
    backfill(ran, "2023-03-01", "2023-04-01")
    before = rows_of(ran[0])
    backfill(ran, "2023-04-01", "2023-04-01", as_of="2025-01-01")  # another day to look from: computed anew
    after = rows_of(ran[0])
    pd.testing.assert_frame_equal(after.drop(columns="assigned_at"), before.drop(columns="assigned_at"))
    changed = after["as_of"][after["assigned_at"] != before["assigned_at"]].unique()
    assert [f"{day:%Y-%m}" for day in changed] == ["2023-04"]


def test_the_segments_of_the_last_day_are_those_of_the_model_applied_to_silver(
    ran: tuple[Shop, dg.DagsterInstance],
) -> None:
    shop, instance = ran
    with shop.warehouse.connect() as backend:
        [(latest,)] = backend.con.execute("select max(order_date)::date from bronze.order_lines").fetchall()
    month = f"{latest:%Y-%m-01}"
    backfill(ran, month, month, as_of=str(latest))
    defs = deployed(shop)
    silver = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[key for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == "silver"],
        run_config={"ops": {"silver": {"config": {"as_of": str(latest)}}}},
    )
    assert silver.success
    assert defs.resolve_job_def("apply_model").execute_in_process(instance=instance).success
    with shop.warehouse.connect() as backend:
        differing = backend.con.execute(
            """
            select count(*) from (select * exclude (as_of, assigned_at) from gold.segment_history where as_of = $1) h
            full join (select * exclude (assigned_at) from gold.model_assignments) a using (customer_id)
            where h.segment_id is distinct from a.segment_id or h.confidence is distinct from a.confidence""",
            [latest],
        ).fetchall()
    assert differing == [(0,)]


def test_what_happened_later_was_not_known(ran: tuple[Shop, dg.DagsterInstance]) -> None:
    with ran[0].warehouse.connect() as backend:
        known = known_customers(backend, date(2023, 3, 31), None)
        assert known["last_order_date"].max() < pd.Timestamp(2023, 4, 1)
        hidden = known_customers(backend, date(2023, 3, 31), "a key of sixteen characters")
    ids = {pseudonym(customer, "a key of sixteen characters") for customer in known["customer_id"]}
    assert {*hidden["customer_id"]} == ids


def test_ids_of_another_key_are_not_mixed(
    ran: tuple[Shop, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERING_PSEUDONYM_KEY", "a key of sixteen characters")
    shop, instance = ran
    result = (
        build_defs(source=SourceFolder(path=str(shop.source)), home=Home(path=str(shop.home)))
        .resolve_job_def("segment_history")
        .execute_in_process(instance=instance, partition_key="2023-03-01", raise_on_error=False)
    )
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "another CLUSTERING_PSEUDONYM_KEY: run everything first" in failure.step_failure_data.error_display_string


def test_the_month_that_ended_is_asked_for_on_the_first(ran: tuple[Shop, dg.DagsterInstance]) -> None:
    repository = deployed(ran[0]).get_repository_def()
    context = dg.build_schedule_context(
        ran[1], scheduled_execution_time=datetime(2025, 6, 1, 5), repository_def=repository
    )
    [request] = repository.get_schedule_def("monthly_segment_history").evaluate_tick(context).run_requests or []
    assert request.partition_key == "2025-05-01"
