"""Publishing to a SQLite and to a DuckDB file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from clustering_assets.contracts import PUBLICATION, PUBLISHED, SEGMENT_PROFILES
from clustering_assets.publishing.content import Content
from clustering_assets.publishing.database import PublishingFailed
from clustering_assets_tests.publishing.made_runs import made_content, published

PREFIX = {"sqlite": "", "duckdb": "segments."}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Content, Content]:
    folder = tmp_path_factory.mktemp("runs")
    return made_content(folder, "first"), made_content(folder, "second", 20)


@pytest.fixture(params=["sqlite", "duckdb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> str:
    return f"{kind}:///{tmp_path}/business.db"


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    kind, _, path = url.partition(":///")
    connection: Any = sqlite3.connect(path) if kind == "sqlite" else duckdb.connect(path)
    with closing(connection):
        for statement in statements:
            found: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
        if kind == "sqlite":
            connection.commit()
    return found


def _in_sqlite(value: Any) -> Any:
    """SQLite has no type for a moment, and no sign for a zero."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    return 0.0 if value == 0 and isinstance(value, float) else value


def test_every_value_arrives_exactly(runs: tuple[Content, Content], kind: str, url: str) -> None:
    for content in runs:
        assert published(content, url).changed
        for contract, rows in content.rows.items():
            names = ", ".join(contract.column_names)
            found = execute(url, f"select {names} from {PREFIX[kind]}{contract.name}")
            wanted = [
                tuple(map(_in_sqlite if kind == "sqlite" else lambda value: value, row.values()))
                for row in rows.to_pylist()
            ]
            assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_what_the_file_has_already_is_not_written_again_until_rows_are_gone(
    runs: tuple[Content, Content], kind: str, url: str
) -> None:
    first, _ = runs
    published(first, url)
    assert not published(first, url).changed
    execute(url, f"delete from {PREFIX[kind]}customer_segments where customer_id = (select min(customer_id) from "
                 f"{PREFIX[kind]}customer_segments)")  # fmt: skip
    assert published(first, url).changed
    assert execute(url, f"select count(*) from {PREFIX[kind]}customer_segments") == [(30,)]


def test_columns_come_and_stay_and_a_view_keeps_working(runs: tuple[Content, Content], kind: str, url: str) -> None:
    first, second = runs
    published(first, url)
    table = f"{PREFIX[kind]}segment_profiles"
    execute(
        url,
        f"create view {PREFIX[kind]}names as select segment_name from {table}",
        f"alter table {table} drop column rule",
        f"alter table {table} add column old_figure double",
    )
    found = published(second, url)
    assert found.columns_added == (f"{table}.rule",)
    assert found.columns_left_empty == (f"{table}.old_figure",)
    assert execute(url, f"select count(*), count(old_figure) from {table}") == [(7, 0)]
    assert len(execute(url, f"select * from {PREFIX[kind]}names")) == 7


def test_a_table_that_does_not_fit_is_refused_and_everything_stays(
    runs: tuple[Content, Content], kind: str, url: str
) -> None:
    first, second = runs
    published(first, url)
    before = execute(url, f"select * from {PREFIX[kind]}publication order by 1")
    table = f"{PREFIX[kind]}segment_changes"
    execute(url, f"alter table {table} drop column change", f"alter table {table} add column change integer")
    with pytest.raises(PublishingFailed, match=rf"{table}\.change is INTEGER there and has to be (TEXT|VARCHAR)"):
        published(second, url)
    assert execute(url, f"select * from {PREFIX[kind]}publication order by 1") == before


def test_rows_of_somebody_else_are_never_deleted(runs: tuple[Content, Content], kind: str, url: str) -> None:
    statement = f"create table {PREFIX[kind]}customer_segments (customer_id text)"
    if kind == "duckdb":
        execute(url, "create schema segments")
    execute(url, statement, f"insert into {PREFIX[kind]}customer_segments values ('1')")
    with pytest.raises(PublishingFailed, match="customer_segments has rows that this project did not publish"):
        published(runs[0], url)
    assert execute(url, f"select * from {PREFIX[kind]}customer_segments") == [("1",)]


def test_a_failure_in_the_middle_leaves_the_run_before(runs: tuple[Content, Content], kind: str, url: str) -> None:
    first, second = runs
    published(first, url)

    def everything() -> dict[str, list[tuple[Any, ...]]]:
        return {c.name: execute(url, f"select * from {PREFIX[kind]}{c.name}") for c in (PUBLICATION, *PUBLISHED)}

    before = everything()
    profiles = second.rows[SEGMENT_PROFILES]
    at = profiles.schema.get_field_index("customers")
    odd = profiles.set_column(at, "customers", pa.array([{"no": "number"}] * profiles.num_rows))
    with pytest.raises(PublishingFailed, match=r"business\.db"):
        published(replace(second, rows={**second.rows, SEGMENT_PROFILES: odd}), url)
    assert everything() == before


def test_a_file_that_cannot_be_written_is_one_sentence(
    runs: tuple[Content, Content], kind: str, tmp_path: Path
) -> None:
    with pytest.raises(PublishingFailed, match="business") as failure:
        published(runs[0], f"{kind}:///{tmp_path}/no/such/folder/business.db")
    assert failure.value.transient
    (tmp_path / "text").write_text("this is no database, it is a text of some length. " * 100)
    with pytest.raises(PublishingFailed, match=r"text.* (database|DuckDB)") as failure:
        published(runs[0], f"{kind}:///{tmp_path}/text")
    assert "\n" not in str(failure.value)


def test_a_duckdb_url_without_a_file_is_refused(runs: tuple[Content, Content]) -> None:
    with pytest.raises(PublishingFailed, match="names no file"):
        published(runs[0], "duckdb://")


def test_a_duckdb_file_may_be_called_like_its_schema(runs: tuple[Content, Content], tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path}/segments.duckdb"
    assert published(runs[0], url).changed
    assert published(runs[1], url).changed
    assert execute(url, "select count(*) from segments.segments.customer_segments") == [(20,)]
