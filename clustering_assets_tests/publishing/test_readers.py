"""Readers never see half a publication: they hammer a real PostgreSQL while two runs take turns or a publisher dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from clustering_assets.publishing.content import Content
from clustering_assets_tests.postgresql import Server
from clustering_assets_tests.publishing.made_runs import made_content, published

CUSTOMERS = {"first": 400, "second": 300}
PUBLICATIONS = 8
SPAWN = multiprocessing.get_context("spawn")

ONE_STATEMENT = """
    select
        (select count(*) from segments.customer_segments), (select count(*) from segments.customer_features),
        (select count(*) from segments.customer_reasons), (select count(*) from segments.segment_changes),
        (select row_count from segments.publication where table_name = 'customer_segments'),
        (select count(distinct model_run_id) from segments.publication),
        (select count(*) from segments.customer_segments s join segments.publication p
            on p.table_name = 'customer_segments' and p.model_run_id = s.model_run_id
            join segments.segment_changes c on c.customer_id = s.customer_id and c.model_run_id = s.model_run_id),
        (select min(model_run_id) from segments.customer_segments)
"""

WRITING = """
    select 1 from pg_stat_activity where application_name = 'clustering-assets' and backend_xid is not null
"""


def read_one_statement(cursor: Any) -> tuple[str, bool]:
    cursor.execute(ONE_STATEMENT)
    [(segments, features, reasons, changes, said, runs, joined, run)] = cursor.fetchall()
    return run, {segments, features, reasons, changes, said, joined} == {CUSTOMERS[run]} and runs == 1


def read_several_statements(cursor: Any) -> tuple[str, bool]:
    cursor.execute("begin isolation level repeatable read read only")
    cursor.execute("select table_name, row_count, model_run_id from segments.publication")
    rows = {name: (count, run) for name, count, run in cursor.fetchall()}
    [run] = {run for _, run in rows.values()}
    whole = True
    for name, (said, _) in rows.items():
        cursor.execute(f"select count(*) from segments.{name}")
        whole &= cursor.fetchall() == [(said,)]
    cursor.execute("select distinct model_run_id from segments.customer_segments")
    whole &= cursor.fetchall() == [(run,)]
    cursor.execute("commit")
    return run, whole


READERS = {"one": read_one_statement, "several": read_several_statements}


def read_until(stop: Event, ready: Any, results: Any, url: str, how: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    reads, torn, runs = 0, 0, set()
    with connection.cursor() as cursor:
        while not stop.is_set():
            run, whole = READERS[how](cursor)
            reads, torn = reads + 1, torn + (not whole)
            runs.add(run)
            if reads == 1:
                ready.release()
    results.put((how, reads, torn, runs))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Content]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: made_content(folder, name, customers) for name, customers in CUSTOMERS.items()}


@pytest.fixture
def url(postgresql: Server) -> str:
    postgresql.run("postgres", "drop database if exists readers with (force)", "create database readers")
    return postgresql.url("readers")


def hammer(url: str, runs: dict[str, Content], publications: int) -> dict[str, tuple[int, int]]:
    """Publish two runs in turn under the eyes of four readers; return reads and torn reads of each kind."""
    published(runs["first"], url)
    stop, ready, results = SPAWN.Event(), SPAWN.Semaphore(0), SPAWN.Queue()
    readers = [
        SPAWN.Process(target=read_until, args=(stop, ready, results, url, how), daemon=True) for how in [*READERS] * 2
    ]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert ready.acquire(timeout=120)
    for number in range(publications):
        assert published(runs["first" if number % 2 else "second"], url).changed
    stop.set()
    found: dict[str, tuple[int, int]] = {}
    for _ in readers:
        how, reads, torn, seen = results.get(timeout=120)
        assert seen == set(runs)
        found[how] = tuple(a + b for a, b in zip(found.get(how, (0, 0)), (reads, torn), strict=True))  # type: ignore[assignment]
    for reader in readers:
        reader.join(60)
    print({how: f"{torn} of {reads:,} reads were torn" for how, (reads, torn) in found.items()})
    return found


def test_no_reader_sees_half_a_publication(url: str, runs: dict[str, Content]) -> None:
    for reads, torn in hammer(url, runs, PUBLICATIONS).values():
        assert reads > PUBLICATIONS
        assert torn == 0


@pytest.mark.long
def test_no_reader_sees_half_a_publication_in_many(url: str, runs: dict[str, Content]) -> None:
    for reads, torn in hammer(url, runs, 150).values():
        assert reads > 150
        assert torn == 0


def publish_for_ever(folder: Path, url: str, ready: Any) -> None:
    contents = [made_content(folder, name, customers) for name, customers in CUSTOMERS.items()]
    ready.release()
    while True:
        for content in contents:
            published(content, url)


@pytest.mark.parametrize("deaths", [4, pytest.param(60, marks=pytest.mark.long)])
def test_a_publisher_that_is_killed_leaves_one_whole_run(
    url: str, runs: dict[str, Content], tmp_path: Path, postgresql: Server, deaths: int
) -> None:
    published(runs["first"], url)
    caught = 0
    for death in range(deaths):
        ready = SPAWN.Semaphore(0)
        publisher = SPAWN.Process(target=publish_for_ever, args=(tmp_path / str(death), url, ready), daemon=True)
        publisher.start()
        assert ready.acquire(timeout=120)
        # Killed while it writes rows, which the database can see; not by the clock.
        deadline = time.monotonic() + 60
        while not postgresql.run("readers", WRITING):
            assert time.monotonic() < deadline
        time.sleep(0.02 * death)
        caught += bool(postgresql.run("readers", WRITING))
        assert publisher.pid
        os.kill(publisher.pid, signal.SIGKILL)
        publisher.join(60)
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            _, whole = read_one_statement(cursor)
        connection.close()
        assert whole
        # The lock died with the publisher.
        published(runs["second"], url)
        for contract, rows in runs["second"].rows.items():
            assert postgresql.run("readers", f"select count(*) from segments.{contract.name}") == [(rows.num_rows,)]
    assert caught
