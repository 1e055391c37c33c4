"""Answers to what people ask of the tables: who a customer is, what a segment is, what changed between two fits.

As in the findings, nothing is rounded or formatted here, and a figure that is not known is None.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from clustering_assets.comparison import SEGMENTED
from clustering_assets.contracts import (
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    DROPPED_CUSTOMERS,
    IMPUTED_FEATURES,
    MODEL_ASSIGNMENTS,
    ORDER_LINES,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_HISTORY,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TableContract,
)
from clustering_assets.pseudonyms import CLEAR, ids_in, pseudonym, what_ids_are
from clustering_assets.reports.findings import FEATURES, OUTLIERS, Findings, Flow, Segment
from clustering_assets.sources.customer_ids import canonical_ids
from clustering_assets.warehouse import has_table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

QUALITY = (
    "customers",
    "segments",
    "outliers",
    "eps",
    "shrinkage",
    "silhouette",
    "silhouette_full",
    "calinski_harabasz",
    "davies_bouldin",
    "stability",
    "smallest_segment_share",
)
"""Figures of a fit that are compared with those of another."""

_NEAR = 0.7
"""Likeness, from 0 to 1, of what was asked for and what there is, above which that could have been meant."""


class NoAnswer(Exception):
    """What was asked for is not there; the message says what is."""


# ------------------------------------------------------------------------------------------------------------ customer


@dataclass(frozen=True, slots=True)
class Figure:
    """A feature of a customer, beside its median over the segment and over all customers.

    ``imputed`` says that the customer's value was filled in.
    """

    feature: str
    unit: str
    value: float | None
    segment_median: float | None
    shop_median: float | None
    imputed: bool


@dataclass(frozen=True, slots=True)
class Month:
    """Where a customer was at the end of a past month, as ``gold.segment_history`` has it."""

    as_of: date
    segment_id: int
    segment_name: str
    confidence: float
    model_run_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a customer since the fit before, as ``gold.segment_changes`` has it."""

    change: str
    from_segment_id: int | None
    from_segment_name: str | None
    to_segment_id: int | None
    to_segment_name: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
    """Why a customer is in a segment.

    Parameters
    ----------
    customer_id
        As the tables have it: a pseudonym where a key is set.
    distance, next_distance
        To the centre of the segment and to that of the next one; None for an outlier and where there is no other.
    reasons
        Up to three features that decided, the first most.
    figures
        All 35 features.
    history, change
        Empty or None where there is no record.
    """

    customer_id: str
    segment_id: int
    segment_name: str
    segment_description: str
    recommended_action: str
    sub_segment_id: int | None
    confidence: float
    outlier_score: float
    distance: float | None
    next_segment_id: int | None
    next_segment_name: str | None
    next_distance: float | None
    reasons: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    history: tuple[Month, ...]
    change: Change | None
    model_run_id: str
    assigned_at: datetime

    @property
    def imputed(self) -> list[str]:
        """Features whose value was filled in."""
        return [figure.feature for figure in self.figures if figure.imputed]


def find_customer(backend: Backend, written: str, pseudonym_key: str | None) -> Customer:
    """Return who a customer is.

    Parameters
    ----------
    written
        The id as a source writes it, the canonical id, or what the tables have in its place.
    pseudonym_key
        The key of the pseudonyms, if one is set.

    Raises
    ------
    NoAnswer
        If no segment has the customer; the message says how far the customer came, and does not repeat the id.
    """
    _need(backend, CUSTOMER_SEGMENTS)
    ids = _ids(backend, written, pseudonym_key, "gold")
    found = _rows(
        backend,
        f"""select s.*, r.distance, r.next_segment_id, r.next_distance,
                   [r.reason_1, r.reason_2, r.reason_3] as reasons, x.outlier_score,
                   p.description as segment_description, p.recommended_action, n.segment_name as next_segment_name
            from {CUSTOMER_SEGMENTS.qualified_name} as s
            join {CUSTOMER_REASONS.qualified_name} as r using (customer_id)
            join {SCALED_FEATURES.qualified_name} as x using (customer_id)
            join {SEGMENT_PROFILES.qualified_name} as p on p.segment_id = s.segment_id
            left join {SEGMENT_PROFILES.qualified_name} as n on n.segment_id = r.next_segment_id
            where customer_id in (select unnest($1::varchar[]))""",
        [ids],
    )
    if not found:
        raise NoAnswer(_how_far(backend, written, pseudonym_key))
    row = found[0]
    figures = _figures(backend, row["customer_id"], row["segment_id"])
    named = [reason.split(" ")[0] for reason in row["reasons"] if reason]
    return Customer(
        **{name: row[name] for name in Customer.__dataclass_fields__ if name in row and name != "reasons"},
        reasons=tuple(figures[name] for name in named if name in figures),
        figures=tuple(figures.values()),
        history=_history(backend, row["customer_id"]),
        change=_change(backend, row["customer_id"]),
    )


def _ids(backend: Backend, written: str, pseudonym_key: str | None, layer: str) -> list[str]:
    """Return what the tables of a layer may call the customer."""
    canonical = canonical_ids(backend, [written])
    if ids_in(backend, layer) == CLEAR:
        by_source = f"select customer_id from {CUSTOMER_FEATURES.qualified_name} where source_customer_id = $1"
        known = _rows(backend, by_source, [written]) if has_table(backend, CUSTOMER_FEATURES) else []
        return [*canonical, *(row["customer_id"] for row in known)]
    if pseudonym_key and _is_key_of(backend, pseudonym_key, layer):
        return [written, *(pseudonym(each, pseudonym_key) for each in canonical)]
    return [written]


def _is_key_of(backend: Backend, pseudonym_key: str | None, layer: str) -> bool:
    """Whether what the tables of a layer call a customer can be told from the id."""
    what = ids_in(backend, layer)
    return what == CLEAR or (pseudonym_key is not None and what_ids_are(pseudonym_key) == what)


def _how_far(backend: Backend, written: str, pseudonym_key: str | None) -> str:
    """Say why no segment has a customer."""
    if not _is_key_of(backend, pseudonym_key, "gold"):
        return (
            "No segment has a customer of that name. The tables have pseudonyms: set CLUSTERING_PSEUDONYM_KEY to their "
            "key to ask by id, or ask by pseudonym."
        )
    if has_table(backend, CUSTOMER_FEATURES):
        ids = _ids(backend, written, pseudonym_key, "silver")
        among = "customer_id in (select unnest($1::varchar[]))"
        if _rows(backend, f"select 1 from {CUSTOMER_FEATURES.qualified_name} where {among}", [ids]):
            return "The customer has features but no segment yet: run gold, or `clustering-assets run`."
        dropped = _rows(backend, f"select missing from {DROPPED_CUSTOMERS.qualified_name} where {among}", [ids])
        if dropped:
            missing = dropped[0]["missing"].replace(";", ", ")
            return f"The customer was left out of silver, and so of the segments, for lack of {missing}."
        lines = _rows(
            backend,
            f"select count(*) as lines from {ORDER_LINES.qualified_name} where {among}",
            [canonical_ids(backend, [written])],
        )
        if lines[0]["lines"]:
            return (
                f"Bronze has {lines[0]['lines']:,} order lines of the customer, silver does not: run silver and gold."
            )
    return "There is no customer of that id: check how the source writes it."


def _figures(backend: Backend, customer_id: str, segment_id: int) -> dict[str, Figure]:
    own = _rows(
        backend,
        f"""select f.*, i.imputed from {CUSTOMER_FEATURES.qualified_name} as f
            left join {IMPUTED_FEATURES.qualified_name} as i using (customer_id) where customer_id = $1""",
        [customer_id],
    )
    if not own:
        return {}
    medians = ", ".join(f"median({name}) as {name}" for name in FEATURES)
    [shop] = _rows(backend, f"select {medians} from {CUSTOMER_FEATURES.qualified_name}")
    [segment] = _rows(backend, f"from {SEGMENT_PROFILES.qualified_name} where segment_id = $1", [segment_id])
    imputed = {*(own[0]["imputed"] or "").split(";")}
    return {
        name: Figure(
            feature=name,
            unit=CUSTOMER_FEATURES.column(name).unit,
            value=own[0][name],
            segment_median=segment[f"{name}_median"],
            shop_median=shop[name],
            imputed=name in imputed,
        )
        for name in FEATURES
    }


def _history(backend: Backend, customer_id: str) -> tuple[Month, ...]:
    if not has_table(backend, SEGMENT_HISTORY):
        return ()
    rows = _rows(
        backend,
        f"""select as_of::date as as_of, segment_id, segment_name, confidence, model_run_id
            from {SEGMENT_HISTORY.qualified_name} where customer_id = $1 order by as_of""",
        [customer_id],
    )
    return tuple(Month(**row) for row in rows)


def _change(backend: Backend, customer_id: str) -> Change | None:
    rows = _rows(
        backend,
        f"""select {", ".join(Change.__dataclass_fields__)} from {SEGMENT_CHANGES.qualified_name}
            where customer_id = $1""",
        [customer_id],
    )
    return Change(**rows[0]) if rows else None


# ------------------------------------------------------------------------------------------------------------- segment


@dataclass(frozen=True, slots=True)
class SubSegment:
    """A part of a segment; the medians are of its customers."""

    sub_segment_id: int
    customers: int
    share: float
    order_count: float | None
    mean_order_value: float | None
    return_rate: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """How a feature is spread over the customers of a segment."""

    feature: str
    unit: str
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    shop_median: float | None


def find_segment(segments: Sequence[Segment], written: str) -> Segment:
    """Return the segment of an id, of a name, or of a beginning that only one name has.

    Raises
    ------
    NoAnswer
        If there is none, or more than one; the message names the nearest.
    """
    asked = written.strip().casefold()
    named = {each.name.casefold(): each for each in segments} | {str(each.segment_id): each for each in segments}
    if asked in named:
        return named[asked]
    beginning = [each for each in segments if asked and each.name.casefold().startswith(asked)]
    if len(beginning) == 1:
        return beginning[0]
    likeness = {each.name: _likeness(asked, each.name.casefold()) for each in segments}
    alike = sorted((each for each in segments if likeness[each.name] > _NEAR), key=lambda each: -likeness[each.name])
    near = beginning or alike
    listed = ", ".join(f"{each.name!r} ({each.segment_id})" for each in near or segments)
    if beginning:
        raise NoAnswer(f"More than one segment is called {written!r}: {listed}.")
    raise NoAnswer(f"There is no segment {written!r}. {'Is one of these meant' if near else 'There are'}: {listed}.")


def _likeness(asked: str, name: str) -> float:
    """Return how like what was asked for is to a name, or to a word or the beginning of it, from 0 to 1."""
    variants = [name, name[: len(asked)], *name.split()]
    return max(difflib.SequenceMatcher(None, asked, each).ratio() for each in variants)


def sub_segments(backend: Backend, segment: Segment) -> list[SubSegment]:
    """Return the parts of a segment; none where it has no stable inner structure."""
    rows = _rows(
        backend,
        f"""select s.sub_segment_id, count(*) as customers, count(*) / $2 as share,
                   median(f.order_count) as order_count, median(f.mean_order_value) as mean_order_value,
                   median(f.return_rate) as return_rate
            from {CUSTOMER_SEGMENTS.qualified_name} as s
            left join {CUSTOMER_FEATURES.qualified_name} as f using (customer_id)
            where s.segment_id = $1 and s.sub_segment_id is not null group by 1 order by 1""",
        [segment.segment_id, segment.customers],
    )
    return [SubSegment(**row) for row in rows]


def spreads(backend: Backend, segment: Segment) -> list[Spread]:
    """Return how the 35 features are spread over the customers of a segment, in their own units."""
    quartiles = ", ".join(f"quantile_cont({name}, [0.25, 0.5, 0.75]) as {name}" for name in FEATURES)
    medians = ", ".join(f"median({name}) as {name}" for name in FEATURES)
    [own] = _rows(backend, f"select {quartiles} from {SEGMENTED} where segment_id = $1", [segment.segment_id])
    [shop] = _rows(backend, f"select {medians} from {SEGMENTED}")
    found = []
    for name in FEATURES:
        lower, median, upper = own[name] or (None, None, None)
        found.append(Spread(name, CUSTOMER_FEATURES.column(name).unit, lower, median, upper, shop[name]))
    return found


# ---------------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True, slots=True)
class Pair:
    """The same figure before and now."""

    name: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Size:
    """Customers of a segment before and now; 0 where it was not there."""

    segment_id: int
    name: str
    before: int
    now: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one fit to another.

    Parameters
    ----------
    figures
        Quality of the two fits.
    settings
        Parameters, and versions of libraries, that differ.
    sizes, flows
        Empty where customers cannot be followed.
    moved, joined, left, stayed
        Customers; None where they cannot be followed.
    drift
        PSI of each feature, the largest first; empty where it is not known.
    compared_how
        Whose segments these are.
    not_compared
        What cannot be told, and how it could be.
    """

    before_run_id: str
    before_fitted_at: datetime
    now_run_id: str
    now_fitted_at: datetime
    figures: tuple[Pair, ...]
    settings: tuple[Pair, ...]
    sizes: tuple[Size, ...]
    flows: tuple[Flow, ...]
    moved: int | None
    joined: int | None
    left: int | None
    stayed: int | None
    drift: Mapping[str, float]
    compared_how: str
    not_compared: tuple[str, ...]


def compare_fits(backend: Backend, findings: Findings, before: str | None = None, now: str | None = None) -> Comparison:
    """Compare two fits, as far as what is stored of them allows.

    Parameters
    ----------
    findings
        What the newest run found.
    before, now
        Model run ids, or beginnings that only one has. Default: the fit that gave the segments, and the one before.

    Raises
    ------
    NoAnswer
        If there is nothing to compare, or no such fit.
    """
    models = _rows(backend, f"from {SEGMENT_MODEL.qualified_name} order by fitted_at, model_run_id")
    current = findings.fit.model_run_id
    later = _model(models, now or current)
    place = models.index(later)
    if before is None and place == 0:
        raise NoAnswer(
            f"There is nothing before the fit {later['model_run_id']} ({_day(later)}) to compare it with: "
            "run again when something has changed."
        )
    earlier = _model(models, before) if before else models[place - 1]
    if earlier is later:
        raise NoAnswer("These are the same fit: name two.")
    missing: list[str] = []
    follows = place > 0 and models[place - 1] is earlier
    flows, how = _flows(backend, findings, earlier["model_run_id"], later["model_run_id"], follows, missing)
    drift = json.loads(later["feature_drift"] or "{}") if follows else {}
    if not follows:
        missing.append("Drift is recorded against the fit before alone, and these two did not follow each other.")
    elif not drift:
        missing.append("How far the features drifted was not recorded.")
    counted = _counted(flows)
    return Comparison(
        before_run_id=earlier["model_run_id"],
        before_fitted_at=earlier["fitted_at"],
        now_run_id=later["model_run_id"],
        now_fitted_at=later["fitted_at"],
        figures=tuple(Pair(name, earlier[name], later[name]) for name in QUALITY),
        settings=tuple(_differing(earlier, later)),
        sizes=tuple(_sizes(flows)),
        flows=flows,
        **(counted if how else dict.fromkeys(counted)),
        drift=dict(sorted(drift.items(), key=lambda item: -item[1])),
        compared_how=how,
        not_compared=tuple(missing),
    )


def _model(models: Sequence[dict[str, Any]], written: str) -> dict[str, Any]:
    found = [row for row in models if row["model_run_id"].startswith(written)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{row['model_run_id']} ({_day(row)})" for row in found or models)
    raise NoAnswer(
        f"{'More than one fit begins with' if found else 'There is no fit'} {written!r}; there are {listed}."
    )


def _day(model: Mapping[str, Any]) -> str:
    return f"{model['fitted_at']:%Y-%m-%d %H:%M} UTC"


def _flows(
    backend: Backend, findings: Findings, before: str, now: str, follows: bool, missing: list[str]
) -> tuple[tuple[Flow, ...], str]:
    """Return who went where and whose segments these are; nothing, and why in ``missing``, where it is not known."""
    current, movement = findings.fit.model_run_id, findings.movement
    if follows and now == current:
        if not movement.comparable:
            missing.append("Customers cannot be followed: their ids are pseudonyms of another key than before.")
            return (), ""
        if _came_from(backend) in (None, before):
            return movement.flows, "The segments of each fit, as they were written."
    applied = _applied(backend)
    if applied and {before, now} == {applied, current}:
        sides = (MODEL_ASSIGNMENTS, CUSTOMER_SEGMENTS) if before == applied else (CUSTOMER_SEGMENTS, MODEL_ASSIGNMENTS)
        rows = _rows(
            backend,
            f"""select b.segment_id as from_id, any_value(b.segment_name) as from_name,
                       n.segment_id as to_id, any_value(n.segment_name) as to_name, count(*) as customers
                from {sides[0].qualified_name} as b full join {sides[1].qualified_name} as n using (customer_id)
                group by 1, 3 order by customers desc, 1, 3""",
        )
        return (
            tuple(Flow(**row) for row in rows),
            f"The customers of today in both: {applied} was applied to them (gold.model_assignments).",
        )
    missing.append(
        "The segments of customers are kept of the newest fit and the one before it alone: to put the customers of "
        "today into the segments of an older one, run the job apply_model with its model_run_id, and compare again."
    )
    return (), ""


def _came_from(backend: Backend) -> str | None:
    rows = _rows(backend, f"select any_value(from_model_run_id) as id from {SEGMENT_CHANGES.qualified_name}")
    return rows[0]["id"] or None


def _applied(backend: Backend) -> str | None:
    if not has_table(backend, MODEL_ASSIGNMENTS):
        return None
    rows = _rows(backend, f"select any_value(model_run_id) as id from {MODEL_ASSIGNMENTS.qualified_name}")
    return rows[0]["id"] or None


def _counted(flows: Iterable[Flow]) -> dict[str, int]:
    counted = dict.fromkeys(("moved", "joined", "left", "stayed"), 0)
    for flow in flows:
        if flow.from_id is None:
            way = "joined"
        elif flow.to_id is None:
            way = "left"
        else:
            way = "stayed" if flow.from_id == flow.to_id else "moved"
        counted[way] += flow.customers
    return counted


def _sizes(flows: Iterable[Flow]) -> list[Size]:
    names: dict[int, str] = {}
    before: dict[int, int] = {}
    now: dict[int, int] = {}
    for flow in flows:
        if flow.from_id is not None:
            names.setdefault(flow.from_id, flow.from_name or "")
            before[flow.from_id] = before.get(flow.from_id, 0) + flow.customers
        if flow.to_id is not None:
            names[flow.to_id] = flow.to_name or ""
            now[flow.to_id] = now.get(flow.to_id, 0) + flow.customers
    ordered = sorted(names, key=lambda each: (each == OUTLIERS, each))
    return [Size(each, names[each], before.get(each, 0), now.get(each, 0)) for each in ordered]


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[Pair]:
    for what in ("parameters", "versions"):
        old, new = json.loads(before[what]), json.loads(now[what])
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield Pair(name, old.get(name), new.get(name))


def _need(backend: Backend, contract: TableContract) -> None:
    if not has_table(backend, contract):
        raise NoAnswer("There are no segments yet: run `clustering-assets run`.")


def _rows(backend: Backend, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = backend.con.execute(query, list(parameters)).to_arrow_table().to_pylist()
    return rows
