"""The layout of a mapping file: ``source.yaml`` in the source folder says what the columns are called.

Either ``layout`` names a known layout that every file has, or ``columns`` gives canonical column -> source column::

    columns:
      order_id: Bestellnummer
      customer_id: Kunde
      sku: Artikel
      order_date: Datum
    date_format: "%d.%m.%Y"
    decimal_mark: ","
    repeats: latest
    cancellations: negative_quantity
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import ibis.expr.types as ir
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from clustering_assets.sources import online_retail, order_lines, returns_export
from clustering_assets.sources.files import (
    DEFAULT_LIMITS,
    MAPPING_FILE,
    FoundFile,
    Limits,
    UnusableFile,
    check_place,
    in_short,
)
from clustering_assets.sources.layout import CANONICAL, Layout, Repeats

KNOWN_LAYOUTS = {layout.name: layout for layout in (returns_export.LAYOUT, online_retail.LAYOUT, order_lines.LAYOUT)}


def _known(name: str) -> str:
    if name not in CANONICAL:
        raise ValueError(f"is no column of an order line; those are {', '.join(CANONICAL)}")
    return name


def _date_format(text: str) -> str:
    if "%" not in text:
        raise ValueError(f"{text!r} is no strptime format; one is %d.%m.%Y, in which %d is the day")
    return text


_LONGEST = 65_536
"""Bytes of ``source.yaml``."""

_DEEPEST = 5

_Canonical = Annotated[str, AfterValidator(_known)]


class BadMapping(Exception):
    """``source.yaml`` or the configured layout cannot be used; the message says where and why."""


class _MappingFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    layout: str | None = None
    columns: dict[_Canonical, Annotated[str, Field(min_length=1)]] | None = None
    date_format: Annotated[str, AfterValidator(_date_format)] | None = None
    decimal_mark: Literal[".", ","] | None = None
    repeats: Annotated[Repeats, Field(strict=False)] = Repeats.LATEST
    cancellations: Literal["negative_quantity"] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> _MappingFile:
        if (self.layout is None) == (self.columns is None):
            raise ValueError("give either 'layout' or 'columns'")
        if self.layout is not None and (
            self.layout not in KNOWN_LAYOUTS or self.model_fields_set - {"layout", "date_format", "decimal_mark"}
        ):
            raise ValueError(
                f"'layout' is one of {', '.join(KNOWN_LAYOUTS)}, and only date_format and decimal_mark go with it"
            )
        both = [name for name in self.columns or () if name.startswith("return_") and self.cancellations]
        if both:
            raise ValueError(f"what came back is known from 'cancellations' or from {', '.join(both)}: leave one out")
        lacking = [
            name for name in order_lines.LAYOUT.required if self.columns is not None and name not in self.columns
        ]
        if lacking:
            raise ValueError(f"'columns' lacks {', '.join(lacking)}")
        return self


def layouts_for(folder: Path, configured: str | None = None, limits: Limits = DEFAULT_LIMITS) -> list[Layout]:
    """Return the layouts to try on the files of a folder, in order.

    A configured layout is the only one; else that of ``source.yaml`` comes before the known ones.

    Raises
    ------
    BadMapping
        If the configured name is unknown or ``source.yaml`` does not say what it must.
    """
    if configured:
        if configured not in KNOWN_LAYOUTS:
            raise BadMapping(f"the layout {configured!r} is unknown: set one of {', '.join(KNOWN_LAYOUTS)}")
        return [KNOWN_LAYOUTS[configured]]
    path = folder / MAPPING_FILE
    if not os.path.lexists(path):
        return list(KNOWN_LAYOUTS.values())
    given = _read(path, folder, limits)
    if given.layout is not None:
        known = KNOWN_LAYOUTS[given.layout]
        return [replace(known, date_format=given.date_format, decimal_mark=given.decimal_mark)]
    columns: dict[str, tuple[str, ...]] = {canonical: (source,) for canonical, source in (given.columns or {}).items()}
    formats = (given.date_format, given.decimal_mark)
    mapped = Layout(MAPPING_FILE, columns, tuple(columns), given.repeats, *formats)
    if given.cancellations:
        mapped = replace(mapped, cancels=True, refine=_cancelled_by_negative_quantities)
    return [mapped, *KNOWN_LAYOUTS.values()]


def _cancelled_by_negative_quantities(candidates: ir.Table) -> ir.Table:
    return candidates.mutate(is_cancellation=(candidates.signed_quantity < 0).fill_null(False))


def _read(path: Path, folder: Path, limits: Limits) -> _MappingFile:
    try:
        check_place(FoundFile(MAPPING_FILE, path), folder, limits)
        with path.open("rb") as stream:
            content = stream.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise BadMapping(f"{path} is longer than {_LONGEST:,} bytes, as no mapping is: write it anew")
        text = content.decode()
        _check_size(path, text)
        return _MappingFile.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        faults = "; ".join(
            f"{_key(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()
        )
        raise BadMapping(f"{path} cannot be used: {faults}") from error
    except UnusableFile as error:
        raise BadMapping(f"{path} {error}") from error
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = in_short(ValueError(error.problem or "cannot be parsed"))
        advice = "put a value that starts with a sign, such as % or a comma, into quotation marks"
        raise BadMapping(f"{path} is no readable YAML{place}: {reason}; {advice}") from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise BadMapping(f"{path} is no readable YAML: {in_short(error)}") from error


def _check_size(path: Path, text: str) -> None:
    """A few bytes of YAML can stand for any amount of it, and what is deep takes the square of its depth to read."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise BadMapping(f"{path} refers to an anchor (*name), which can stand for any amount: write it out")
        if depth > _DEEPEST:
            raise BadMapping(f"{path} is deeper than {_DEEPEST} levels, as no mapping is: write it anew")


def _key(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location if step != "[key]") or "the file"
