"""What became of the rows and files of the source folder, in figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clustering_assets.contracts import CANCELLATIONS, REJECTED_ROWS, SOURCE_FILES
from clustering_assets.warehouse import has_table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

SHOWN_FILES = 100
"""Most files that a list of accounts has, those with something to say first."""


def totals(backend: Backend) -> dict[str, int]:
    """Rows and files over the whole source folder: files by status, rows read, kept, rejected, superseded, merged."""
    rows = ("rows_read", "rows_kept", "rows_rejected", "rows_superseded", "rows_merged")
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in rows)
    statuses = ("loaded", "duplicate", "unusable", "ignored")
    files = ", ".join(f"count(*) filter (status = '{status}') as files_{status}" for status in statuses)
    return _records(backend, f"select {sums}, {files} from {SOURCE_FILES.qualified_name}")[0]


def newest_content(backend: Backend) -> datetime | None:
    """Return when the newest content that is loaded was read (UTC), None without any; a touched file is not new."""
    newest: datetime | None = _records(
        backend, f"select max(loaded_at) as newest from {SOURCE_FILES.qualified_name} where status = 'loaded'"
    )[0]["newest"]
    return newest and newest.replace(tzinfo=UTC)


def file_accounts(backend: Backend) -> list[dict[str, Any]]:
    """The account of each file, at most ``SHOWN_FILES`` of them."""
    return _records(
        backend,
        f"""select source_file, coalesce(layout, '') as layout, status, reason,
                   rows_read, rows_kept, rows_rejected, rows_superseded, rows_merged
            from {SOURCE_FILES.qualified_name}
            order by status = 'loaded', reason = '', source_file limit {SHOWN_FILES}""",
    )


def files_to_look_at(backend: Backend) -> list[str]:
    """One sentence for each file that is unusable or a duplicate."""
    found = _records(
        backend,
        f"""select source_file || ' ' || reason as sentence from {SOURCE_FILES.qualified_name}
            where status in ('unusable', 'duplicate') order by source_file""",
    )
    return [str(row["sentence"]) for row in found]


def rejections_by_code(backend: Backend) -> dict[str, int]:
    """How many rows were rejected for which reason, as ``rejected_<code>``."""
    found = _records(
        backend,
        f"""select lower(split_part(reason, ':', 1)) as code, count(*) as rows from {REJECTED_ROWS.qualified_name}
            group by 1 order by 2 desc""",
    )
    return {f"rejected_{row['code']}": int(row["rows"]) for row in found}


def cancellation_outcomes(backend: Backend) -> dict[str, int]:
    """How many cancellations found their purchase, as ``cancellations_<outcome>``; empty where there are none."""
    if not has_table(backend, CANCELLATIONS):
        return {}
    found = _records(
        backend, f"select outcome, count(*) as rows from {CANCELLATIONS.qualified_name} group by 1 order by 1"
    )
    return {f"cancellations_{str(row['outcome']).replace(' ', '_')}": int(row["rows"]) for row in found}


def _records(backend: Backend, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = backend.con.execute(query).to_arrow_table().to_pylist()
    return rows
