"""Column lineage, read off an expression: which columns of which tables a column's values are made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir

Leaves = frozenset[tuple[str, str]]
"""(table, column) pairs."""


def column_lineage(
    expr: ir.Table, known: Mapping[str, Mapping[str, Leaves]] = MappingProxyType({})
) -> dict[str, Leaves]:
    """Trace each column of an expression back to the tables that it reads.

    What a value is computed from counts: the arguments of functions, the conditions of case expressions, the order and
    the partition of windows. What merely selects rows does not: filters, join predicates, the keys of a grouping. A
    count of rows that names no column is made of none.

    Parameters
    ----------
    expr
        Table expression over unbound, in-memory or database tables.
    known
        Table -> lineage of its columns, of tables that were made of others: the trace goes on from there.

    Returns
    -------
    dict of str to frozenset of (str, str)
        For each column, in order, the (table, column) pairs it is made of.

    Raises
    ------
    NotImplementedError
        If the expression contains a relation whose columns cannot be traced, such as raw SQL.
    """
    traced: dict[str, Leaves] = expr.op().map(partial(_trace, known))[expr.op()]
    return traced


def _trace(
    known: Mapping[str, Mapping[str, Leaves]], node: ops.Node, results: Mapping[ops.Node, Any], /, **_: object
) -> Any:
    """Give the leaves of a value, or for a relation those of each of its columns, from the results of its inputs."""
    match node:
        case ops.SQLQueryResult() | ops.SQLStringView():
            raise NotImplementedError(f"cannot trace the columns of a {type(node).__name__}")
        case ops.PhysicalTable() if node.name in known:
            return known[node.name]
        case ops.PhysicalTable():
            return {name: frozenset({(node.name, name)}) for name in node.schema}
        case ops.Project() | ops.Aggregate() | ops.JoinChain() | ops.DummyTable():
            return {name: results[value] for name, value in node.values.items()}
        case ops.Set():
            return {name: results[node.left][name] | results[node.right][name] for name in node.schema}
        case ops.Relation():
            # Filter, Sort, Limit, Distinct, DropColumns, references: the columns of the parent, or some of them.
            return {name: results[node.parent][name] for name in node.schema}
        case ops.Field():
            return results[node.rel][node.name]
        case ops.ScalarSubquery():
            return _union(results[node.rel].values())
        case _:
            return _union(results[child] for child in node.__children__ if isinstance(child, ops.Value))


def _union(leaves: Any) -> Leaves:
    return frozenset().union(*leaves)
