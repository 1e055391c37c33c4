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
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from clustering_assets.sources import online_retail, order_lines, returns_export
from clustering_assets.sources.files import MAPPING_FILE
from clustering_assets.sources.layout import CANONICAL, Layout, Repeats

KNOWN_LAYOUTS = {layout.name: layout for layout in (returns_export.LAYOUT, online_retail.LAYOUT, order_lines.LAYOUT)}


def _known(name: str) -> str:
    if name not in CANONICAL:
        raise ValueError(f"is no column of an order line; those are {', '.join(CANONICAL)}")
    return name


_Canonical = Annotated[str, AfterValidator(_known)]


class BadMapping(Exception):
    """``source.yaml`` or the configured layout cannot be used; the message says where and why."""


class _MappingFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    layout: str | None = None
    columns: dict[_Canonical, Annotated[str, Field(min_length=1)]] | None = None
    date_format: Annotated[str, Field(pattern="%")] | None = None
    decimal_mark: Literal[".", ","] | None = None
    repeats: Annotated[Repeats, Field(strict=False)] = Repeats.LATEST

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
        lacking = [
            name for name in order_lines.LAYOUT.required if self.columns is not None and name not in self.columns
        ]
        if lacking:
            raise ValueError(f"'columns' lacks {', '.join(lacking)}")
        return self


def layouts_for(folder: Path, configured: str | None = None) -> list[Layout]:
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
    if not path.exists():
        return list(KNOWN_LAYOUTS.values())
    given = _read(path)
    if given.layout is not None:
        known = KNOWN_LAYOUTS[given.layout]
        return [replace(known, date_format=given.date_format, decimal_mark=given.decimal_mark)]
    columns: dict[str, tuple[str, ...]] = {canonical: (source,) for canonical, source in (given.columns or {}).items()}
    mapped = Layout(MAPPING_FILE, columns, tuple(columns), given.repeats, given.date_format, given.decimal_mark)
    return [mapped, *KNOWN_LAYOUTS.values()]


def _read(path: Path) -> _MappingFile:
    try:
        return _MappingFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BadMapping(f"{path} is no readable YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{_key(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()
        )
        raise BadMapping(f"{path} cannot be used: {faults}") from error


def _key(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location if step != "[key]") or "the file"
