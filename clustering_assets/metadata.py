"""What the Dagster UI shows of a table: its spec, schema, column lineage and a preview without personal data."""

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from clustering_assets.contracts import ALL_TABLES, Column, TableContract
from clustering_assets.pseudonyms import one_time_key, pseudonym
from clustering_assets.warehouse import row_count

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

Sources = Mapping[str, Iterable[tuple[str, str]]]
"""Column -> (``layer.table``, column) pairs that it is made of."""

OWNERS = ["team:customer-analytics"]
NEWEST_CONTENT = "newest_content_read_at"
"""Metadata of bronze/order_lines: alerts read it, so that they need not open the warehouse."""

PREVIEW_ROWS = 5
PREVIEW_ID_CHARACTERS = 20
PREVIEW_CHARACTERS = 80
"""Of a text in a preview: a longer one, such as a curve as JSON, would stretch the row over pages."""

NAMED_ORIGINS = 9
"""Columns of one table that the description of a column names: silver is made of that many of an order line."""

_TABLE_OF_NAME = {contract.qualified_name: contract for contract in ALL_TABLES}


def asset_key(contract: TableContract) -> dg.AssetKey:
    """``layer/name``."""
    return dg.AssetKey([contract.layer, contract.name])


def table_spec(
    contract: TableContract,
    deps: Iterable[TableContract] = (),
    kinds: Iterable[str] = (),
    code_version: str = "1",
    sources: Sources | None = None,
) -> dg.AssetSpec:
    """Describe a table as an asset; its columns are made of what the contract names, or of ``sources``."""
    return dg.AssetSpec(
        asset_key(contract),
        deps=[asset_key(upstream) for upstream in deps],
        description=f"{contract.description}\n\n{contract.grain}.",
        group_name=contract.layer,
        kinds={"duckdb", "table", *kinds},
        owners=OWNERS,
        tags={"layer": contract.layer},
        code_version=code_version,
        metadata={
            "dagster/column_schema": column_schema(contract, sources or contract_lineage(contract)),
            "dagster/table_name": contract.qualified_name,
            "grain": contract.grain,
        },
    )


def column_schema(contract: TableContract, sources: Sources | None = None) -> dg.TableSchema:
    """The contract as a Dagster table schema; descriptions say what columns are made of where that is given."""
    made_of = sources or {}
    return dg.TableSchema(
        [
            _table_column(column, column.name in contract.key, made_of.get(column.name, ()))
            for column in contract.columns
        ]
    )


def _table_column(column: Column, in_key: bool = False, made_of: Iterable[tuple[str, str]] = ()) -> dg.TableColumn:
    said = [column.description]
    if column.unit:
        said.append(f"Unit: {column.unit}.")
    if column.imputation:
        said.append(f"Imputation: {column.imputation}.")
    if made_of:
        said.append(f"Made of {_origins(made_of)}.")
    bounds = {"at least": column.minimum, "at most": column.maximum}
    return dg.TableColumn(
        column.name,
        column.type,
        description=" ".join(said),
        constraints=dg.TableColumnConstraints(
            nullable=not column.required,
            unique=False,
            other=[f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
            + ([f"one of {', '.join(column.allowed)}"] if column.allowed else [])
            + ([f"found in {column.references}"] if column.references else [])
            + (["part of the key"] if in_key else []),
        ),
        tags={"group": column.group} if column.group else {},
    )


def _origins(made_of: Iterable[tuple[str, str]]) -> str:
    """Name columns; of a table that many come from, only how many."""
    of_table: dict[str, list[str]] = {}
    for upstream, name in sorted(made_of):
        of_table.setdefault(upstream, []).append(f"{upstream}.{name}")
    return ", ".join(
        f"{len(names)} columns of {upstream}" if len(names) > NAMED_ORIGINS else ", ".join(names)
        for upstream, names in of_table.items()
    )


def column_lineage(sources: Sources) -> dg.TableColumnLineage:
    """Turn what columns are made of into Dagster's column lineage; the UI draws none, so the schema says it too."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key(_TABLE_OF_NAME[upstream]), column) for upstream, column in sorted(deps)]
            for name, deps in sources.items()
            if deps
        }
    )


def contract_lineage(contract: TableContract) -> dict[str, list[tuple[str, str]]]:
    """Lineage of the columns whose contract names what they are made of."""
    return {
        column.name: [(upstream.rpartition(".")[0], upstream.rpartition(".")[2]) for upstream in column.source]
        for column in contract.columns
        if column.source
    }


def copied_lineage(contract: TableContract) -> dict[str, list[tuple[str, str]]]:
    """Lineage of a copy of a table: every column comes from the column of its name."""
    return {name: [(contract.qualified_name, name)] for name in contract.column_names}


def table_facts(backend: "Backend", contract: TableContract) -> dict[str, Any]:
    """Row count and a preview of a table, as metadata."""
    return {"dagster/row_count": row_count(backend, contract), "preview": _preview(backend, contract)}


def _preview(backend: "Backend", contract: TableContract) -> dg.TableMetadataValue:
    """Show the first rows. Customers have the pseudonyms of a key that nobody keeps.

    What an event log shows cannot be taken back, so it must not name anybody who is in the tables, not even by a
    pseudonym of theirs.
    """
    key = one_time_key()
    shown = [column for column in contract.columns if not column.personal or column.name == "customer_id"]
    columns = ", ".join(f'"{column.name}"' for column in shown)
    first = backend.con.execute(
        f"select {columns} from {contract.qualified_name} order by {', '.join(contract.key)} limit {PREVIEW_ROWS}"
    )
    records = []
    for row in first.to_arrow_table().to_pylist():
        if "customer_id" in row:
            row["customer_id"] = pseudonym(row["customer_id"], key)[:PREVIEW_ID_CHARACTERS]
        records.append(dg.TableRecord({name: _plain(value) for name, value in row.items()}))
    return dg.MetadataValue.table(records, dg.TableSchema([_table_column(column) for column in shown]))


def _plain(value: object) -> str | int | float | bool:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, str):
        return value if len(value) <= PREVIEW_CHARACTERS else f"{value[:PREVIEW_CHARACTERS]}…"
    return round(value, 6) if isinstance(value, float) else value if isinstance(value, int) else str(value)


_HARMLESS = re.compile(r"(?!\s|-|\d+[.)])(?:(?!www\.|://)[\w .,:;%/()'\"…-])*", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def verbatim(text: str) -> str:
    """Write text from outside, such as the name of a file, so that Markdown shows it as it is and does nothing else.

    Text in which Markdown could see anything goes into a code span, the one place where it reads neither marks nor
    HTML and makes no links; characters that nobody can see, or that turn the text around, become U+FFFD.
    """
    shown = _INVISIBLE.sub("\ufffd", text)
    if _HARMLESS.fullmatch(shown):
        return shown
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}"


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """Show a PNG picture inline."""
    return dg.MetadataValue.md(f"![](data:image/png;base64,{base64.b64encode(png).decode()})")


def shown_before(
    context: dg.AssetExecutionContext, key: dg.AssetKey, name: str, value: str
) -> Mapping[str, dg.MetadataValue[Any]]:
    """Return what the last materialization of an asset shows, if it says this of what it is about; else nothing.

    What takes seconds to draw or to count, and comes out the same, is taken from there.

    Parameters
    ----------
    name, value
        Metadata that belong to one fit or one file alone, such as the moment that it was made: another home, or a copy
        that was put back, may hold something else of the same data version.
    """
    last = context.instance.get_latest_materialization_event(key)
    shown = last.asset_materialization.metadata if last and last.asset_materialization else {}
    return shown if name in shown and shown[name].value == value else {}


def figures(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, int | float]:
    """Pick the figures of a record that are known, as the plain numbers that the UI plots over time."""
    return {
        name: record[name] for name in names if isinstance(record[name], int | float) and record[name] == record[name]
    }
