"""Loading bronze: what changed in the source folder is read, the rest stays as it is.

New and changed files are read into tables of their own first; then everything changes in one transaction. The outcome
depends on the files in the folder alone, not on the order in which they came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from clustering_assets.contracts import (
    CANCELLATIONS,
    FILE_STATE,
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    TableContract,
)
from clustering_assets.sources import online_retail, repeats
from clustering_assets.sources.cancellations import match
from clustering_assets.sources.files import FoundFile, UnusableFile, content_hash, find_files
from clustering_assets.sources.layout import Layout
from clustering_assets.sources.mapping import layouts_for
from clustering_assets.sources.reading import NUMBERED_ROWS, RAW_REJECTS, RawRows, read_rows
from clustering_assets.sources.values import candidate_lines, conventions
from clustering_assets.versions import fingerprint
from clustering_assets.warehouse import describe_table, has_table, in_contract_types, replace_table, table, transaction

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

READER_VERSION = "1"
"""Raise it when the same file would give other rows than before: all files are read again then."""

_KEY = ", ".join(repeats.KEY)
_INCOMING = "bronze.incoming_"
_TABLES = (ORDER_LINES, REJECTED_ROWS, CANCELLATIONS)
_UNMATCHED = "UNMATCHED_CANCELLATION"


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


@dataclass(slots=True)
class _Plan:
    """Files to read, rows of ``source_files`` that stay, paths whose rows go, and those that cannot be read."""

    to_read: list[tuple[FoundFile, str]] = field(default_factory=list)
    kept: list[SourceFile] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    noted: list[SourceFile] = field(default_factory=list)


def ingest(backend: Backend, folder: Path, now: datetime, layout: str | None = None) -> bool:
    """Bring bronze in step with the source folder; return whether anything changed.

    Raises
    ------
    NoUsableRows
        If the folder gives no order line; the tables stay as they were.
    mapping.BadMapping
        If ``source.yaml`` or the configured layout cannot be used.
    """
    if not folder.is_dir():
        raise NoUsableRows(f"The source folder {folder} does not exist: create it or set CLUSTERING_SOURCE_DIR.")
    layouts = layouts_for(folder, layout)
    settings = fingerprint(READER_VERSION, *(repr(replace(known, refine=None)) for known in layouts))
    before = _recorded(backend)
    plan = _plan(folder, before, settings, now)
    if not plan.to_read and not plan.gone and {*plan.kept, *plan.noted} == set(before):
        if not any(file.status == "loaded" for file in before):
            raise NoUsableRows(_why_nothing(folder, plan.noted))
        return False
    _create_incoming(backend)
    try:
        _read_all(backend, plan, before, layouts, settings, now)
        with transaction(backend):
            _apply(backend, plan)
            if not backend.con.execute(f"select 1 from {ORDER_LINES.qualified_name} limit 1").fetchone():
                raise NoUsableRows(_why_nothing(folder, [*plan.kept, *plan.noted]))
    finally:
        for contract in _TABLES:
            backend.con.execute(f"drop table if exists {_INCOMING}{contract.name}")
    return True


def bronze_version(backend: Backend) -> str:
    """Fingerprint of the content of bronze: the loaded files and how they were read."""
    files = [file for file in _recorded(backend) if file.status == "loaded"]
    return fingerprint(*(f"{file.source_file}:{file.content_hash}:{file.settings}" for file in files))


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


def _plan(folder: Path, before: Sequence[SourceFile], settings: str, now: datetime) -> _Plan:
    plan = _Plan()
    known: dict[str, list[SourceFile]] = {}
    for row in before:
        known.setdefault(row.path, []).append(row)
    first_with: dict[str, str] = {}
    for file in find_files(folder):
        rows = known.pop(file.name, [])
        note = SourceFile(
            file.name, "", file.size, "ignored", "", path=file.name, stamp=str(file.stamp), settings=settings, loaded_at=now
        )
        if file.format is None:
            plan.noted.append(_same_or_new(rows, replace(note, reason="is no .csv, .csv.gz, .parquet or .xlsx file")))
            continue
        try:
            digest = _known_hash(rows, note) or content_hash(file, folder)
        except UnusableFile as problem:
            plan.noted.append(_same_or_new(rows, replace(note, status="unusable", reason=str(problem))))
            plan.kept += [row for row in rows if row.status == "loaded"]
            continue
        note = replace(note, content_hash=digest)
        if digest in first_with:
            reason = f"has the same content as {first_with[digest]}, which is loaded: delete one of the two"
            plan.noted.append(_same_or_new(rows, replace(note, status="duplicate", reason=reason)))
            plan.gone |= {row.source_file for row in rows if row.status == "loaded"}
            continue
        first_with[digest] = file.name
        current = [row for row in rows if row.content_hash == digest and row.settings == settings]
        if current and current[0].status in ("loaded", "unusable"):
            older = [row for row in rows if row not in current]
            plan.kept += [replace(row, stamp=note.stamp) for row in current] + older
        else:
            plan.to_read.append((file, digest))
    plan.gone |= {row.source_file for rows in known.values() for row in rows}
    return plan


def _known_hash(rows: Sequence[SourceFile], note: SourceFile) -> str:
    """Hash of a file that was not touched since; a file that could not be read then is looked at again."""
    return next((row.content_hash for row in rows if row.stamp == note.stamp), "")


def _same_or_new(rows: Sequence[SourceFile], note: SourceFile) -> SourceFile:
    """Let a row stand as it is, its time included, when nothing about the file changed."""
    return next((row for row in rows if replace(row, loaded_at=note.loaded_at) == note), note)


# ------------------------------------------------------------------------------------------------------------ reading


def _create_incoming(backend: Backend) -> None:
    for contract in _TABLES:
        columns = ", ".join(f'"{column.name}" {_SQL_TYPES[column.type]}' for column in contract.columns)
        backend.con.execute(f"create or replace table {_INCOMING}{contract.name} ({columns})")


_SQL_TYPES = {"string": "varchar", "int64": "bigint", "float64": "double", "timestamp": "timestamp"}


def _insert(backend: Backend, name: str, contract: TableContract, rows: ir.Table) -> None:
    backend.con.execute(f"insert into {name} by name {backend.compile(in_contract_types(contract, rows))}")


def _read_all(
    backend: Backend, plan: _Plan, before: Sequence[SourceFile], layouts: Sequence[Layout], settings: str, now: datetime
) -> None:
    for file, digest in plan.to_read:
        note = SourceFile(
            file.name, digest, file.size, "loaded", "", path=file.name, stamp=str(file.stamp), settings=settings, loaded_at=now
        )
        older = [row for row in before if row.path == file.name]
        loaded: list[SourceFile] = []
        try:
            for found in read_rows(backend.con, file, layouts):
                if isinstance(found, RawRows):
                    loaded.append(_load(backend, found, note))
                else:
                    sheet, problem = found
                    plan.noted.append(
                        replace(note, source_file=sheet, status="ignored", reason=f"the sheet {problem}")
                    )
        except UnusableFile as problem:
            last_good = [row for row in older if row.status == "loaded"]
            stays = "; the rows of its last good version stay" if last_good else ""
            plan.noted.append(replace(note, status="unusable", reason=f"{problem}{stays}"))
            plan.kept += last_good
        else:
            plan.noted += loaded
            plan.gone |= {row.source_file for row in older}


def _load(backend: Backend, rows: RawRows, note: SourceFile) -> SourceFile:
    """Sort the staged rows of one sheet into lines, cancellations and rejected rows."""
    raw = backend.table(NUMBERED_ROWS)
    written = conventions(raw, rows)

    def candidates(raw: ir.Table) -> ir.Table:
        return candidate_lines(raw, rows, written).mutate(
            source_file=ibis.literal(rows.source), ingested_at=ibis.literal(note.loaded_at)
        )

    found = Counter(_fates(backend, candidates(raw)))
    superseded = merged = 0
    if found["rejected"] or rows.unparsable:
        _reject(backend, candidates(raw), rows.source)
    if found["line"]:
        superseded, merged = _keep_lines(backend, raw, lambda raw: _of_fate(candidates(raw), "line"), rows)
    if found["cancellation"]:
        distinct = _keep_cancellations(backend, _of_fate(candidates(raw), "cancellation"), rows.source)
        superseded += found["cancellation"] - distinct
    return replace(
        note,
        source_file=rows.source,
        layout=rows.layout.name,
        reason=", ".join(filter(None, [rows.how, written.in_words])),
        rows_read=rows.rows + rows.unparsable,
        superseded_within=superseded,
        merged_within=merged,
    )


def _fate(candidates: ir.Table) -> ir.StringValue:
    return ibis.cases(
        (candidates.rejection.notnull(), "rejected"), (candidates.is_cancellation, "cancellation"), else_="line"
    )


def _fates(backend: Backend, candidates: ir.Table) -> dict[str, int]:
    counted = candidates.group_by(fate=_fate(candidates)).aggregate(rows=candidates.count())
    return dict(backend.con.execute(backend.compile(counted)).fetchall())


def _of_fate(candidates: ir.Table, fate: str) -> ir.Table:
    return candidates.filter(_fate(candidates) == fate)


def _reject(backend: Backend, candidates: ir.Table, source: str) -> None:
    target = f"{_INCOMING}{REJECTED_ROWS.name}"
    _insert(backend, target, REJECTED_ROWS, _of_fate(candidates, "rejected").rename(reason="rejection"))
    unparsable = backend.table(RAW_REJECTS)
    _insert(
        backend,
        target,
        REJECTED_ROWS,
        unparsable.mutate(
            source_file=ibis.literal(source),
            reason=ibis.literal("UNPARSABLE: ") + unparsable.problem,
            raw_text=unparsable.raw_text.fill_null(""),
        ),
    )


def _keep_lines(
    backend: Backend, raw: ir.Table, lines: Callable[[ir.Table], ir.Table], rows: RawRows
) -> tuple[int, int]:
    """Insert the lines of a sheet, one per key; return how many rows were superseded and merged.

    Only rows whose key occurs twice go through the rules. They are found by a hash of the key, which takes a sixth of
    the time of comparing the keys; rows whose hashes merely collide come out of the rules unchanged.
    """
    target = f"{_INCOMING}{ORDER_LINES.name}"
    keys = backend.compile(lines(raw).select(*repeats.KEY, "source_row"))
    backend.con.execute(
        f"""create or replace temp table repeated_rows as
            with keys as materialized (select hash({_KEY}) as key_hash, source_row from ({keys}))
            select source_row from keys
            where key_hash in (select key_hash from keys group by 1 having count(*) > 1)"""
    )
    repeated = backend.table("repeated_rows")
    repeated_count = int(repeated.count().execute())
    if repeated_count == 0:
        _insert(backend, target, ORDER_LINES, lines(raw))
        return 0, 0
    _insert(backend, target, ORDER_LINES, lines(raw.anti_join(repeated, "source_row")))
    result = repeats.combined(
        repeats.without_exact_repeats(lines(raw.semi_join(repeated, "source_row"))), rows.layout.repeats
    )
    backend.con.execute(f"create or replace temp table combined_lines as {backend.compile(result)}")
    combined = backend.table("combined_lines")
    _insert(backend, target, ORDER_LINES, combined)
    left, merged = backend.con.execute("select count(*), sum(merged) from combined_lines").fetchall()[0]
    for name in ("repeated_rows", "combined_lines"):
        backend.con.execute(f"drop table {name}")
    return repeated_count - left - int(merged), int(merged)


def _keep_cancellations(backend: Backend, cancellations: ir.Table, source: str) -> int:
    """Insert the cancellations of a sheet without exact repeats; return how many there are."""
    booked = cancellations.mutate(
        quantity=-cancellations.signed_quantity,
        cancelled_at=cancellations.order_date,
        matched_quantity=ibis.literal(0),
        outcome=ibis.literal(""),
    )
    target = f"{_INCOMING}{CANCELLATIONS.name}"
    _insert(backend, target, CANCELLATIONS, repeats.without_exact_repeats(booked))
    counted = backend.con.execute(f"select count(*) from {target} where source_file = $1", [source]).fetchall()
    return int(counted[0][0])


# ----------------------------------------------------------------------------------------------------------- applying


def _apply(backend: Backend, plan: _Plan) -> None:
    """Take out what is gone, put in what is new, and settle what depends on all files together."""
    if not has_table(backend, SUPERSEDED_LINES):
        replace_table(backend, SUPERSEDED_LINES, backend.table("incoming_order_lines", database="bronze").limit(0))
    for contract in _TABLES:
        _move_in(backend, contract, plan.gone)
    _delete(backend, SUPERSEDED_LINES, plan.gone)
    _settle_keys(backend)
    files = [*plan.kept, *plan.noted]
    _settle_cancellations(backend, [file.source_file for file in files if file.layout == online_retail.LAYOUT.name])
    _record(backend, files)


def _move_in(backend: Backend, contract: TableContract, gone: set[str]) -> None:
    """Where nothing of the old table stays, the new one takes its place without being copied."""
    name, incoming = contract.qualified_name, f"{_INCOMING}{contract.name}"
    if has_table(backend, contract):
        _delete(backend, contract, gone)
        if backend.con.execute(f"select 1 from {name} limit 1").fetchone():
            backend.con.execute(f"insert into {name} by name select * from {incoming}")
            return
        backend.con.execute(f"drop table {name}")
    backend.con.execute(f"alter table {incoming} rename to {contract.name}")
    describe_table(backend, contract)


def _delete(backend: Backend, contract: TableContract, source_files: set[str]) -> None:
    if source_files:
        backend.con.execute(
            f"delete from {contract.qualified_name} where source_file in (select unnest($1))", [sorted(source_files)]
        )


def _settle_keys(backend: Backend) -> None:
    """Of the lines that several files have, that of the last file counts and the others wait."""
    lines, waiting = ORDER_LINES.qualified_name, SUPERSEDED_LINES.qualified_name
    run = backend.con.execute
    run(
        f"""create or replace temp table contested_keys as
            select key_hash from (
                select hash({_KEY}) as key_hash, false as is_waiting from {lines}
                union all select hash({_KEY}), true from {waiting})
            group by 1 having count(*) > 1 or bool_or(is_waiting)"""
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
    run(
        f"""update {ORDER_LINES.qualified_name} set return_quantity = 0, return_date = null
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
                   '{_UNMATCHED}: no earlier purchase of ' || sku || ' by the customer has units left' as reason
            from {CANCELLATIONS.qualified_name} where outcome = 'unmatched'"""
    )
    for name in ("matched_returns", "matched_cancellations", "settled_cancellations"):
        run(f"drop table {name}")


def _record(backend: Backend, files: Sequence[SourceFile]) -> None:
    """Count what became of the rows of every file, in the tables themselves."""

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
