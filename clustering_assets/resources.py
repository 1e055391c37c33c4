"""What assets need from outside: the home folder with the warehouse, and the source folder."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from clustering_assets.config import parse_day
from clustering_assets.warehouse import Warehouse


class Home(dg.ConfigurableResource[Any]):
    """The folder of everything the project writes."""

    path: str = Field(description="Folder of the warehouse, the exports and the models.")
    memory_limit: str = Field(default="2GB", description="What DuckDB may hold in memory before it spills to disk.")
    pseudonym_key: str | None = Field(
        default=None, description="Key of the pseudonyms that stand for customer ids; without it, one for this process."
    )

    @property
    def warehouse(self) -> Warehouse:
        """The tables."""
        return Warehouse(Path(self.path), self.memory_limit)

    @property
    def exports(self) -> Path:
        """Folder of the exports; made when missing."""
        folder = Path(self.path) / "exports"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class SourceFolder(dg.ConfigurableResource[Any]):
    """The folder that order lines come from."""

    path: str = Field(description="Folder of the source files.")
    layout: str | None = Field(default=None, description="Layout of every file; default: recognised from its header.")
    as_of: str | None = Field(default=None, description="Day to look from where a run does not say (YYYY-MM-DD).")

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.path)

    def day_to_look_from(self, configured: str | None) -> date | None:
        """Return the day of the run's config, else that of the deployment, else None: the latest order's."""
        return parse_day(configured or self.as_of, "as_of")
