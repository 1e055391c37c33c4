"""Typing: the text of a raw row becomes the values of a candidate line.

What cannot become a value is null, and the line carries a flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from clustering_assets.sources.customer_ids import BLANKS, canonical, trimmed
from clustering_assets.sources.files import MAPPING_FILE, UnusableFile
from clustering_assets.sources.layout import CANONICAL
from clustering_assets.sources.reading import NUMBERED_ROWS, RawRows

_TEXT_COLUMNS = ("category", "brand", "return_reason", "return_id")
_NUMBERS = ("quantity", "line_value", "unit_price", "return_quantity")
_DATES = ("order_date", "return_date")

_SAMPLE = 10_000
_DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_OF_A_TIME = {"%H", "%I", "%c", "%X"}
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)
_OF_OUR_TIME = f"between '{_EARLIEST}' and '{_LATEST}'"
_LENGTH_WITHOUT_OFFSET = len("2024-01-31 23:59:59")
_LARGEST_WHOLE = 2**53
"""Above it, a float64 does not hold every whole number."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def try_strptime(text: str, formats: list[str]) -> dt.timestamp:
    """Parse text by the first format that fits; null where none does."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """How a file writes dates and decimals.

    ``date_formats`` are the ``strptime`` formats of ``formatted``, the date columns that are not in ISO 8601;
    ``decimal_mark`` is that of ``numbers``, the columns whose numbers are text.
    """

    date_formats: tuple[str, ...] = ()
    formatted: frozenset[str] = frozenset()
    decimal_mark: str = "."
    numbers: frozenset[str] = frozenset()
    is_ambiguous: bool = False

    @property
    def in_words(self) -> str:
        """What is not plain about it; empty for ISO dates and decimal points."""
        said = ["decimal commas"] if self.decimal_mark == "," else []
        if self.formatted:
            said.append(f"dates like {self.date_formats[0]}")
        if self.is_ambiguous:
            said.append(
                "no day is above 12, so day and month may be the other way round: set date_format in source.yaml"
            )
        return ", ".join(said)


def conventions(connection: duckdb.DuckDBPyConnection, rows: RawRows) -> Conventions:
    """Find out how a staged file writes dates and decimals, as far as its layout does not say.

    The dates of a column are ISO 8601 unless fewer than half of a sample are; then they have the formats that fit most
    values of the whole file. A decimal comma is looked for only where the comma does not separate the columns.

    Raises
    ------
    UnusableFile
        If no order date at all is written as the layout says.
    """
    numbers = frozenset(_NUMBERS) - rows.typed
    mark = rows.layout.decimal_mark
    if mark is None:
        mark = "," if rows.separator != "," and _has_decimal_commas(connection, numbers) else "."
    formatted = frozenset(name for name in _DATES if not _is_iso(connection, name))
    formats: tuple[str, ...] = ()
    is_ambiguous = False
    if rows.layout.date_format:
        formats = _given_formats(connection, rows.layout.date_format, formatted)
    elif formatted:
        formats, is_ambiguous = _fitting_formats(connection, formatted)
    return Conventions(formats, formatted if formats else frozenset(), mark, numbers, is_ambiguous)


def _given_formats(connection: duckdb.DuckDBPyConnection, given: str, formatted: frozenset[str]) -> tuple[str, ...]:
    """Return the format that a layout gives, with times of day where it is of a day alone."""
    formats = _with_times(given) if not set(re.findall("%.", given)) & _OF_A_TIME else (given,)
    if "order_date" in formatted:
        fits = f"select count(*) filter (try_strptime(text, $1) {_OF_OUR_TIME}) from ({_texts(['order_date'])})"
        if connection.execute(fits, [list(formats)]).fetchall() == [(0,)]:
            raise UnusableFile(
                f"has no order date that is written as the date_format {given!r} of {MAPPING_FILE} says: write it as "
                "the dates in the file are, or leave it out, so that it is found out"
            )
    return formats


def _texts(names: Iterable[str], rows: str = NUMBERED_ROWS) -> str:
    columns = ", ".join(f"nullif(trim({name}, '{BLANKS}'), '')" for name in names)
    return f"select text from (select unnest([{columns}]) as text from {rows}) where text is not null"


def _is_iso(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    sample = f"{_texts([name])} limit {_SAMPLE}"
    counted = connection.execute(
        f"select count(*) filter (try_cast(text as timestamp) {_OF_OUR_TIME}) * 2 >= count(*) from ({sample})"
    )
    return bool(counted.fetchall()[0][0])


def _has_decimal_commas(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> bool:
    sample = _texts(sorted(names), f"(from {NUMBERED_ROWS} limit {_SAMPLE})")
    counted = connection.execute(
        f"""select count(*) filter (regexp_matches(text, '^[-+]?[0-9.]*,[0-9]+$'))
                 > count(*) filter (regexp_matches(text, '^[-+]?[0-9,]*[.][0-9]+$')) from ({sample})"""
    )
    return bool(counted.fetchall()[0][0])


def _fitting_formats(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """Return the formats that fit most values, if any do, and whether day and month could change places."""
    families = (*_DAY_FIRST, *_MONTH_FIRST, *_YEAR_FIRST)
    fits = ", ".join(f"count(*) filter (try_strptime(text, {[*_with_times(day)]}) {_OF_OUR_TIME})" for day in families)
    counts = connection.execute(f"select {fits} from ({_texts(sorted(names))})").fetchall()[0]
    found = dict(zip(families, counts, strict=True))
    best = max(families, key=lambda day: found[day])
    if not found[best]:
        return (), False
    twin = best.translate(str.maketrans("dm", "md"))
    return _with_times(best), best in _DAY_FIRST and found.get(twin) == found[best]


def _with_times(day: str) -> tuple[str, ...]:
    return tuple(day + time for time in _TIMES)


RAW_IN_HAND = ibis.table(
    {"source_row": "int64", **dict.fromkeys(CANONICAL, "string"), "raw_text": "string"}, name="raw_in_hand"
)
"""Raw rows, all or some of those that are staged: a view that has to be there when the lines are asked for."""


@cache
def candidate_query(written: Conventions, refine: Callable[[ir.Table], ir.Table] | None) -> str:
    """Return ``candidate_lines`` of ``RAW_IN_HAND`` as a query; to make it takes longer than to read a small file."""
    return str(ibis.to_sql(candidate_lines(RAW_IN_HAND, written, refine), dialect="duckdb"))


def candidate_lines(
    raw: ir.Table, written: Conventions, refine: Callable[[ir.Table], ir.Table] | None = None
) -> ir.Table:
    """Turn raw rows into candidate lines: one row per raw row, nothing left out.

    The columns are those of ``bronze.order_lines`` but ``source_file`` and ``ingested_at``, and further: ``fate``
    (``line``, ``cancellation`` or ``rejected``), ``rejection`` (why the row cannot be kept; null if it can),
    ``is_cancellation``, ``signed_quantity`` and ``return_id`` for the layouts, ``raw_text`` (see ``reading.RawRows``).

    A value that cannot be cast or breaks a rule is null and its code stands in ``quality_flags``: BAD_<COLUMN>,
    QUANTITY_NOT_POSITIVE, RETURN_BEFORE_ORDER, RETURN_EXCEEDS_QUANTITY (cut to the quantity).
    """
    text = {name: trimmed(raw[name]) for name in ("order_id", "customer_id", "sku", *_TEXT_COLUMNS)}
    dates = {name: trimmed(raw[name]) for name in _DATES}
    typed = raw.select(
        "source_row",
        "raw_text",
        **(text | {"customer_id": canonical(text["customer_id"])}),
        **{f"{name}_text": date for name, date in dates.items()},
        **{f"{name}_text": raw[name] for name in _NUMBERS},
        source_customer_id=raw.customer_id,
        **{name: _number(raw[name], written.decimal_mark if name in written.numbers else ".") for name in _NUMBERS},
        **{name: _date(dates[name], written.date_formats if name in written.formatted else ()) for name in _DATES},
    )
    typed = typed.mutate(
        signed_quantity=_whole(typed.quantity),
        whole_return=_whole(typed.return_quantity),
        line_value=ibis.coalesce(typed.line_value, _finite(typed.unit_price * typed.quantity)),
    )
    lines = _ruled(typed)
    lines = refine(lines) if refine else lines
    fate = ibis.cases((lines.rejection.notnull(), "rejected"), (lines.is_cancellation, "cancellation"), else_="line")
    return lines.mutate(fate=fate)


def _ruled(typed: ir.Table) -> ir.Table:
    positive = typed.signed_quantity > 0
    returned = ibis.ifelse(typed.whole_return >= 0, typed.whole_return, ibis.null("int64"))
    exceeds = positive & (returned > typed.signed_quantity)
    same_day = typed.return_date.date() == typed.order_date.date()
    too_early = (typed.return_date < typed.order_date) & ~same_day

    def is_bad(value: ir.Value, text: ir.StringValue) -> ir.BooleanValue:
        return ibis.ifelse(value.isnull() & text.notnull(), text.strip() != "", False)

    flags = {
        "BAD_ORDER_DATE": is_bad(typed.order_date, typed.order_date_text),
        "BAD_QUANTITY": is_bad(typed.signed_quantity, typed.quantity_text),
        "QUANTITY_NOT_POSITIVE": ~positive,
        "BAD_LINE_VALUE": is_bad(typed.line_value, typed.line_value_text)
        | is_bad(typed.unit_price, typed.unit_price_text),
        "BAD_RETURN_QUANTITY": is_bad(returned, typed.return_quantity_text),
        "RETURN_EXCEEDS_QUANTITY": exceeds,
        "BAD_RETURN_DATE": is_bad(typed.return_date, typed.return_date_text),
        "RETURN_BEFORE_ORDER": too_early,
    }
    nothing = ibis.null("string")
    return typed.select(
        "source_row",
        "order_id",
        "customer_id",
        "sku",
        "order_date",
        quantity=ibis.ifelse(positive, typed.signed_quantity, ibis.null("int64")),
        line_value=typed.line_value,
        return_quantity=ibis.coalesce(ibis.ifelse(exceeds, typed.signed_quantity, returned), 0),
        # a return noted by its day alone came back after the order of that day, not before it
        return_date=ibis.cases(
            (too_early, ibis.null("timestamp")),
            (same_day & (typed.return_date < typed.order_date), typed.order_date),
            else_=typed.return_date,
        ),
        category=typed.category,
        brand=typed.brand,
        return_reason=typed.return_reason,
        source_customer_id=typed.source_customer_id,
        quality_flags=joined_flags(flags),
        return_id=typed.return_id,
        signed_quantity=typed.signed_quantity,
        is_cancellation=ibis.literal(False),
        rejection=ibis.cases(
            (typed.customer_id.isnull(), "NO_CUSTOMER: the row has no customer id"),
            (typed.order_id.isnull(), "NO_ORDER: the row has no order number"),
            (typed.sku.isnull(), "NO_SKU: the row has no SKU"),
            else_=nothing,
        ),
        raw_text=typed.raw_text,
    )


def joined_flags(flags: Mapping[str, ir.BooleanValue]) -> ir.StringValue:
    """Join the codes whose condition is true by ``;``; empty where none is."""
    codes = [ibis.ifelse(condition, code, ibis.null("string")) for code, condition in flags.items()]
    return ibis.literal(";").join(codes)


def _number(text: ir.StringValue, decimal_mark: str) -> ir.FloatingValue:
    """Cast text to a number. Marks between thousands are left out where they stand in threes, else it is no number."""
    group = "." if decimal_mark == "," else ","
    in_threes = text.re_search(rf"^\s*[-+]?\d{{1,3}}(\{group}\d{{3}})+(\{decimal_mark}\d*)?\s*$")
    ungrouped = ibis.ifelse(in_threes, text.replace(group, ""), ibis.null("string"))
    text = ibis.ifelse(text.contains(group), ungrouped, text)
    return _finite((text.replace(",", ".") if decimal_mark == "," else text).try_cast("float64"))


def _finite(number: ir.FloatingValue) -> ir.FloatingValue:
    return ibis.ifelse(number.isnan() | number.isinf(), ibis.null("float64"), number)


def _whole(number: ir.FloatingValue) -> ir.IntegerValue:
    is_whole = (number % 1 == 0) & (number.abs() <= _LARGEST_WHOLE)
    return ibis.ifelse(is_whole, number, ibis.null("float64")).cast("int64")


def _date(text: ir.StringValue, formats: tuple[str, ...]) -> ir.TimestampValue:
    moment = try_strptime(text, list(formats)) if formats else _iso(text)
    return ibis.ifelse(moment.between(_EARLIEST, _LATEST), moment, ibis.null("timestamp"))


def _iso(text: ir.StringValue) -> ir.TimestampValue:
    """To heed an offset from UTC takes seven times as long: only text that is long enough for one is cast that way."""
    return ibis.ifelse(
        (text.length() > _LENGTH_WITHOUT_OFFSET) | text.contains("+"),
        text.try_cast(dt.Timestamp(timezone="UTC")).cast("timestamp"),
        text.try_cast("timestamp"),
    )


CANDIDATES = ibis.table(candidate_lines(RAW_IN_HAND, Conventions()).schema(), name="candidates")
"""The view of candidate lines that is made of ``candidate_query``."""
