"""Words and numbers of a report in a language: texts from a YAML file, numbers and dates by the rules of CLDR.

Another language is one more file beside ``texts/en.yaml``; nothing else knows which there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from babel import Locale
from babel.dates import format_date
from babel.numbers import (
    NumberPattern,
    format_compact_currency,
    format_compact_decimal,
    format_currency,
    format_decimal,
    get_currency_precision,
    list_currencies,
    parse_pattern,
)
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from clustering_assets.reports.findings import Saving

_Text = TypeVar("_Text", bound=str)

_FOLDER = Path(__file__).with_name("texts")
_MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"
COMPACT_FROM = 1_000_000
"""Money from here on is told as 1.4M where there is little room."""

LEAST_SHARE = 0.001
"""A share below it that is not nothing is told as less than it."""


def languages() -> list[str]:
    """Return the codes of the languages that there are texts in."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def currencies() -> set[str]:
    """Return the codes of the currencies that money can be told in."""
    return list_currencies()


@cache
def texts(language: str) -> dict[str, Any]:
    """Read the texts of a language."""
    read: dict[str, Any] = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return read


@dataclass(frozen=True, slots=True)
class Wording:
    """Texts and formats of one language and currency.

    Parameters
    ----------
    language
        One of `languages`.
    currency
        ISO 4217 code of the order lines' money.
    """

    language: str
    currency: str

    @property
    def locale(self) -> Locale:
        """The rules of the language."""
        return Locale.parse(texts(self.language)["locale"])

    def text(self, key: str) -> Any:
        """Return the text, or the texts, of a key such as ``map.heading``; raise KeyError if there is none."""
        found: Any = texts(self.language)
        for part in key.split("."):
            found = found[part]
        return found

    def say(self, key: str, **filled: object) -> Markup:
        """Return a text as HTML, with figures filled in; what is not HTML already is escaped."""
        return escape(self.text(key)).format(**filled)

    def plain(self, key: str, **filled: object) -> str:
        """Return a text with figures filled in, where no HTML is wanted."""
        return str(self.text(key)).format(**filled)

    def counted(self, key: str, count: int, shown: object = None) -> Markup:
        """Return a text in the plural form that a number takes, with the number as ``count``."""
        form = self.locale.plural_form(count)
        forms = self.text(key)
        return escape(forms.get(form, forms["other"])).format(count=self.number(count) if shown is None else shown)

    def assumptions(self, saving: Saving, say: Callable[..., _Text]) -> list[_Text]:
        """Return what a saving rests on, a text per kind of cost, each said by `say` or `plain`."""
        parts = []
        if saving.handling_averted:
            parts.append(
                say(
                    "segments.handling",
                    share=self.percent(saving.handling_averted),
                    lines=self.number(saving.returned_lines),
                    each=self.money(saving.handling_per_line, cents=True),
                )
            )
        if saving.value_loss_averted:
            parts.append(
                say(
                    "segments.value_loss",
                    share=self.percent(saving.value_loss_averted),
                    lost=self.percent(saving.value_lost_share),
                    value=self.money(saving.returned_value),
                )
            )
        return parts

    def name_of(self, key: str, name: str) -> str:
        """Return the word of a list for a name, such as ``quality.codes``; the name where there is none."""
        return str(self.text(key).get(name, name))

    # ------------------------------------------------------------------------------------------------ numbers and dates

    def number(self, value: float | None, digits: int = 0) -> str:
        """Format a number with so many digits after the decimal point at most."""
        if value is None:
            return UNKNOWN
        return self._minus(format_decimal(_whole(value, digits), _pattern("#,##0", digits, optional=True), self.locale))

    def fixed(self, value: float | None, digits: int = 2) -> str:
        """Format a number with exactly so many digits after the decimal point."""
        if value is None:
            return UNKNOWN
        return self._minus(format_decimal(_whole(value, digits), _pattern("#,##0", digits), self.locale))

    def percent(self, share: float | None, digits: int | None = None) -> str:
        """Format a share in per cent: by itself with a digit after the decimal point below 10 %."""
        if share is None:
            return UNKNOWN
        if 0 < abs(share) < LEAST_SHARE:
            return f"<{self.percent(LEAST_SHARE)}" if share > 0 else f">{self.percent(-LEAST_SHARE)}"
        if digits is None:
            digits = 1 if 0 < abs(share) < 0.0995 else 0
        number = format_decimal(_whole(100 * share, digits), _pattern("#,##0", digits), self.locale)
        pattern = self.locale.percent_formats[None].pattern  # tells whether there is a blank before the sign
        return self._minus(number) + str(pattern).lstrip("#,0.")

    def points(self, difference: float | None) -> str:
        """Format a difference of shares in percentage points, with its sign."""
        return UNKNOWN if difference is None else self._signed(100 * difference, 1)

    def signed(self, difference: float | None, digits: int = 0) -> str:
        """Format a difference with its sign."""
        return UNKNOWN if difference is None else self._signed(difference, digits)

    def money(self, value: float | None, *, cents: bool = False) -> str:
        """Format money in whole units, or to the smallest one."""
        if value is None:
            return UNKNOWN
        digits = get_currency_precision(self.currency) if cents else 0
        pattern = self._currency_pattern(digits)
        return self._minus(
            format_currency(_whole(value, digits), self.currency, pattern, self.locale, currency_digits=False)
        )

    def short_money(self, value: float | None) -> str:
        """Format money where there is little room: three or four digits of what is large."""
        if value is None or abs(value) < COMPACT_FROM:
            return self.money(value)
        return self._minus(format_compact_currency(value, self.currency, locale=self.locale, fraction_digits=1))

    def short_number(self, value: float | None) -> str:
        """Format a number where there is little room."""
        if value is None or abs(value) < COMPACT_FROM:
            return self.number(value)
        return self._minus(format_compact_decimal(value, locale=self.locale, fraction_digits=1))

    def measured(self, value: float | None, unit: str) -> str:
        """Format a value in a unit of the contracts, such as ``share``, ``money`` or ``days``."""
        if value is None:
            return UNKNOWN
        if unit == "share":
            return self.percent(value, 0 if abs(value) >= 0.0995 or value == 0 else 1)
        if unit == "money":
            return self.money(value, cents=abs(value) < 100)
        if unit == "difference":
            return f"{self.points(value)} {self.unit('points', value)}"
        if unit not in self.text("units"):
            return self.number(value, 2 if abs(value) < 10 else 1)
        rounded = round(value, 1 if abs(value) < 100 else 0)
        return f"{self.number(rounded, 1)} {self.unit(unit, rounded)}"

    def unit(self, unit: str, count: float) -> str:
        """Return a unit in the plural form that a number takes."""
        forms = self.text("units")[unit]
        return str(forms.get(self.locale.plural_form(count), forms["other"]))

    def day(self, day: date) -> str:
        """Format a day."""
        return format_date(day, "medium", self.locale)

    def month(self, day: date) -> str:
        """Format the month of a day, short."""
        return format_date(day, "MMM yyyy", self.locale)

    def feature(self, name: str) -> str:
        """Return what a feature is called."""
        return self.name_of("features", name)

    # ------------------------------------------------------------------------------------------ words of the vocabulary

    def segment(self, name: str) -> str:
        """Return the name of a segment: the entry of the vocabulary and the word that tells it from its likes."""
        said = self.text("vocabulary")
        base, comma, word = name.partition(", ")
        names, words = said.get("names", {}), said.get("words", {})
        if base in names:
            return f"{names[base]}{comma}{words.get(word, word)}"
        bare, _, number = base.rpartition(" ")
        return f"{names[bare]} {number}" if bare in names and number.isdigit() else name

    def in_a_sentence(self, name: str) -> str:
        """Write a name as it stands within a sentence: most languages begin it with a small letter there."""
        return name[:1].lower() + name[1:] if re.match(self.text("begins_small"), name) else name

    def action(self, kind: str | None, action: str) -> str:
        """Return the action of an entry of the vocabulary."""
        return str(self.text("vocabulary").get("actions", {}).get(kind, action))

    # ----------------------------------------------------------------------------------------------------------- inside

    def _signed(self, value: float, digits: int) -> str:
        rounded = _whole(value, digits)
        return ("+" if rounded > 0 else "±" if rounded == 0 else "") + self.fixed(rounded, digits)

    def _minus(self, text: str) -> str:
        return text.replace("-", _MINUS)

    def _currency_pattern(self, digits: int) -> str:
        pattern: NumberPattern = self.locale.currency_formats["standard"]
        return str(pattern.pattern).replace(".00", "." + "0" * digits if digits else "")


def _whole(value: float, digits: int) -> float:
    """Round as Python does, so that -0.04 does not become a negative nothing."""
    return round(value, digits) + 0.0


def _pattern(whole: str, digits: int, *, optional: bool = False) -> NumberPattern:
    return parse_pattern(whole + ("." + ("#" if optional else "0") * digits if digits else ""))
