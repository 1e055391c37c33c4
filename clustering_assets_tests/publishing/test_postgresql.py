"""Publishing to a real PostgreSQL: values, changes of the tables there, other people's objects, and failures."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from clustering_assets.contracts import CUSTOMER_SEGMENTS, PUBLICATION, PUBLISHED, SEGMENT_PROFILES, TableContract
from clustering_assets.publishing.content import Content
from clustering_assets.publishing.database import PublishingFailed
from clustering_assets.publishing.publish import publish
from clustering_assets_tests.postgresql import PASSWORD, Server
from clustering_assets_tests.processes import free_port
from clustering_assets_tests.publishing.made_runs import NOW, made_content, published

DATABASE = "business"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return made_content(tmp_path_factory.mktemp("runs"), "first")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return made_content(tmp_path_factory.mktemp("runs"), "second", 20)


@pytest.fixture(scope="module")
def database(postgresql: Server) -> str:
    postgresql.run("postgres", f"create database {DATABASE}")
    return DATABASE


Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def run(postgresql: Server, database: str) -> Iterator[Run]:
    """Runs statements in a database in which nothing was published yet."""
    yield lambda *statements: postgresql.run(database, *statements)
    postgresql.run(database, "drop schema if exists segments cascade", "drop table if exists budgets")


@pytest.fixture
def url(postgresql: Server, database: str, run: Run) -> str:  # noqa: ARG001  clears the database afterwards
    return postgresql.url(database)


def there(run: Run, contract: TableContract) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in contract.column_names)
    return run(f"select {names} from segments.{contract.name} order by {contract.key[0]} collate \"C\""
               if contract.column(contract.key[0]).type == "string"
               else f"select {names} from segments.{contract.name} order by {contract.key[0]}")  # fmt: skip


def here(content: Content, contract: TableContract) -> list[tuple[Any, ...]]:
    key = contract.key[0]
    return [tuple(row.values()) for row in sorted(content.rows[contract].to_pylist(), key=lambda row: row[key])]


def test_every_value_arrives_exactly(first: Content, url: str, run: Run) -> None:
    found = published(first, url)
    assert found.changed
    assert found.tables == {f"segments.{table.name}": rows.num_rows for table, rows in first.rows.items()}
    for contract in PUBLISHED:
        values = there(run, contract)
        assert values == here(first, contract)
        for row, same in zip(values, here(first, contract), strict=True):
            assert [math.copysign(1, a) for a in row if isinstance(a, float)] == [
                math.copysign(1, a) for a in same if isinstance(a, float)
            ]


def test_not_a_number_stays_apart_from_null(first: Content, url: str, run: Run) -> None:
    profiles = first.rows[SEGMENT_PROFILES]
    at = profiles.schema.get_field_index("silhouette")
    values = pa.array([math.nan, None, *[0.5] * (profiles.num_rows - 2)], pa.float64())
    odd = replace(first, rows={**first.rows, SEGMENT_PROFILES: profiles.set_column(at, "silhouette", values)})
    published(odd, url)
    assert run(
        "select count(*) filter (where silhouette = 'nan'), count(*) filter (where silhouette is null) "
        "from segments.segment_profiles"
    ) == [(1, 1)]


def test_tables_have_keys_types_and_the_descriptions_of_the_contracts(first: Content, url: str, run: Run) -> None:
    published(first, url)
    assert run(
        "select data_type, col_description('segments.customer_segments'::regclass, ordinal_position) "
        "from information_schema.columns where table_name = 'customer_segments' and column_name = 'confidence'"
    ) == [("double precision", "How surely the customer is in the segment. Unit: share.")]
    [(comment,)] = run("select obj_description('segments.customer_segments'::regclass)")
    assert comment.endswith("One row per customer.")
    assert run(
        "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
        "where i.indisprimary and i.indrelid = 'segments.customer_segments'::regclass"
    ) == [("customer_id",)]


def test_the_publication_says_what_is_there(first: Content, url: str, run: Run) -> None:
    published(first, url)
    rows = {row[0]: row[1:] for row in there(run, PUBLICATION)}
    for contract in PUBLISHED:
        row_count, content_version, data_version, model_run_id, published_at = rows[contract.name]
        assert [(row_count,)] == run(f"select count(*) from segments.{contract.name}")
        assert content_version == first.content_versions[contract]
        assert (data_version, model_run_id, published_at) == (first.data_versions[contract], "first", NOW)


def test_a_new_run_takes_the_place_of_the_old_one(first: Content, second: Content, url: str, run: Run) -> None:
    published(first, url)
    assert published(second, url).changed
    for contract in PUBLISHED:
        assert there(run, contract) == here(second, contract)


def test_what_the_database_has_already_is_not_written_again(first: Content, url: str, run: Run) -> None:
    published(first, url)
    again = publish(first, url, "segments", keep_dropped=True, now=NOW + timedelta(days=1))
    assert not again.changed
    assert run("select distinct published_at from segments.publication") == [(NOW,)]
    run("vacuum (full, freeze)")
    assert not published(first, url).changed


@pytest.mark.parametrize(
    "touch",
    [
        "delete from segments.segment_profiles where segment_id = 0",
        "update segments.customer_features set order_count = 7 where customer_id = "
        "(select min(customer_id) from segments.customer_features)",
        "drop table segments.segment_changes",
        "truncate segments.customer_reasons",
        "alter table segments.segment_profiles drop column rule",
        "delete from segments.publication where table_name = 'segment_profiles'; truncate segments.segment_profiles",
        "drop schema segments cascade",
    ],
)
def test_a_table_that_somebody_touched_is_published_again(first: Content, url: str, run: Run, touch: str) -> None:
    published(first, url)
    run(touch)
    assert published(first, url).changed
    for contract in PUBLISHED:
        assert there(run, contract) == here(first, contract)
    assert not published(first, url).changed


def test_a_column_that_the_contract_gained_is_added_and_one_that_it_lost_is_kept_empty(
    first: Content, url: str, run: Run
) -> None:
    published(first, url)
    run(
        "alter table segments.segment_profiles drop column rule, add column old_figure float8, "
        "add column loaded_by text not null default current_user",
        "update segments.segment_profiles set old_figure = 1",
    )
    found = published(first, url)
    assert found.columns_added == ("segments.segment_profiles.rule",)
    assert found.columns_left_empty == ("segments.segment_profiles.old_figure", "segments.segment_profiles.loaded_by")
    assert there(run, SEGMENT_PROFILES) == here(first, SEGMENT_PROFILES)
    assert run("select distinct old_figure, loaded_by from segments.segment_profiles") == [(None, "keeper")]


def test_a_column_that_the_contract_lost_can_be_refused(first: Content, second: Content, url: str, run: Run) -> None:
    published(first, url)
    run("alter table segments.segment_profiles add column old_figure float8")
    with pytest.raises(PublishingFailed, match=r"segments\.segment_profiles\.old_figure is there, .* drop it, or set"):
        published(second, url, keep_dropped=False)
    assert there(run, SEGMENT_PROFILES) == here(first, SEGMENT_PROFILES)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "alter table segments.customer_segments alter column segment_id type numeric",
            r"segments\.customer_segments\.segment_id is NUMERIC there and has to be BIGINT: alter its type",
        ),
        (
            "alter table segments.customer_segments add column budget float8 not null default 1; "
            "alter table segments.customer_segments alter column budget drop default",
            r"segments\.customer_segments\.budget must not be null there",
        ),
        (
            "alter table segments.customer_segments drop constraint customer_segments_pkey, "
            "add primary key (map_x, customer_id)",
            r"the primary key of segments\.customer_segments is \(map_x, customer_id\) there",
        ),
        (
            "alter table segments.customer_segments drop column customer_id",
            r"segments\.customer_segments has no column customer_id, which is its key",
        ),
        (
            "drop table segments.customer_segments; create view segments.customer_segments as select 1 as customer_id",
            r"segments\.customer_segments is a view there",
        ),
        (
            "create table public.budgets (customer_id text references segments.customer_segments on delete cascade)",
            r"budgets has a foreign key to segments\.customer_segments that deletes",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_everything_stays(
    first: Content, second: Content, url: str, run: Run, statement: str, said: str
) -> None:
    published(first, url)
    run(statement)
    with pytest.raises(PublishingFailed, match=said) as failure:
        published(second, url)
    assert not failure.value.transient
    assert there(run, SEGMENT_PROFILES) == here(first, SEGMENT_PROFILES)


def test_all_that_does_not_fit_is_said_at_once(first: Content, second: Content, url: str, run: Run) -> None:
    published(first, url)
    run(
        "alter table segments.customer_segments alter column segment_id type numeric",
        "alter table segments.segment_profiles alter column customers type text",
    )
    with pytest.raises(PublishingFailed, match=r"segment_id is NUMERIC there .*\.customers is TEXT there"):
        published(second, url)


@pytest.mark.parametrize(
    ("table", "column"), [("customer_segments", "customer_id"), ("publication", "id"), ("publication", "table_name")]
)
def test_rows_of_somebody_else_are_never_deleted(first: Content, url: str, run: Run, table: str, column: str) -> None:
    run(f"create schema segments create table {table} ({column} text)", f"insert into segments.{table} values (1)")
    with pytest.raises(PublishingFailed, match=f"segments.{table} has .*rename or drop"):
        published(first, url)
    assert run(f"select * from segments.{table}") == [("1",)]


def test_views_and_grants_survive_a_new_run_and_a_new_column(
    first: Content, second: Content, url: str, run: Run, postgresql: Server, database: str
) -> None:
    published(first, url)
    run(
        "create view segments.big as select s.segment_id, count(*) n from segments.customer_segments s "
        "join segments.segment_profiles using (segment_id) group by 1",
        "create role reporting login password 'r'",
        "grant usage on schema segments to reporting",
        "grant select on all tables in schema segments to reporting",
        "alter table segments.segment_profiles drop column saving_assumption",
    )
    try:
        before = run("select * from segments.big order by 1")
        published(second, url)
        assert run("select * from segments.big order by 1") != before
        with postgresql.connect(database, "reporting", "r") as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from segments.customer_segments")
            assert cursor.fetchall() == [(20,)]
            cursor.execute("select count(saving_assumption) from segments.segment_profiles")
        connection.close()
    finally:
        run("drop owned by reporting", "drop role reporting")


def test_a_user_who_may_write_but_not_make_schemas_can_publish(
    first: Content, run: Run, postgresql: Server, database: str
) -> None:
    run("create role publisher login password 'written'", "create schema segments authorization publisher")
    try:
        assert published(first, postgresql.url(database, "publisher", "written")).changed
        with pytest.raises(PublishingFailed, match=r"permission denied for database .* Grant the user"):
            published(first, postgresql.url(database, "publisher", "written"), "elsewhere")
    finally:
        run("drop owned by publisher cascade", "drop role publisher")


def test_a_nul_character_is_refused_with_its_table_and_column(first: Content, url: str, run: Run) -> None:
    published(first, url)
    segments = first.rows[CUSTOMER_SEGMENTS]
    at = segments.schema.get_field_index("segment_name")
    names = pa.array(["a\0b"] * segments.num_rows)
    odd = replace(
        first,
        rows={**first.rows, CUSTOMER_SEGMENTS: segments.set_column(at, "segment_name", names)},
        content_versions={**first.content_versions, CUSTOMER_SEGMENTS: "other"},
    )
    with pytest.raises(PublishingFailed, match=r"customer_segments\.segment_name has a NUL character in 30 rows"):
        published(odd, url)
    assert there(run, CUSTOMER_SEGMENTS) == here(first, CUSTOMER_SEGMENTS)


def test_two_publishers_wait_for_each_other(first: Content, second: Content, url: str, run: Run) -> None:
    failures: list[Exception] = []

    def publish_often(content: Content) -> None:
        try:
            for _ in range(4):
                published(content, url)
        except PublishingFailed as error:
            failures.append(error)

    threads = [threading.Thread(target=publish_often, args=(content,)) for content in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    [(last,)] = run("select distinct model_run_id from segments.publication")
    content = {"first": first, "second": second}[last]
    for contract in PUBLISHED:
        assert there(run, contract) == here(content, contract)


def test_what_a_database_refuses_is_one_sentence_without_a_password(
    first: Content, postgresql: Server, database: str
) -> None:
    nobody = f"postgresql://keeper:hush@127.0.0.1:{free_port()}/{database}"
    wrong = postgresql.url(database, password="hush")  # noqa: S106
    for url, said, transient in [
        (nobody, "Connection refused", True),
        (wrong, "password authentication failed", True),
        (postgresql.url("nowhere"), 'database "nowhere" does not exist', True),
        (postgresql.url(database) + "?password=hush&sslmode=none", "invalid sslmode value", True),
        ("postgres:/keeper:hush", "is no URL of a database", False),
        ("oracle9://keeper:hush@127.0.0.1/x", "its driver is not installed", False),
    ]:
        with pytest.raises(PublishingFailed, match=said) as failure:
            published(first, url)
        assert "hush" not in str(failure.value)
        assert PASSWORD not in str(failure.value)
        assert "\n" not in str(failure.value)
        assert failure.value.transient == transient
        assert failure.value.__suppress_context__
