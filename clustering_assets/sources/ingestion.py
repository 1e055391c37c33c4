"""Loading bronze: what changed in the source folder is read, the rest stays as it is.

New and changed files are read into tables of their own first; then everything changes in one transaction. The outcome
depends on the files in the folder alone, not on the order in which they came.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import ibis
import pyarrow as pa

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import (
    CANCELLATIONS,
    FILE_STATE,
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    TableContract,
)
from clustering_assets.forgotten import Forgotten
from clustering_assets.sources import online_retail, repeats
from clustering_assets.sources.cancellations import match
from clustering_assets.sources.customer_ids import ID_TOKENS, find_forgotten
from clustering_assets.sources.files import (
    DEFAULT_LIMITS,
    FoundFile,
    Limits,
    UnreadableNow,
    UnusableFile,
    check_place,
    content_hash,
    find_files,
    folder_problem,
    in_short,
    stamp,
)
from clustering_assets.sources.layout import Layout, Repeats
from clustering_assets.sources.mapping import layouts_for
from clustering_assets.sources.reading import NUMBERED_ROWS, RAW_REJECTS, RawRows, UnusableSheet, read_rows
from clustering_assets.sources.values import CANDIDATES, candidate_query, conventions
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import (
    SQL_TYPES,
    describe_table,
    has_table,
    is_disk_full,
    record_versions,
    refuse_other_engine,
    replace_table,
    table,
    table_version,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

READER_VERSION = "1"
"""Raise it when the same file would give other rows than before: all files are read again then."""

_log = logging.getLogger(__name__)

_SAYINGS = 10
"""Times that a load says how far it is, however many files there are."""

_KEY = ", ".join(repeats.KEY)
INCOMING = "bronze.incoming_"
"""Begins the names of the tables that hold what was read until all is read."""
READ = (ORDER_LINES, REJECTED_ROWS, CANCELLATIONS)
"""Tables that a file gives rows of."""
ROWS = (*READ, SUPERSEDED_LINES)
"""Tables of rows of files; the others have a row per file."""
WRITTEN = (*ROWS, SOURCE_FILES, FILE_STATE)
"""Tables that a load writes."""
_UNMATCHED = "UNMATCHED_CANCELLATION"
_FORGOTTEN = "FORGOTTEN: the customer asked to be forgotten"
_WITHOUT = "bronze.without_customers"
"""Names the record of who is kept out of the tables as they stand."""

_NOBODY = Forgotten()
_ANY_LINE = f"""select 1 from {ORDER_LINES.qualified_name}
    union all select 1 from {REJECTED_ROWS.qualified_name} where starts_with(reason, 'FORGOTTEN') limit 1"""
"""A shop that has just forgotten its last customer is empty, and no mistake."""


class NoUsableRows(Exception):
    """The source folder gives no order line; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A row of ``bronze.source_files`` and of ``bronze.file_state``: a file, or a sheet of a workbook."""

    source_file: str
    content_hash: str
    size_bytes: int
    status: str
    reason: str
    path: str
    stamp: str
    settings: str
    loaded_at: datetime
    layout: str | None = None
    rows_read: int = 0
    rows_kept: int = 0
    rows_rejected: int = 0
    rows_superseded: int = 0
    rows_merged: int = 0
    superseded_within: int = 0
    merged_within: int = 0


_Content = tuple[str, str | None]
"""Hash and ending of a file: what it gives depends on nothing else."""


@dataclass(slots=True)
class Plan:
    """What becomes of the files.

    ``to_read``: files to read. ``kept`` and ``noted``: rows of ``source_files`` that stay, and new ones. ``gone``:
    sources whose rows go. ``loaded``: name of the file that is loaded with a content.
    """

    to_read: list[tuple[FoundFile, SourceFile]] = field(default_factory=list)
    kept: list[SourceFile] = field(default_factory=list)
    noted: list[SourceFile] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    loaded: dict[_Content, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """A load of bronze, from the plan to the record.

    ``before``: what was recorded until now. ``settings``: fingerprint of how files are read. ``is_settled``: whether
    the tables leave out whom they have to.
    """

    plan: Plan
    before: Sequence[SourceFile]
    layouts: tuple[Layout, ...]
    settings: str
    forgotten: Forgotten
    is_settled: bool
    folder: Path

    @property
    def files(self) -> list[SourceFile]:
        """What is to be recorded of all files."""
        return [*self.plan.kept, *self.plan.noted]

    @property
    def fresh(self) -> list[str]:
        """Sources that were just read."""
        return [file.source_file for file in self.plan.noted if file.status == "loaded"]

    @property
    def stale(self) -> list[str]:
        """Sources that cannot be read anew and keep the rows of their last good version."""
        kept = [file for file in self.plan.kept if file.status == "loaded"]
        return [file.source_file for file in kept if file.settings != self.settings]

    @property
    def cancelling(self) -> list[str]:
        """Sources whose returns are cancellations that have to be matched."""
        layouts = {online_retail.LAYOUT.name, *(known.name for known in self.layouts if known.cancels)}
        return [file.source_file for file in self.files if file.layout in layouts]

    def read(self, read_one: Callable[[FoundFile, SourceFile], list[SourceFile]]) -> None:
        """Read the files of the plan, each whole or not at all, and note what became of them.

        Parameters
        ----------
        read_one
            Reads a file; returns a row for each of its sheets, or raises `UnusableFile`.
        """
        _read_all(self.plan, self.before, read_one)

    def finish(self, backend: Backend) -> None:
        """Record who was left out; refuse a load that leaves no order line.

        Raises
        ------
        NoUsableRows
            If there is none, and not because the last customer was forgotten.
        """
        record_versions(backend, {_WITHOUT: self.forgotten.digest})
        if not backend.con.execute(_ANY_LINE).fetchone():
            raise NoUsableRows(_why_nothing(self.folder, self.files))


def ingest(
    backend: Backend,
    folder: Path,
    now: datetime,
    layout: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    forgotten: Forgotten = _NOBODY,
    least_rows_kept: float = 0.0,
) -> bool:
    """Bring bronze in step with the source folder; return whether anything changed.

    Rows of customers who are forgotten are refused, and their text is not kept.

    Parameters
    ----------
    now
        Moment to record (UTC).
    layout
        The only layout of all files; None where each is recognised.
    limits
        What a file may take before it is refused.
    least_rows_kept
        Share of the order lines before that have to be there afterwards.

    Raises
    ------
    ContractBroken
        If a table would break its contract or lose too many rows; the tables stay as they were.
    NoUsableRows
        If the folder gives no order line; the tables stay as they were.
    mapping.BadMapping
        If ``source.yaml`` or the configured layout cannot be used.
    """
    _drop_incoming(backend)  # a run that was killed leaves what it had read
    refuse_other_engine(backend, "duckdb")
    load = plan_load(backend, folder, now, layout, limits, forgotten)
    if load is None:
        return False
    create_incoming(backend)
    try:
        load.read(lambda file, note: read_file(backend, file, load.layouts, note, limits, forgotten))
        _log.info("putting what was read into the tables and comparing them with their contracts")
        # whoever is forgotten goes, even if nobody is left
        with accepted(backend, WRITTEN, least_rows_kept, may_be_empty=() if load.is_settled else [ORDER_LINES]):
            _put_in(backend, load)
            settle(backend, load)
            record_files(backend, load.files)
            load.finish(backend)
    finally:
        _drop_incoming(backend)
        for name in ("repeated_rows", "combined_lines"):
            backend.con.execute(f"drop table if exists {name}")
    return True


def plan_load(
    backend: Backend,
    folder: Path,
    now: datetime,
    layout: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    forgotten: Forgotten = _NOBODY,
) -> Load | None:
    """Look at the source folder and at what is recorded; None where bronze is in step with it.

    Raises
    ------
    NoUsableRows, mapping.BadMapping
        As for `ingest`.
    """
    if problem := folder_problem(folder):
        raise NoUsableRows(problem)
    layouts = layouts_for(folder, layout, limits)
    without = [forgotten.digest] if forgotten.customers else []
    settings = fingerprint(READER_VERSION, *(repr(replace(known, refine=None)) for known in layouts), *without)
    before = _recorded(backend)
    plan = _plan(folder, before, settings, now, limits)
    is_settled = (table_version(backend, _WITHOUT) or "") == forgotten.digest
    if is_settled and not plan.to_read and not plan.gone and {*plan.kept, *plan.noted} == set(before):
        if not any(file.status == "loaded" for file in before):
            raise NoUsableRows(_why_nothing(folder, [*plan.kept, *plan.noted]))
        return None
    return Load(plan, before, tuple(layouts), settings, forgotten, is_settled, folder)


def bronze_version(backend: Backend) -> str:
    """Fingerprint of the content of bronze: the loaded files and how they were read."""
    files = [file for file in _recorded(backend) if file.status == "loaded"]
    without = [found] if (found := table_version(backend, _WITHOUT)) else []
    return fingerprint(*(f"{file.source_file}:{file.content_hash}:{file.settings}" for file in files), *without)


def _why_nothing(folder: Path, files: Sequence[SourceFile]) -> str:
    if not files:
        return (
            f"There is no file in the source folder {folder}: put .csv, .csv.gz, .parquet or .xlsx files there, or set "
            "CLUSTERING_SOURCE_DIR to where they are."
        )
    reasons = [f"{file.source_file} {file.reason}" for file in files if file.status == "unusable"]
    empty = [f"{file.source_file} has no row that can be kept" for file in files if file.status == "loaded"]
    listed = "; ".join([*reasons, *empty][:5]) or "no file is .csv, .csv.gz, .parquet or .xlsx"
    return f"No usable order line in the source folder {folder}: {listed}."


def _recorded(backend: Backend) -> list[SourceFile]:
    if not has_table(backend, FILE_STATE):
        return []
    joined = table(backend, SOURCE_FILES).inner_join(table(backend, FILE_STATE), list(FILE_STATE.key))
    rows = joined.order_by("source_file", "content_hash").to_pyarrow().to_pylist()
    return [SourceFile(**row) for row in rows]


def _plan(folder: Path, before: Sequence[SourceFile], settings: str, now: datetime, limits: Limits) -> Plan:
    plan = Plan()
    known: dict[str, list[SourceFile]] = {}
    for row in before:
        known.setdefault(row.path, []).append(row)
    awaited: set[_Content] = set()
    closed: list[str] = []
    for file in find_files(folder):
        rows = known.pop(file.name, [])
        last_good = _last_good(rows)
        note = _note(file, settings, now)
        if file.problem:
            closed.append(f"{file.name}/")
        elif file.ending is None:
            plan.noted.append(_same_or_new(rows, replace(note, reason="is no .csv, .csv.gz, .parquet or .xlsx file")))
            continue
        try:
            check_place(file, folder, limits)
            digest = _known_hash(rows, note) or content_hash(file, limits)
        except UnusableFile as problem:
            plan.noted.append(_same_or_new(rows, _unusable(note, problem, last_good)))
            plan.kept += last_good
            continue
        note = replace(note, content_hash=digest)
        content = (digest, file.ending)
        current = [row for row in rows if (row.content_hash, row.settings) == (digest, settings)]
        statuses = {row.status for row in current} if content not in awaited else set()
        if content in plan.loaded:
            plan.noted.append(_same_or_new(rows, _duplicate(note, plan.loaded[content])))
            plan.gone |= {row.source_file for row in last_good}
        elif "loaded" in statuses:
            plan.kept += [replace(row, stamp=note.stamp) for row in current]
            plan.loaded[content] = file.name
        elif "unusable" in statuses:
            plan.kept += [*(replace(row, stamp=note.stamp) for row in current), *last_good]
        else:
            plan.to_read.append((file, note))
            awaited.add(content)
    for path, rows in known.items():
        if path.startswith(tuple(closed)):
            plan.kept += rows
        else:
            plan.gone |= {row.source_file for row in rows}
    return plan


def _note(file: FoundFile, settings: str, now: datetime) -> SourceFile:
    return SourceFile(
        file.name,
        content_hash="",
        size_bytes=file.size,
        status="ignored",
        reason="",
        path=file.name,
        stamp=str(file.stamp),
        settings=settings,
        loaded_at=now,
    )


def _duplicate(note: SourceFile, first: str) -> SourceFile:
    reason = f"has the same content as {first}, which is loaded: delete one of the two"
    return replace(note, status="duplicate", reason=reason)


def _unusable(note: SourceFile, problem: Exception, last_good: Sequence[SourceFile]) -> SourceFile:
    stays = "; the rows of its last good version stay" if last_good else ""
    return replace(note, status="unusable", reason=f"{problem}{stays}")


def _last_good(rows: Sequence[SourceFile]) -> list[SourceFile]:
    """Rows of the version of a file that is loaded, sheets that were ignored included."""
    loaded = {row.content_hash for row in rows if row.status == "loaded"}
    return [row for row in rows if row.content_hash in loaded]


def _known_hash(rows: Sequence[SourceFile], note: SourceFile) -> str:
    """Hash of a file that was not touched since; a file that could not be read then is looked at again."""
    return next((row.content_hash for row in rows if row.stamp == note.stamp), "")


def _same_or_new(rows: Sequence[SourceFile], note: SourceFile) -> SourceFile:
    """Let a row stand as it is, its time included, when nothing about the file changed."""
    return next((row for row in rows if replace(row, loaded_at=note.loaded_at) == note), note)


# ------------------------------------------------------------------------------------------------------------ reading


def _drop_incoming(backend: Backend) -> None:
    for contract in READ:
        backend.con.execute(f"drop table if exists {INCOMING}{contract.name}")


def create_incoming(backend: Backend) -> None:
    """Make the empty tables that `read_file` fills, one for each of `READ`."""
    for contract in READ:
        columns = ", ".join(f'"{column.name}" {SQL_TYPES[column.type]}' for column in contract.columns)
        backend.con.execute(f"create or replace table {INCOMING}{contract.name} ({columns})")


def _read_all(
    plan: Plan, before: Sequence[SourceFile], read_one: Callable[[FoundFile, SourceFile], list[SourceFile]]
) -> None:
    count = len(plan.to_read)
    megabytes = sum(note.size_bytes for _, note in plan.to_read) / 1e6
    _log.info("%s of %s files are to be read, %.1f MB", f"{count:,}", f"{len(plan.kept) + count:,}", megabytes)
    for place, (file, note) in enumerate(plan.to_read, 1):
        older = [row for row in before if row.path == file.name]
        last_good: list[SourceFile] = []
        content = (note.content_hash, file.ending)
        if content in plan.loaded:
            plan.noted.append(_duplicate(note, plan.loaded[content]))
        else:
            try:
                plan.noted += read_one(file, note)
                plan.loaded[content] = file.name
            except UnusableFile as problem:
                if isinstance(problem, UnreadableNow):
                    note = replace(note, content_hash="")
                last_good = [row for row in _last_good(older) if row.content_hash != note.content_hash]
                plan.noted.append(_unusable(note, problem, last_good))
                plan.kept += last_good
        plan.gone |= {row.source_file for row in older} - {row.source_file for row in last_good}
        if place * _SAYINGS // count > (place - 1) * _SAYINGS // count:
            rows = sum(noted.rows_read for noted in plan.noted)
            _log.info("read %s of %s files, %s rows", f"{place:,}", f"{count:,}", f"{rows:,}")


def read_file(
    backend: Backend,
    file: FoundFile,
    layouts: Sequence[Layout],
    note: SourceFile,
    limits: Limits,
    forgotten: Forgotten,
) -> list[SourceFile]:
    """Read a file into the incoming tables, whole or not at all; return a row for each of its sheets.

    Raises
    ------
    UnusableFile
        If it cannot be read, or changed meanwhile.
    """
    problem: UnusableFile | None = None
    notes: list[SourceFile] = []
    try:
        with closing(read_rows(backend.con, file, layouts, limits)) as sheets:
            notes = [_load(backend, sheet, note, forgotten) for sheet in sheets]
    except UnusableFile as error:
        problem = error
    except (duckdb.Error, OSError, MemoryError) as error:
        if is_disk_full(error):
            raise
        problem = UnreadableNow(f"could not be read ({in_short(error)}): run again")
    if stamp(file.path) != file.stamp:
        problem = UnreadableNow("changed while it was read: run again when it is complete")
    if problem:
        for contract in READ:
            backend.con.execute(
                f"delete from {INCOMING}{contract.name} where source_file = $1 or starts_with(source_file, $1 || '#')",
                [file.name],
            )
        raise problem
    return notes


def _load(backend: Backend, rows: RawRows | UnusableSheet, note: SourceFile, forgotten: Forgotten) -> SourceFile:
    """Sort the staged rows of one sheet into lines, cancellations and rejected rows."""
    if isinstance(rows, UnusableSheet):
        return replace(note, source_file=rows.source, reason=f"the sheet {rows.problem}")
    run = backend.con.execute
    written = conventions(backend.con, rows)
    _take_in_hand(backend)
    run(f"create or replace temp view candidates as {candidate_query(written, rows.layout.refine)}")
    if forgotten.customers:
        _refuse_forgotten(backend, candidate_query(written, rows.layout.refine), forgotten)
    fill = _Incoming(backend, rows.source, note.loaded_at)
    lines = fill.insert(ORDER_LINES, "select * from candidates where fate = 'line'")
    superseded = merged = 0
    if rows.unparsable:
        fill.insert(
            REJECTED_ROWS,
            f"""select source_row, 'UNPARSABLE: ' || problem as reason, coalesce(raw_text, '') as raw_text
                from {RAW_REJECTS}""",
        )
    if lines < rows.rows:
        rejected = "select * rename (rejection as reason) from candidates where fate = 'rejected'"
        cancelling = rows.rows - lines - fill.insert(REJECTED_ROWS, rejected)
        superseded = cancelling - fill.insert(CANCELLATIONS, _cancellation_query()) if cancelling else 0
    if repeated := _take_out_repeats(backend, rows.source):
        _take_in_hand(backend, "semi join repeated_rows using (source_row)")
        run(f"create or replace temp table combined_lines as {_combined_query(rows.layout.repeats)}")
        merged = int(run("select sum(merged) from combined_lines").fetchall()[0][0])
        superseded += repeated - merged - fill.insert(ORDER_LINES, "select * from combined_lines")
    return replace(
        note,
        source_file=rows.source,
        status="loaded",
        layout=rows.layout.name,
        reason=", ".join(filter(None, [rows.how, written.in_words])),
        rows_read=rows.rows + rows.unparsable,
        superseded_within=superseded,
        merged_within=merged,
    )


def _refuse_forgotten(backend: Backend, candidates: str, forgotten: Forgotten) -> None:
    """Refuse the candidates of customers who are forgotten, and blank what else names one of them."""
    run = backend.con.execute
    find_forgotten(backend, "select customer_id as text from candidates", forgotten)
    run("create or replace temp table refused_customers as from forgotten_texts")
    unkept = f"""select raw_text from candidates where fate <> 'line' and raw_text is not null
                 union all select raw_text from {RAW_REJECTS}"""
    find_forgotten(backend, f"select unnest({ID_TOKENS}) as text from ({unkept})", forgotten)
    is_named = f"list_has_any({ID_TOKENS}, (select list(text) from forgotten_texts))"
    run(f"create or replace temp table naming_texts as select distinct raw_text from ({unkept}) where {is_named}")
    run(f"""update {RAW_REJECTS} set raw_text = '', problem = 'it names a customer who asked to be forgotten'
            where raw_text in (from naming_texts)""")
    run(
        f"""create or replace temp view candidates as
            select * exclude (is_refused) replace (
                if(is_refused, 'rejected', fate) as fate,
                if(is_refused, '{_FORGOTTEN}', rejection) as rejection,
                if(is_refused or raw_text in (from naming_texts), '', raw_text) as raw_text)
            from (select *, coalesce(customer_id in (from refused_customers), false) as is_refused
                  from ({candidates}))"""
    )


def _take_in_hand(backend: Backend, condition: str = "") -> None:
    """Choose the staged rows that the view ``candidates`` is made of."""
    backend.con.execute(f"create or replace temp view raw_in_hand as select * from {NUMBERED_ROWS} {condition}")


@dataclass(frozen=True, slots=True)
class _Incoming:
    """The tables that the rows of one sheet go to."""

    backend: Backend
    source: str
    now: datetime

    def insert(self, contract: TableContract, query: str) -> int:
        """Insert the result of a query, without what stands beside the columns of the contract; return its rows."""
        source, now = self.source.replace("'", "''"), self.now.isoformat()
        known = {"source_file": f"'{source}'", "ingested_at": f"timestamp '{now}'"}
        columns = ", ".join(f"{known[name]} as {name}" if name in known else name for name in contract.column_names)
        inserted = self.backend.con.execute(f"insert into {INCOMING}{contract.name} select {columns} from ({query})")
        return int(inserted.fetchall()[0][0])


def _take_out_repeats(backend: Backend, source: str) -> int:
    """Move the rows of the lines whose key occurs more than once to ``repeated_rows``; return how many there are.

    Only they go through the rules. They are found by a hash of the key, which takes a sixth of the time of comparing
    the keys; rows whose hashes merely collide come out of the rules unchanged.
    """
    run = backend.con.execute
    lines, is_of_source = f"{INCOMING}{ORDER_LINES.name}", "source_file = $1"
    created = run(
        f"""create or replace temp table repeated_rows as
            select source_row from {lines} where {is_of_source} and hash({_KEY}) in (
                select hash({_KEY}) from {lines} where {is_of_source} group by 1 having count(*) > 1)""",
        [source],
    )
    repeated = int(created.fetchall()[0][0])
    if repeated:
        run(f"delete from {lines} where {is_of_source} and source_row in (from repeated_rows)", [source])
    return repeated


@cache
def _combined_query(rule: Repeats) -> str:
    lines = CANDIDATES.filter(CANDIDATES.fate == "line")
    return str(ibis.to_sql(repeats.combined(repeats.without_exact_repeats(lines), rule), dialect="duckdb"))


@cache
def _cancellation_query() -> str:
    """Cancellations of a sheet without exact repeats; what becomes of them is settled when all files are there."""
    distinct = repeats.without_exact_repeats(CANDIDATES.filter(CANDIDATES.fate == "cancellation"))
    booked = distinct.mutate(
        quantity=-distinct.signed_quantity,
        cancelled_at=distinct.order_date,
        matched_quantity=ibis.literal(0),
        outcome=ibis.literal(""),
    )
    return str(ibis.to_sql(booked, dialect="duckdb"))


# ----------------------------------------------------------------------------------------------------------- applying


def _put_in(backend: Backend, load: Load) -> None:
    """Take out what is gone and put in what is new."""
    if not has_table(backend, SUPERSEDED_LINES):
        replace_table(backend, SUPERSEDED_LINES, backend.table("incoming_order_lines", database="bronze").limit(0))
    for contract in READ:
        _move_in(backend, contract, load.plan.gone)
    _delete(backend, SUPERSEDED_LINES, load.plan.gone)


def settle(backend: Backend, load: Load) -> None:
    """Settle what depends on the rows of all files together.

    All of it is between rows of one customer: rows of some customers can be settled without those of the others.
    """
    stale = load.stale
    if load.forgotten.customers and stale:
        _forget_in(backend, stale, load.forgotten)
    _settle_keys(backend, load.fresh)
    _settle_cancellations(backend, load.cancelling)


def _move_in(backend: Backend, contract: TableContract, gone: set[str]) -> None:
    """Where nothing of the old table stays, the new one takes its place without being copied."""
    name, incoming = contract.qualified_name, f"{INCOMING}{contract.name}"
    if has_table(backend, contract):
        _delete(backend, contract, gone)
        if backend.con.execute(f"select 1 from {name} limit 1").fetchone():
            backend.con.execute(f"insert into {name} by name select * from {incoming}")
            return
        backend.con.execute(f"drop table {name}")
    backend.con.execute(f"alter table {incoming} rename to {contract.name}")
    describe_table(backend, contract)


def _forget_in(backend: Backend, source_files: Sequence[str], forgotten: Forgotten) -> None:
    """Refuse rows of customers who are forgotten in files that cannot be read anew; their last good version stays."""
    run = backend.con.execute
    rejected, names = REJECTED_ROWS.qualified_name, {"files": list(source_files)}
    of_these = "source_file in (select unnest($files::varchar[]))"
    tables = [contract.qualified_name for contract in (ORDER_LINES, SUPERSEDED_LINES, CANCELLATIONS)]
    find_forgotten(backend, " union ".join(f"select customer_id as text from {name}" for name in tables), forgotten)
    for name in tables:
        is_theirs = f"{of_these} and customer_id in (from forgotten_texts)"
        run(
            f"""insert into {rejected} by name
                select source_file, source_row, '{_FORGOTTEN}' as reason, '' as raw_text
                from {name} where {is_theirs}""",
            names,
        )
        run(f"delete from {name} where {is_theirs}", names)
    for name in (rejected, CANCELLATIONS.qualified_name):
        find_forgotten(backend, f"select unnest({ID_TOKENS}) as text from {name}", forgotten)
        named = f"list_has_any({ID_TOKENS}, (select list(text) from forgotten_texts))"
        run(f"update {name} set raw_text = '' where {of_these} and {named}", names)


def _delete(backend: Backend, contract: TableContract, source_files: set[str]) -> None:
    if source_files:
        backend.con.execute(
            f"delete from {contract.qualified_name} where source_file in (select unnest($1))", [sorted(source_files)]
        )


def _settle_keys(backend: Backend, fresh: Sequence[str]) -> None:
    """Of the lines that several files have, that of the last file counts and the others wait.

    Only keys of files that were just read can have come into dispute: the keys of one file are different from each
    other, and those of the files before are settled.
    """
    lines, waiting = ORDER_LINES.qualified_name, SUPERSEDED_LINES.qualified_name
    run = backend.con.execute
    run(f"create or replace temp table contested_keys as select distinct hash({_KEY}) as key_hash from {waiting}")
    is_fresh = "source_file in (select unnest($1::varchar[]))"
    if run(f"select min(source_file) < max(source_file) from {lines}").fetchall() == [(True,)]:
        run(
            f"""insert into contested_keys
                with fresh as materialized (select order_id, hash({_KEY}) as key_hash from {lines} where {is_fresh})
                select key_hash from fresh group by 1 having count(*) > 1
                union select hash({_KEY}) from {lines}
                where not {is_fresh} and order_id in (select order_id from fresh)
                    and hash({_KEY}) in (select key_hash from fresh)""",
            [list(fresh)],
        )
    if run("select 1 from contested_keys limit 1").fetchone():
        is_contested = f"hash({_KEY}) in (select key_hash from contested_keys)"
        run(
            f"""create or replace temp table contested_lines as
                select *, row_number() over (partition by {_KEY} order by source_file desc) as place from (
                    select * from {lines} where {is_contested} union all by name select * from {waiting})"""
        )
        run(f"delete from {lines} where {is_contested}")
        run(f"delete from {waiting}")
        run(f"insert into {lines} by name select * exclude (place) from contested_lines where place = 1")
        run(f"insert into {waiting} by name select * exclude (place) from contested_lines where place > 1")
        run("drop table contested_lines")
    run("drop table contested_keys")


def _settle_cancellations(backend: Backend, files: Sequence[str]) -> None:
    """Match all cancellations anew to all purchases of the files that have some."""
    lines, booked = table(backend, ORDER_LINES), table(backend, CANCELLATIONS)
    run = backend.con.execute
    rejected = REJECTED_ROWS.qualified_name
    run(f"delete from {rejected} where starts_with(reason, '{_UNMATCHED}')")
    for contract in (ORDER_LINES, SUPERSEDED_LINES):
        run(
            f"""update {contract.qualified_name} set return_quantity = 0, return_date = null
                where return_quantity > 0 and source_file in (select unnest($1::varchar[]))""",
            [list(files)],
        )
    if not run(f"select 1 from {CANCELLATIONS.qualified_name} limit 1").fetchone():
        return
    last = booked.mutate(last_file=booked.source_file.max().over(group_by=list(repeats.KEY)))
    standing = last.filter(last.source_file == last.last_file).drop("last_file")
    matches = match(lines.filter(lines.source_file.isin(list(files))), standing)
    run(f"create or replace temp table matched_returns as {backend.compile(matches.returns)}")
    run(f"create or replace temp table matched_cancellations as {backend.compile(matches.matched)}")
    run(
        f"""update {ORDER_LINES.qualified_name} as l
            set return_quantity = r.return_quantity, return_date = r.return_date from matched_returns r
            where (l.order_id, l.customer_id, l.sku) = (r.order_id, r.customer_id, r.sku)"""
    )
    found = backend.table("matched_cancellations")
    settled = last.left_join(found, ["source_file", "source_row"])
    units = ibis.ifelse(settled.source_file == settled.last_file, found.matched_quantity.fill_null(0), 0)
    settled = settled.select(
        *[name for name in CANCELLATIONS.column_names if name not in ("matched_quantity", "outcome")],
        matched_quantity=units,
        outcome=ibis.cases(
            (settled.source_file != settled.last_file, "superseded"),
            (units == settled.quantity, "matched"),
            (units > 0, "partly matched"),
            else_="unmatched",
        ),
    )
    run(f"create or replace temp table settled_cancellations as {backend.compile(settled)}")
    replace_table(backend, CANCELLATIONS, backend.table("settled_cancellations"))
    run(
        f"""insert into {rejected} by name
            select source_file, source_row, raw_text,
                   '{_UNMATCHED}: no earlier purchase of the SKU by the customer has units left' as reason
            from {CANCELLATIONS.qualified_name} where outcome = 'unmatched'"""
    )
    for name in ("matched_returns", "matched_cancellations", "settled_cancellations"):
        run(f"drop table {name}")


def record_files(backend: Backend, files: Sequence[SourceFile]) -> None:
    """Write the tables that have a row per file, with what became of its rows, counted in the tables themselves."""

    def counted(contract: TableContract, condition: str = "true") -> Counter[str]:
        query = f"select source_file, count(*) from {contract.qualified_name} where {condition} group by 1"
        return Counter(dict(backend.con.execute(query).fetchall()))

    kept, rejected, waiting = counted(ORDER_LINES), counted(REJECTED_ROWS), counted(SUPERSEDED_LINES)
    superseded = counted(CANCELLATIONS, "outcome = 'superseded'")
    merged = counted(CANCELLATIONS, "outcome in ('matched', 'partly matched')")
    rows = [
        file
        if file.status != "loaded"
        else replace(
            file,
            rows_kept=kept[file.source_file],
            rows_rejected=rejected[file.source_file],
            rows_superseded=file.superseded_within + waiting[file.source_file] + superseded[file.source_file],
            rows_merged=file.merged_within + merged[file.source_file],
        )
        for file in sorted(files, key=lambda file: (file.source_file, file.content_hash))
    ]
    for contract in (SOURCE_FILES, FILE_STATE):
        columns = {name: [getattr(row, name) for row in rows] for name in contract.column_names}
        replace_table(backend, contract, pa.table(columns))
