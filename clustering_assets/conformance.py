"""Whether a table of the warehouse is what its contract says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

from clustering_assets.contracts import (
    CANCELLATIONS,
    ORDER_LINES,
    REJECTED_ROWS,
    SOURCE_FILES,
    SUPERSEDED_LINES,
    TableContract,
)
from clustering_assets.warehouse import has_table, table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SAME_TYPE = {"timestamp(6)": "timestamp"}


def violations(backend: Backend, contract: TableContract) -> list[str]:
    """Name every way in which a table differs from its contract, in words; empty when it conforms.

    Columns and types are compared, then nulls in required columns, values out of range (NaN included) and keys
    that occur twice are counted.
    """
    if not has_table(backend, contract):
        return [f"the table {contract.qualified_name} does not exist: materialize it"]
    rows = table(backend, contract)
    types = {name: str(rows.schema()[name].copy(nullable=True)) for name in rows.columns}
    found = {name: _SAME_TYPE.get(kind, kind) for name, kind in types.items()}
    expected = {column.name: column.type for column in contract.columns}
    if list(found.items()) != list(expected.items()):
        return _different_columns(found, expected)
    counts = _broken_rules(rows, contract)
    counted = rows.aggregate(**counts).to_pyarrow().to_pylist()[0] if counts else {}
    broken = [f"{count:,} rows: {rule}" for rule, count in counted.items() if count]
    keys = rows.group_by(list(contract.key)).aggregate(times=rows.count())
    repeated = int(keys.filter(keys.times > 1).count().execute())
    if repeated:
        broken.append(f"{repeated:,} keys ({', '.join(contract.key)}) occur more than once")
    return broken


def _different_columns(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    differences = [f"the column {name} is missing" for name in expected if name not in found]
    differences += [f"the column {name} is not in the contract" for name in found if name not in expected]
    differences += [
        f"the column {name} is {found[name]} instead of {kind}"
        for name, kind in expected.items()
        if name in found and found[name] != kind
    ]
    return differences or [f"the columns stand in another order: {', '.join(found)}"]


def _broken_rules(rows: ir.Table, contract: TableContract) -> dict[str, ir.IntegerScalar]:
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
    return {rule: ibis.ifelse(broken, 1, 0).sum() for rule, broken in rules.items()}


def unaccounted_rows(backend: Backend) -> list[str]:
    """Name every source file whose rows read are not the rows kept, rejected, superseded and merged.

    The rows kept and rejected are counted in the tables, not taken from ``bronze.source_files``.
    """
    wrong = backend.con.execute(
        f"""
        with claimed as (
            select source_file, sum(rows_read) as read, sum(rows_kept) as kept, sum(rows_rejected) as rejected,
                   sum(rows_superseded) as superseded, sum(rows_merged) as merged
            from {SOURCE_FILES.qualified_name} group by 1),
        found as (
            select source_file, count(*) filter (place = 'kept') as kept,
                   count(*) filter (place = 'rejected') as rejected,
                   count(*) filter (place = 'superseded') as superseded, count(*) filter (place = 'merged') as merged
            from (select source_file, 'kept' as place from {ORDER_LINES.qualified_name}
                  union all select source_file, 'rejected' from {REJECTED_ROWS.qualified_name}
                  union all select source_file, 'superseded' from {SUPERSEDED_LINES.qualified_name}
                  union all select source_file, if(outcome = 'superseded', outcome, 'merged')
                            from {CANCELLATIONS.qualified_name} where outcome <> 'unmatched')
            group by 1)
        select source_file, claimed.read, claimed.kept, coalesce(found.kept, 0), claimed.rejected,
               coalesce(found.rejected, 0), claimed.superseded, claimed.merged
        from claimed full join found using (source_file)
        where claimed.read is null
           or claimed.read <> claimed.kept + claimed.rejected + claimed.superseded + claimed.merged
           or claimed.kept <> coalesce(found.kept, 0) or claimed.rejected <> coalesce(found.rejected, 0)
           or claimed.superseded < coalesce(found.superseded, 0) or claimed.merged < coalesce(found.merged, 0)
        order by source_file"""
    ).fetchall()
    return [
        f"{file}: {read} rows read, {kept} kept ({kept_found} found), {rejected} rejected ({rejected_found} found), "
        f"{superseded} superseded, {merged} merged"
        for file, read, kept, kept_found, rejected, rejected_found, superseded, merged in wrong
    ]
