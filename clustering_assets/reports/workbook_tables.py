"""What the workbook of the report has beside the findings: all customers, and the profiles of the segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
    CUSTOMER_FEATURES,
    CUSTOMER_LIST,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    SCALED_FEATURES,
    Column,
)

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_SELECTED = {
    "segment_id": "s.segment_id",
    "quality_flags": "f.quality_flags",
    "order_value": "f.mean_order_value * f.order_count",
    "returned_value": "if(f.mean_order_value is null, null, f.mean_return_value * f.returned_line_count)",
    "retained_value": "f.mean_order_value * f.order_count - f.mean_return_value * f.returned_line_count",
}
"""How columns of the list are computed; the others are in one of the tables under their own name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A feature over the segments.

    Parameters
    ----------
    feature
        Column of ``silver.customer_features``.
    mean
        Of all customers, in the unit of the feature; None where nobody has one.
    distances
        Segment id -> how far the mean of its customers is from that of all, in standard deviations over all customers
        of the scaled feature; None for a feature that is the same for everybody.
    """

    feature: Column
    mean: float | None
    distances: Mapping[int, float | None]


def read_customer_list(backend: Backend, most: int) -> pa.Table:
    """Read the customers with the columns of `CUSTOMER_LIST`, those who sent back most value first.

    Parameters
    ----------
    most
        Customers that there is room for; the others are left out.
    """
    columns = ", ".join(f"{_SELECTED.get(name, name)} as {name}" for name in CUSTOMER_LIST.column_names)
    listed: pa.Table = backend.con.execute(
        f"""select {columns}
            from {CUSTOMER_SEGMENTS.qualified_name} as s
            join {CUSTOMER_FEATURES.qualified_name} as f using (customer_id)
            join {SCALED_FEATURES.qualified_name} as x using (customer_id)
            join {CUSTOMER_REASONS.qualified_name} as r using (customer_id)
            order by returned_value desc nulls last, returned_line_count desc, customer_id limit $1""",
        [most],
    ).to_arrow_table()
    return listed


def read_profiles(backend: Backend) -> tuple[Profile, ...]:
    """Read the features over the segments, in the order of the contract."""
    names = [column.name for column in CLUSTERING_FEATURES]
    own = ", ".join(f"avg({name}) as {name}" for name in names)
    means = backend.con.execute(f"select {own} from {CUSTOMER_FEATURES.qualified_name}").to_arrow_table().to_pylist()[0]
    distances = ", ".join(
        f"""(avg({name}_scaled) - (select avg({name}_scaled) from everybody))
            / (select nullif(stddev_pop({name}_scaled), 0) from everybody) as {name}"""
        for name in names
    )
    rows = (
        backend.con.execute(
            f"""with everybody as (
                    from {SCALED_FEATURES.qualified_name} join (
                        select customer_id, segment_id from {CUSTOMER_SEGMENTS.qualified_name}) using (customer_id))
                select segment_id, {distances} from everybody group by segment_id"""
        )
        .to_arrow_table()
        .to_pylist()
    )
    return tuple(
        Profile(column, means[column.name], {row["segment_id"]: row[column.name] for row in rows})
        for column in CLUSTERING_FEATURES
    )
