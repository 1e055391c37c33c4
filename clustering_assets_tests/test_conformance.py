"""Each rule of a contract, kept and broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import ibis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clustering_assets.conformance import extent, violations
from clustering_assets.contracts import ORDER_LINES, Column, TableContract
from clustering_assets.integrity import EVERY_ROW_ACCOUNTED_FOR
from clustering_assets.warehouse import replace_table
from clustering_assets_tests.sources.bronze import Bronze, csv_text, opened, order_lines

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

CONTRACT = TableContract(
    "gold",
    "example",
    "An example",
    "One row per name",
    ("name", "part"),
    (
        Column("name", "string", "Name.", required=True),
        Column("part", "int64", "Part.", required=True, minimum=1),
        Column("share", "float64", "Share.", minimum=0, maximum=1),
        Column("moment", "timestamp", "When."),
    ),
)
GOOD = "select 'a' as name, 1::bigint as part, 0.5::double as share, timestamp '2024-01-01' as moment"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bronze]:
    """Bronze of every fate: kept, rejected, superseded, merged, and matched, partly matched and unmatched."""
    retail = csv_text(
        ["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"],
        [
            ["1", "A", "5", "2024-01-01", "2", "7"],
            ["1", "A", "1", "2024-01-01", "2", "7"],
            ["1", "A", "1", "2024-01-01", "2", "7"],
            ["C2", "A", "-2", "2024-01-02", "2", "7"],
            ["C3", "A", "-9", "2024-01-03", "2", "7"],
            ["C4", "A", "-9", "2024-01-04", "2", "7"],
        ],
    )
    place = tmp_path_factory.mktemp("bronze")
    with opened(place / "source", place / "home") as made:
        made.load({"a.csv": order_lines({}, {"sku": ""}), "b.csv": order_lines({}), "c.csv": retail})
        yield made


@pytest.fixture
def bronze(intact: Bronze) -> Iterator[Bronze]:
    """The same, to break: it is whole again for the next test."""
    intact.rows("begin")
    yield intact
    intact.rows("rollback")


def test_a_table_that_keeps_its_contract_has_no_violation(bronze: Bronze) -> None:
    bronze.assert_sound()
    bronze.rows(f"create table gold.example as {GOOD} union all select 'a', 2, null, null")
    assert violations(bronze.backend, CONTRACT) == []
    bronze.rows("delete from gold.example")
    assert violations(bronze.backend, CONTRACT) == []


def test_a_missing_table_is_named(bronze: Bronze) -> None:
    assert violations(bronze.backend, CONTRACT) == ["the table gold.example does not exist: materialize it"]


@pytest.mark.parametrize(
    ("query", "violation"),
    [
        ("select * exclude (share) from ({good})", "the column share is missing"),
        ("select *, 1 as more from ({good})", "the column more is not in the contract"),
        ("select * replace (part::integer as part) from ({good})", "the column part is int32 instead of int64"),
        ("select * replace (moment::date as moment) from ({good})", "the column moment is date instead of timestamp"),
        (
            "select part, name, share, moment from ({good})",
            "the columns stand in another order: part, name, share, moment",
        ),
        ("select * replace (null::varchar as name) from ({good})", "1 rows: name is null"),
        ("select * replace (0::bigint as part) from ({good})", "1 rows: part is below 1"),
        ("select * replace (-0.1::double as share) from ({good})", "1 rows: share is below 0"),
        ("select * replace (1.1::double as share) from ({good})", "1 rows: share is above 1"),
        ("select * replace ('nan'::double as share) from ({good})", "1 rows: share is not finite"),
        ("select * replace ('-inf'::double as share) from ({good})", "1 rows: share is not finite"),
        ("{good} union all {good}", "1 keys (name, part) occur more than once"),
    ],
)
def test_each_way_to_break_a_contract_is_named(bronze: Bronze, query: str, violation: str) -> None:
    bronze.rows(f"create table gold.example as {query.format(good=GOOD)}")
    assert [fault for fault in violations(bronze.backend, CONTRACT) if fault.startswith(violation)]


_ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), max_size=4)


@given(kept=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), unique=True), gone=_ROWS, added=_ROWS)
@example(kept=[("a", 1)], gone=[], added=[("a", 1)])
@example(kept=[("a", 1)], gone=[("a", 1)], added=[("a", 1)])
@example(kept=[("a", 1)], gone=[], added=[("b", 2), ("b", 2)])
@settings(max_examples=40, deadline=None)
def test_what_was_added_is_judged_as_the_whole_table_is(
    kept: list[tuple[str, int]], gone: list[tuple[str, int]], added: list[tuple[str, int]]
) -> None:
    with closing(duckdb.connect()) as connection:
        backend: Backend = ibis.duckdb.from_connection(connection)
        connection.execute(f"create schema gold; create table gold.example as {GOOD} limit 0")

        def put(rows: list[tuple[str, int]]) -> None:
            for name, part in rows:
                connection.execute("insert into gold.example values ($1, $2, null, null)", [name, part])

        put(kept)
        before = extent(backend, CONTRACT)
        connection.execute("begin")
        for row in gone:
            connection.execute("delete from gold.example where name = $1 and part = $2", row)
        put(added)
        assert (found := violations(backend, CONTRACT, before)) == violations(backend, CONTRACT)
        rows = [*(row for row in kept if row not in gone), *added]
        assert bool(found) == (len({*rows}) < len(rows))


def test_a_table_in_the_place_of_another_is_judged_whole(bronze: Bronze) -> None:
    bronze.rows(f"create table gold.example as {GOOD}")
    before = extent(bronze.backend, CONTRACT)
    bronze.rows(f"create or replace table gold.example as {GOOD} union all {GOOD}")
    assert violations(bronze.backend, CONTRACT, before) == ["1 keys (name, part) occur more than once"]


def test_a_table_that_is_written_by_its_contract_keeps_it(bronze: Bronze) -> None:
    replace_table(bronze.backend, CONTRACT, bronze.backend.sql(GOOD))
    assert violations(bronze.backend, CONTRACT) == []


def test_violations_are_counted_and_listed_together(bronze: Bronze) -> None:
    bronze.rows("update bronze.order_lines set sku = null, quantity = 0")
    assert violations(bronze.backend, ORDER_LINES) == [
        "2 rows: sku is null, such as row 2 of b.csv",
        "2 rows: quantity is below 1, such as row 2 of b.csv",
    ]


BREAKING = {
    "update bronze.source_files set rows_read = rows_read + 1 where source_file = 'b.csv'": {"b.csv"},
    "update bronze.source_files set rows_kept = rows_kept + 1, rows_read = rows_read + 1 where source_file = 'b.csv'": {
        "b.csv"
    },
    "update bronze.source_files set rows_rejected = 0, rows_merged = rows_merged + 1 where source_file = 'a.csv'": {
        "a.csv"
    },
    "update bronze.source_files set rows_superseded = 0, rows_merged = 1 where source_file = 'a.csv'": {"a.csv"},
    "update bronze.source_files set rows_merged = 0, rows_superseded = 4 where source_file = 'c.csv'": {"c.csv"},
    "update bronze.source_files set source_file = 'd.csv' where source_file = 'b.csv'": {"b.csv", "d.csv"},
    "update bronze.order_lines set source_file = 'ghost.csv' where source_file = 'b.csv'": {"b.csv", "ghost.csv"},
    "delete from bronze.order_lines where source_file = 'c.csv'": {"c.csv"},
    "delete from bronze.rejected_rows where source_file = 'c.csv'": {"c.csv"},
    "delete from bronze.source_files where source_file = 'a.csv'": {"a.csv"},
    "insert into bronze.superseded_lines from bronze.order_lines where source_file = 'b.csv'": {"b.csv"},
    "update bronze.source_files set rows_read = null where source_file = 'c.csv'": {"c.csv"},
}


@pytest.mark.parametrize("statement", BREAKING)
def test_a_file_whose_account_does_not_come_out_is_named(bronze: Bronze, statement: str) -> None:
    assert EVERY_ROW_ACCOUNTED_FOR.faults(bronze.backend) == []
    bronze.rows(statement)
    assert {sentence.split(":")[0] for sentence in EVERY_ROW_ACCOUNTED_FOR.faults(bronze.backend)} == BREAKING[
        statement
    ]
