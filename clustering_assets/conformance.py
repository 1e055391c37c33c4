"""Whether a table of the warehouse is what its contract says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import ALL_TABLES, TableContract
from clustering_assets.warehouse import has_table, table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SAME_TYPE = {"timestamp(6)": "timestamp"}
_PLACE = ("source_file", "source_row")
_OF_NAME = {contract.qualified_name: contract for contract in ALL_TABLES}


def violations(backend: Backend, contract: TableContract) -> list[str]:
    """Name every way in which a table differs from its contract, in words; empty when it conforms.

    Columns and types are compared, then nulls in required columns, values out of range (NaN included), keys that occur
    twice, and rows that miss their partner in another table are counted. In a table that is not there, none is missed.
    """
    if not has_table(backend, contract):
        return [f"the table {contract.qualified_name} does not exist: materialize it"]
    rows = table(backend, contract)
    types = {name: str(rows.schema()[name].copy(nullable=True)) for name in rows.columns}
    found = {name: _SAME_TYPE.get(kind, kind) for name, kind in types.items()}
    expected = {column.name: column.type for column in contract.columns}
    if list(found.items()) != list(expected.items()):
        return _different_columns(found, expected)
    rules = _broken_rules(rows, contract)
    counts = {rule: ibis.ifelse(broken, 1, 0).sum() for rule, broken in rules.items()}
    # fetched without Ibis, which would import pandas for it
    counted = backend.con.execute(backend.compile(rows.aggregate(**counts))).fetchall()[0] if counts else ()
    broken = [
        f"{count:,} rows: {rule}{_example(rows, rules[rule])}"
        for rule, count in zip(rules, counted, strict=True)
        if count
    ]
    repeated = _repeated_keys(backend, contract)
    if repeated:
        broken.append(f"{repeated:,} keys ({', '.join(contract.key)}) occur more than once")
    if contract.never_empty and not backend.con.execute(f"select 1 from {contract.qualified_name} limit 1").fetchone():
        broken.append("the table is empty")
    return [*broken, *_without_partner(backend, contract)]


def _example(rows: ir.Table, rule: ir.BooleanValue) -> str:
    """Name the first row of a source file that breaks a rule, where the rows have one."""
    if not {*_PLACE} <= {*rows.columns}:
        return ""
    first = rows.filter(rule).order_by(_PLACE).select(*_PLACE).limit(1).to_pyarrow().to_pylist()[0]
    return f", such as row {first['source_row']} of {first['source_file']}"


def _repeated_keys(backend: Backend, contract: TableContract) -> int:
    """Count keys that occur twice; only rows whose hash does are compared, which takes a fraction of the time."""
    key, name = ", ".join(contract.key), contract.qualified_name
    [(repeated,)] = backend.con.execute(
        f"""with suspect as (select hash({key}) as hash from {name} group by 1 having count(*) > 1)
            select count(*) from (
                select 1 from {name} where hash({key}) in (select hash from suspect)
                group by {key} having count(*) > 1)"""
    ).fetchall()
    return int(repeated)


def _different_columns(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    differences = [f"the column {name} is missing" for name in expected if name not in found]
    differences += [f"the column {name} is not in the contract" for name in found if name not in expected]
    differences += [
        f"the column {name} is {found[name]} instead of {kind}"
        for name, kind in expected.items()
        if name in found and found[name] != kind
    ]
    return differences or [f"the columns stand in another order: {', '.join(found)}"]


def _broken_rules(rows: ir.Table, contract: TableContract) -> dict[str, ir.BooleanValue]:
    rules: dict[str, ir.BooleanValue] = {}
    for column in contract.columns:
        value = rows[column.name]
        if column.required:
            rules[f"{column.name} is null"] = value.isnull()
        if column.type == "float64":
            rules[f"{column.name} is not finite"] = value.isnan() | value.isinf()
        if column.minimum is not None:
            rules[f"{column.name} is below {column.minimum:g}"] = value < column.minimum
        if column.maximum is not None:
            rules[f"{column.name} is above {column.maximum:g}"] = value > column.maximum
        if column.allowed:
            rules[f"{column.name} is none of {', '.join(column.allowed)}"] = value.notin(column.allowed)
    return rules


def _without_partner(backend: Backend, contract: TableContract) -> list[str]:
    found = []
    for column in contract.columns:
        table_there, _, column_there = column.references.rpartition(".")
        if table_there and has_table(backend, _OF_NAME[table_there]):
            absent = _absent(backend, contract.qualified_name, (column.name,), table_there, (column_there,))
            if absent:
                found.append(f"{absent:,} rows: {column.name} is not in {column.references}")
    other = contract.row_for_each
    if other and has_table(backend, _OF_NAME[other]):
        here, there = contract.qualified_name, _OF_NAME[other].key
        for rows, rest, keys, rest_keys in ((here, other, contract.key, there), (other, here, there, contract.key)):
            absent = _absent(backend, rows, keys, rest, rest_keys)
            if absent:
                found.append(f"{absent:,} rows of {rows} have no row in {rest}: materialize both again")
    return found


def _absent(backend: Backend, rows: str, keys: tuple[str, ...], others: str, other_keys: tuple[str, ...]) -> int:
    """Count rows whose key is not among the others; a key that is null is none."""
    same = " and ".join(f"rows.{key} = others.{other}" for key, other in zip(keys, other_keys, strict=True))
    known = " and ".join(f"rows.{key} is not null" for key in keys)
    [(count,)] = backend.con.execute(
        f"select count(*) from {rows} as rows anti join {others} as others on {same} where {known}"
    ).fetchall()
    return int(count)
