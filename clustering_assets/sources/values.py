"""Typing: the text of a raw row becomes the values of a candidate line; what cannot be one becomes null, with a flag.

The functions are Ibis expressions over a raw table (columns ``c0``, ``c1``, ..., ``source_row``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from clustering_assets.sources.layout import Layout
from clustering_assets.sources.reading import RawRows

DATE_FLAGS = ("BAD_ORDER_DATE", "BAD_RETURN_DATE", "RETURN_BEFORE_ORDER")
"""Flags of a line one of whose dates could not be used."""

_TEXT_COLUMNS = ("category", "brand", "return_reason", "return_id")
_NUMBERS = ("quantity", "line_value", "unit_price", "return_quantity")
_DATES = ("order_date", "return_date")

_SAMPLE = 10_000
_DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)
_LARGEST_WHOLE = 2**53
"""Above it, a float64 does not hold every whole number."""


@ibis.udf.scalar.builtin
def try_strptime(text: str, date_format: str) -> dt.timestamp:  # type: ignore[empty-body]
    """Parse text by a format; null where it does not fit."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """How a file writes dates and decimals.

    ``date_formats`` is empty for ISO 8601, whose offsets from UTC are honoured where ``has_offsets`` is set.
    """

    date_formats: tuple[str, ...] = ()
    has_offsets: bool = False
    decimal_mark: str = "."
    ambiguous: bool = False

    @property
    def in_words(self) -> str:
        """What is not plain about it; empty for ISO dates and decimal points."""
        said = ["decimal commas"] if self.decimal_mark == "," else []
        if self.date_formats:
            said.append(f"dates like {self.date_formats[0]}")
        if self.ambiguous:
            said.append("every day is below 13, so day and month may be the other way round: set date_format in source.yaml")
        return ", ".join(said)


def conventions(raw: ir.Table, rows: RawRows) -> Conventions:
    """Find out how a staged file writes dates and decimals, as far as its layout does not say.

    Dates are ISO 8601 unless fewer than half of a sample are; else the formats that fit most values of the whole file
    win. A decimal comma is looked for only where the comma does not separate the columns.
    """
    positions = rows.layout.positions(rows.header)
    mark = rows.layout.decimal_mark
    if mark is None:
        mark = "," if rows.separator != "," and _has_decimal_commas(raw, positions) else "."
    if rows.layout.date_format:
        return Conventions((rows.layout.date_format,), decimal_mark=mark)
    dates = [_text(raw, positions[name]).name("text") for name in _DATES if name in positions]
    if not dates:
        return Conventions(decimal_mark=mark)
    column = raw.select(dates[0]).filter(lambda t: t.text.notnull())
    sample = column.limit(_SAMPLE)
    found = (
        sample.aggregate(
            given=sample.count(),
            iso=sample.text.try_cast("timestamp").count(),
            offsets=sample.text.re_search(r"\d[ T]?\d\d:\d\d.*(Z|[+-]\d\d:?(\d\d)?)$").ifelse(1, 0).sum(),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    if not found["given"] or found["iso"] * 2 >= found["given"]:
        return Conventions(has_offsets=bool(found["offsets"]), decimal_mark=mark)
    return _fitting_formats(column, mark)


def _fitting_formats(column: ir.Table, mark: str) -> Conventions:
    families = [(day,) for day in (*_DAY_FIRST, *_MONTH_FIRST, *_YEAR_FIRST)]
    fits = {f"f{i}": _parsed(column.text, _with_times(family)).count() for i, family in enumerate(families)}
    counts = column.aggregate(**fits).to_pyarrow().to_pylist()[0]
    best = max(range(len(families)), key=lambda i: counts[f"f{i}"])
    if counts[f"f{best}"] == 0:
        return Conventions(decimal_mark=mark)
    day_first = families[best][0] in _DAY_FIRST
    twin = families[best][0].replace("%d", "%?").replace("%m", "%d").replace("%?", "%m")
    ambiguous = day_first and (twin,) in families and counts[f"f{families.index((twin,))}"] == counts[f"f{best}"]
    return Conventions(_with_times(families[best]), decimal_mark=mark, ambiguous=ambiguous)


def _with_times(family: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(day + time for day in family for time in _TIMES)


def _parsed(text: ir.StringValue, formats: tuple[str, ...]) -> ir.TimestampValue:
    return ibis.coalesce(*(try_strptime(text, date_format) for date_format in formats))


def _has_decimal_commas(raw: ir.Table, positions: Mapping[str, int]) -> bool:
    columns = [positions[name] for name in _NUMBERS if name in positions]
    if not columns:
        return False
    sample = raw.limit(_SAMPLE)
    counts = sample.aggregate(
        commas=sum(_matches(sample, position, r"^[-+]?[\d.]*,\d+$") for position in columns),
        points=sum(_matches(sample, position, r"^[-+]?[\d,]*\.\d+$") for position in columns),
    )
    found = counts.to_pyarrow().to_pylist()[0]
    return (found["commas"] or 0) > (found["points"] or 0)


def _matches(raw: ir.Table, position: int, pattern: str) -> ir.IntegerScalar:
    return _text(raw, position).re_search(pattern).ifelse(1, 0).sum()


def _text(raw: ir.Table, position: int) -> ir.StringColumn:
    """Text without blanks around it; null where nothing else is there.

    Only text that has such blanks is stripped: to strip all takes 2.1 s of processor time for a column of 4.5 million
    rows, to look first 0.1 s.
    """
    text = raw[f"c{position}"]
    has_blanks = text < "!"
    for blank in " \t\r\n":
        has_blanks |= text.endswith(blank)
    return ibis.ifelse(has_blanks, text.strip().nullif(""), text)


def candidate_lines(raw: ir.Table, rows: RawRows, written: Conventions) -> ir.Table:
    """Turn raw rows into candidate lines: one row per raw row, nothing left out.

    The columns are those of ``bronze.order_lines`` but ``source_file`` and ``ingested_at``, and further: ``rejection``
    (why the row cannot be kept; null if it can), ``is_cancellation``, ``signed_quantity`` and ``return_id`` for the
    layouts, ``raw_text`` (see ``reading.RawRows``).

    A value that cannot be cast or breaks a rule is null and its code stands in ``quality_flags``: BAD_<COLUMN>,
    QUANTITY_NOT_POSITIVE, RETURN_BEFORE_ORDER, RETURN_EXCEEDS_QUANTITY (cut to the quantity).
    """
    positions = rows.layout.positions(rows.header)

    def untouched(name: str) -> ir.StringValue:
        return raw[f"c{positions[name]}"] if name in positions else ibis.null("string")

    def text(name: str) -> ir.StringValue:
        return _text(raw, positions[name]) if name in positions else ibis.null("string")

    typed = raw.select(
        "source_row",
        *(untouched(name).name(f"{name}_text") for name in (*_NUMBERS, *_DATES)),
        *(text(name).name(name) for name in _TEXT_COLUMNS),
        order_id=text("order_id"),
        source_customer_id=raw[f"c{positions['customer_id']}"],
        customer_text=text("customer_id"),
        sku=text("sku"),
        raw_text=raw.raw_text,
        **{name: _number(untouched(name), written.decimal_mark) for name in _NUMBERS},
        **{name: _date(untouched(name), written) for name in _DATES},
    )
    typed = typed.mutate(
        customer_id=ibis.ifelse(
            typed.customer_text.contains("@"), typed.customer_text.lower(), typed.customer_text
        ),
        signed_quantity=_whole(typed.quantity),
        whole_return=_whole(typed.return_quantity),
        line_value=ibis.coalesce(typed.line_value, typed.unit_price * typed.quantity),
    )
    lines = _ruled(typed)
    return rows.layout.refine(lines) if rows.layout.refine else lines


def _ruled(typed: ir.Table) -> ir.Table:
    positive = typed.signed_quantity > 0
    returned = ibis.ifelse(typed.whole_return >= 0, typed.whole_return, ibis.null("int64"))
    exceeds = positive & (returned > typed.signed_quantity)
    same_day = typed.return_date.date() == typed.order_date.date()
    too_early = (typed.return_date < typed.order_date) & ~same_day

    def is_bad(value: ir.Value, text: ir.StringValue) -> ir.BooleanValue:
        return value.isnull() & (text.strip() != "")

    flags = {
        "BAD_ORDER_DATE": is_bad(typed.order_date, typed.order_date_text),
        "BAD_QUANTITY": is_bad(typed.signed_quantity, typed.quantity_text),
        "QUANTITY_NOT_POSITIVE": ~positive,
        "BAD_LINE_VALUE": is_bad(typed.line_value, typed.line_value_text) | is_bad(typed.unit_price, typed.unit_price_text),
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
        return_date=ibis.ifelse(
            too_early, ibis.null("timestamp"), ibis.ifelse(same_day & (typed.return_date < typed.order_date),
                                                          typed.order_date, typed.return_date)
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
    if decimal_mark == ",":
        text = text.replace(".", "").replace(",", ".")
    number = text.try_cast("float64")
    return ibis.ifelse(number.isnan() | number.isinf(), ibis.null("float64"), number)


def _whole(number: ir.FloatingValue) -> ir.IntegerValue:
    is_whole = (number == number.floor()) & (number.abs() <= _LARGEST_WHOLE)
    return ibis.ifelse(is_whole, number, ibis.null("float64")).cast("int64")


def _date(text: ir.StringValue, written: Conventions) -> ir.TimestampValue:
    if written.date_formats:
        moment = _parsed(text, written.date_formats)
    elif written.has_offsets:
        moment = text.try_cast(dt.Timestamp(timezone="UTC")).cast("timestamp")
    else:
        moment = text.try_cast("timestamp")
    return ibis.ifelse(moment.between(_EARLIEST, _LATEST), moment, ibis.null("timestamp"))
