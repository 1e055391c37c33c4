"""What a run found out, read once from the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clustering_assets.comparison import SEGMENTED, SHOP_FIGURES, changes
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    ORDER_LINES,
    OUT_OF_TIME_VALIDATION,
    REJECTED_ROWS,
    SEGMENT_CHANGES,
    SEGMENT_HISTORY,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    SOURCE_FILES,
)
from clustering_assets.reports.findings import (
    FEATURES,
    OUTLIERS,
    CategoryMonth,
    Customers,
    DataQuality,
    Difference,
    FileAccount,
    Findings,
    Fit,
    Flow,
    Imputed,
    KeyFigure,
    MonthShare,
    Movement,
    NothingToReport,
    OutOfTime,
    Saving,
    Segment,
)
from clustering_assets.warehouse import AS_OF, has_table, table_version

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

    from clustering_assets.segmentation.vocabulary import Entry, Vocabulary

MOST_CUSTOMERS = 20_000
"""Customers that are listed one by one; of more a sample, the same one every time."""
MOST_CATEGORIES = 24
"""Categories that are told apart, those with the most order lines; the others are one."""
MOST_FILES = 200


def read_findings(backend: Backend, *, most_customers: int = MOST_CUSTOMERS) -> Findings:
    """Read what the newest run found from the tables as they stand.

    Parameters
    ----------
    backend
        The warehouse.
    most_customers
        Customers that are listed one by one.

    Raises
    ------
    NothingToReport
        If there are no segments yet.
    """
    from clustering_assets.segmentation.vocabulary import load_vocabulary

    if not has_table(backend, CUSTOMER_SEGMENTS):
        raise NothingToReport("There are no segments to report on yet: materialize gold/customer_segments first.")
    fit, previous = _fit(backend)
    movement = _movement(backend, fit, previous)
    [days] = _rows(
        backend,
        f"""select min(first_order_date)::date as first, max(last_order_date)::date as last,
                   (select max(order_date)::date from {ORDER_LINES.qualified_name}) as latest
            from {CUSTOMER_FEATURES.qualified_name}""",
    )
    configured = table_version(backend, AS_OF)
    as_of = date.fromisoformat(configured) if configured else None
    return Findings(
        as_of=as_of or days["latest"],
        orders_from=days["first"],
        orders_to=days["last"],
        fit=fit,
        key_figures=_key_figures(backend, fit, previous),
        segments=_segments(backend, load_vocabulary(), movement),
        movement=movement,
        customers=_customers(backend, most_customers),
        category_months=_category_months(backend, as_of),
        history=read_history(backend),
        out_of_time=read_out_of_time(backend),
        quality=_quality(backend),
    )


def _rows(backend: Backend, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = backend.con.execute(query, list(parameters)).to_arrow_table().to_pylist()
    return rows


def _fit(backend: Backend) -> tuple[Fit, Mapping[str, Any] | None]:
    """Return the fit that gave the customers their segments, and the row of the one before."""
    models = _rows(
        backend,
        f"""from {SEGMENT_MODEL.qualified_name} where fitted_at <= (
                select fitted_at from {SEGMENT_MODEL.qualified_name}
                where model_run_id in (select model_run_id from {CUSTOMER_SEGMENTS.qualified_name}))
            order by fitted_at desc, model_run_id limit 2""",
    )
    if not models:
        raise NothingToReport("There are no segments to report on: run again, so that there are customers.")
    row, *earlier = models
    drift = json.loads(row["feature_drift"] or "{}")
    same = {name: row[name] for name in Fit.__dataclass_fields__ if name in row}
    fit = Fit(
        **{
            **same,
            "parameters": json.loads(row["parameters"]),
            "versions": json.loads(row["versions"]),
            "ignored_features": tuple(filter(None, row["ignored_features"].split(";"))),
            "feature_drift": dict(sorted(drift.items(), key=lambda item: -item[1])),
            "choices_of_k": tuple(json.loads(row["choices_of_k"])),
            "ids_are_pseudonyms": (table_version(backend, "gold.customer_ids") or "clear") != "clear",
        }
    )
    return fit, earlier[0] if earlier else None


def _key_figures(backend: Backend, fit: Fit, previous: Mapping[str, Any] | None) -> tuple[KeyFigure, ...]:
    selected = ", ".join(f"({sql})::double as {name}" for name, sql in SHOP_FIGURES.items())
    [now] = _rows(backend, f"select {selected} from {SEGMENTED}")
    recorded = changes(backend, SEGMENT_PROFILES)
    before = {name: recorded[name].before if name in recorded else None for name in SHOP_FIGURES}

    def both(name: str, unit: str, of: Any) -> KeyFigure:
        return KeyFigure(name, unit, of(now), of(before))

    def of_fit(name: str, unit: str) -> KeyFigure:
        return KeyFigure(name, unit, getattr(fit, name), None if previous is None else previous[name])

    return (
        both("customers", "customers", lambda figures: figures["customers"]),
        both("orders", "orders", lambda figures: figures["orders"]),
        both("order_value", "money", lambda figures: figures["order_value"]),
        both("returned_value", "money", lambda figures: figures["returned_value"]),
        both("retained_value", "money", lambda figures: _minus(figures["order_value"], figures["returned_value"])),
        both("return_rate", "share", lambda figures: _divided(figures["returned_lines"], figures["lines"])),
        both(
            "returned_value_share", "share", lambda figures: _divided(figures["returned_value"], figures["order_value"])
        ),
        both("possible_saving", "money", lambda figures: figures["possible_saving"]),
        both("outlier_share", "share", lambda figures: _divided(figures["outliers"], figures["customers"])),
        of_fit("segments", "segments"),
        of_fit("silhouette", ""),
        of_fit("stability", ""),
    )


def _minus(whole: float | None, part: float | None) -> float | None:
    return None if whole is None or part is None else whole - part


def _divided(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole or whole < 0 else part / whole


def _segments(backend: Backend, vocabulary: Vocabulary, movement: Movement) -> tuple[Segment, ...]:
    profiles = _rows(backend, f"from {SEGMENT_PROFILES.qualified_name}")
    sums = {
        row["segment_id"]: row
        for row in _rows(
            backend,
            f"""select segment_id, sum(order_count)::bigint as order_count,
                       sum(mean_order_value * order_count) as order_value,
                       case when (select count(mean_order_value) from {CUSTOMER_FEATURES.qualified_name}) > 0
                            then sum(mean_return_value * returned_line_count) end as returned_value,
                       case when (select count(mean_order_value) from {CUSTOMER_FEATURES.qualified_name}) > 0
                            then sum(greatest(mean_return_value * returned_line_count, 0)) end as paid_back,
                       sum(returned_line_count)::double as returned_lines,
                       sum(round(lines_per_order * order_count)) as lines
                from {SEGMENTED} group by segment_id""",
        )
    }
    averages = ", ".join(f"avg({name}) as {name}_mean, median({name}) as {name}_median" for name in FEATURES)
    [shop] = _rows(backend, f"select {averages} from {SEGMENTED}")
    before: dict[int, int] = {}
    for flow in movement.flows:
        if flow.from_id is not None:
            before[flow.from_id] = before.get(flow.from_id, 0) + flow.customers
    segments = [
        _segment(
            profile,
            sums[profile["segment_id"]],
            shop,
            vocabulary,
            before.get(profile["segment_id"], 0) if movement.comparable else None,
        )
        for profile in profiles
    ]
    return tuple(sorted(segments, key=lambda each: (each.is_outliers, -each.customers, each.segment_id)))


def _segment(
    profile: Mapping[str, Any],
    sums: Mapping[str, Any],
    shop: Mapping[str, Any],
    vocabulary: Vocabulary,
    customers_before: int | None,
) -> Segment:
    is_outliers = profile["segment_id"] == OUTLIERS
    entry = vocabulary.outliers if is_outliers else vocabulary.base_of(profile["segment_name"])
    same = {name: profile[name] for name in Segment.__dataclass_fields__ if name in profile}
    return Segment(
        **same,
        name=profile["segment_name"],
        kind=entry.name if entry else None,
        customers_before=customers_before,
        order_count=sums["order_count"],
        order_value=sums["order_value"],
        returned_value=sums["returned_value"],
        return_rate=_divided(sums["returned_lines"], sums["lines"]),
        differences=tuple(_differences(profile, shop)),
        means={name: profile[f"{name}_mean"] for name in FEATURES},
        medians={name: profile[f"{name}_median"] for name in FEATURES},
        action=profile["recommended_action"],
        saving=_saving(profile, sums, vocabulary, entry),
    )


def _differences(profile: Mapping[str, Any], shop: Mapping[str, Any]) -> list[Difference]:
    named = [text.rpartition(" ") for text in profile["distinguishing_features"].split("; ") if text]
    return [
        Difference(
            feature=name,
            unit=CUSTOMER_FEATURES.column(name).unit,
            effect=float(effect),
            mean=profile[f"{name}_mean"],
            median=profile[f"{name}_median"],
            shop_mean=shop[f"{name}_mean"],
            shop_median=shop[f"{name}_median"],
        )
        for name, _, effect in named
    ]


def _saving(profile: Mapping[str, Any], sums: Mapping[str, Any], vocabulary: Vocabulary, entry: Entry | None) -> Saving:
    measure = entry.saves if entry else None
    return Saving(
        return_cost=profile["return_cost"],
        possible_saving=profile["possible_saving"],
        returned_lines=sums["returned_lines"],
        returned_value=sums["paid_back"],
        handling_per_line=vocabulary.costs.handling_per_line.value,
        value_lost_share=vocabulary.costs.value_lost_share.value,
        handling_averted=measure.handling if measure else 0.0,
        value_loss_averted=measure.value_loss if measure else 0.0,
        assumption=profile["saving_assumption"],
    )


def _movement(backend: Backend, fit: Fit, previous: Mapping[str, Any] | None) -> Movement:
    changed = _rows(
        backend,
        f"""select from_segment_id as from_id, any_value(from_segment_name) as from_name,
                   to_segment_id as to_id, any_value(to_segment_name) as to_name, count(*) as customers
            from {SEGMENT_CHANGES.qualified_name} group by 1, 3""",
    )
    [model] = _rows(
        backend,
        f"select kept_segment_share from {SEGMENT_MODEL.qualified_name} where model_run_id = $1",
        [fit.model_run_id],
    )
    # as gold tells it: no drift of the sizes at the first fit, no share that stayed after another pseudonym key
    comparable = fit.segment_size_drift is not None and not (model["kept_segment_share"] is None and not changed)
    came: dict[int | None, int] = {}
    for way in changed:
        came[way["to_id"]] = came.get(way["to_id"], 0) + way["customers"]
    stayed = [
        Flow(row["segment_id"], row["segment_name"], row["segment_id"], row["segment_name"], customers)
        for row in _rows(
            backend,
            f"""select segment_id, any_value(segment_name) as segment_name, count(*) as customers
                from {CUSTOMER_SEGMENTS.qualified_name} group by 1""",
        )
        if (customers := row["customers"] - came.get(row["segment_id"], 0))
    ]
    flows = [*(Flow(**way) for way in changed), *stayed] if comparable else []
    return Movement(
        previous_run_id=previous["model_run_id"] if previous and comparable else None,
        previous_fitted_at=previous["fitted_at"] if previous and comparable else None,
        comparable=comparable,
        flows=tuple(sorted(flows, key=lambda each: (-each.customers, str(each.from_id), str(each.to_id)))),
        joined=sum(each.customers for each in flows if each.from_id is None),
        left=sum(each.customers for each in flows if each.to_id is None),
        stayed=sum(each.customers for each in flows if each.from_id == each.to_id),
        moved=sum(each.customers for each in flows if each.from_id != each.to_id and each.from_id is not None)
        - sum(each.customers for each in flows if each.to_id is None),
    )


def _customers(backend: Backend, most: int) -> Customers:
    chosen = f"select customer_id from {CUSTOMER_SEGMENTS.qualified_name} order by hash(customer_id), 1 limit $1"
    features = ", ".join(f"f.{name}::double as {name}" for name in FEATURES)
    found: pa.Table = backend.con.execute(
        f"""select s.customer_id, s.segment_id, s.map_x, s.map_y, s.confidence,
                   f.mean_order_value * f.order_count as order_value,
                   case when f.mean_order_value is not null
                        then f.mean_return_value * f.returned_line_count end as returned_value,
                   {features},
                   list_filter([r.reason_1, r.reason_2, r.reason_3], lambda reason: reason is not null) as reasons
            from {CUSTOMER_SEGMENTS.qualified_name} as s
            join {CUSTOMER_FEATURES.qualified_name} as f using (customer_id)
            join {CUSTOMER_REASONS.qualified_name} as r using (customer_id)
            where s.customer_id in ({chosen}) order by s.customer_id""",
        [most],
    ).to_arrow_table()
    columns = {name: found.column(name).to_pylist() for name in found.column_names}
    [total] = _rows(backend, f"select count(*) as customers from {CUSTOMER_SEGMENTS.qualified_name}")
    return Customers(
        total=total["customers"],
        ids=columns["customer_id"],
        **{name: columns[f"{name}"] for name in ("map_x", "map_y", "confidence", "order_value", "returned_value")},
        segment_ids=columns["segment_id"],
        features={name: columns[name] for name in FEATURES},
        reasons=[tuple(reasons) for reasons in columns["reasons"]],
    )


def _category_months(backend: Backend, as_of: date | None) -> tuple[CategoryMonth, ...]:
    """Count order lines and returns as silver does: up to the end of the day to look from, all without such a day."""
    rows = _rows(
        backend,
        f"""with known as (
                select category, date_trunc('month', order_date)::date as month, line_value,
                       case when return_date::date > $1::date then 0 else return_quantity end as returned, quantity,
                       return_date::date as came_back
                from {ORDER_LINES.qualified_name}
                where order_date::date <= coalesce($1::date, order_date::date)),
            ranked as (
                select category, row_number() over (order by count(*) desc, category) as rank
                from known where category is not null group by 1),
            newest as (
                select coalesce($1::date, max(came_back), max(month)) - interval 1 year as a_year_ago from known),
            told as (
                select if(rank <= $2, category, null) as category, coalesce(rank > $2, false) as others,
                       if(rank is null, $2 + 2, least(rank, $2 + 1)) as place, known.* exclude (category)
                from known left join ranked using (category))
            select category, others, month, count(*) as lines,
                   count(*) filter (returned > 0) as returned_lines,
                   count(*) filter (returned > 0 and coalesce(came_back <= a_year_ago, true))
                       as returned_lines_a_year_ago,
                   sum(line_value) as order_value,
                   case when count(line_value) > 0
                        then coalesce(sum(line_value * returned / quantity) filter (returned > 0), 0) end
                       as returned_value
            from told, newest group by category, others, place, month order by place, month""",
        [as_of, MOST_CATEGORIES],
    )
    return tuple(CategoryMonth(**row) for row in rows)


def read_history(backend: Backend) -> tuple[MonthShare, ...]:
    """Return the sizes of the segments at the end of past months, the earliest first; empty where none was computed."""
    if not has_table(backend, SEGMENT_HISTORY):
        return ()
    rows = _rows(
        backend,
        f"""select as_of::date as as_of, segment_id, any_value(segment_name) as segment_name, count(*) as customers
            from {SEGMENT_HISTORY.qualified_name} group by 1, 2 order by 1, 2""",
    )
    return tuple(MonthShare(**row) for row in rows)


def read_out_of_time(backend: Backend) -> tuple[OutOfTime, ...]:
    """Return how the segments of past days were judged, the latest day first; empty where none was."""
    if not has_table(backend, OUT_OF_TIME_VALIDATION):
        return ()
    selected = ", ".join(name if name != "as_of" else "as_of::date as as_of" for name in OutOfTime.__dataclass_fields__)
    rows = _rows(
        backend,
        f"""select {selected} from {OUT_OF_TIME_VALIDATION.qualified_name}
            order by as_of desc, target, scale desc, method <> 'segments', method""",
    )
    return tuple(OutOfTime(**row) for row in rows)


def _quality(backend: Backend) -> DataQuality:
    counts = ("rows_read", "rows_kept", "rows_rejected", "rows_superseded", "rows_merged")
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in counts)
    [totals] = _rows(backend, f"select {sums}, count(*) as file_count from {SOURCE_FILES.qualified_name}")
    files = _rows(
        backend,
        f"""select source_file, status, reason, {", ".join(counts)} from {SOURCE_FILES.qualified_name}
            order by status = 'loaded', source_file, content_hash limit $1""",
        [MOST_FILES],
    )
    rejected = _rows(
        backend,
        f"""select split_part(reason, ':', 1) as code, count(*) as rows from {REJECTED_ROWS.qualified_name}
            group by 1 order by 2 desc, 1""",
    )
    dropped = _rows(
        backend,
        f"select missing, count(*) as customers from {DROPPED_CUSTOMERS.qualified_name} group by 1 order by 2 desc, 1",
    )
    [kept] = _rows(backend, f"select count(*) as customers from {CUSTOMER_FEATURES.qualified_name}")
    imputed = _rows(
        backend,
        f"""select *, values_filled / $1 as share from {IMPUTATION_LOG.qualified_name} where values_filled > 0
            order by values_filled desc, feature""",
        [kept["customers"]],
    )
    return DataQuality(
        files=tuple(FileAccount(**row) for row in files),
        **totals,
        rejected={row["code"]: row["rows"] for row in rejected},
        customers_kept=kept["customers"],
        customers_dropped=sum(row["customers"] for row in dropped),
        dropped={row["missing"]: row["customers"] for row in dropped},
        imputed=tuple(Imputed(**row) for row in imputed),
    )
