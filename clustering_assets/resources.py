"""What assets need from outside: the home folder with the warehouse, and the source folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from clustering_assets.config import parse_day, read_environment
from clustering_assets.durable import remove_leftovers
from clustering_assets.failures import log_errors_in
from clustering_assets.locks import Busy, one_run_at_a_time, sign_of_life
from clustering_assets.lost_runs import end_lost_runs
from clustering_assets.sources.files import DEFAULT_LIMITS, Limits
from clustering_assets.spark.session import Cluster, check
from clustering_assets.warehouse import Warehouse

WAREHOUSE_POOL = "warehouse"
"""Pool of every step that opens the warehouse: dagster.yaml lets one run of it at a time leave the queue."""


class Home(dg.ConfigurableResource[Any]):
    """The folder of everything the project writes."""

    path: str = Field(description="Folder of the warehouse, the exports and the models.")
    memory_limit: str = Field(default="2GB", description="What DuckDB may hold in memory before it spills to disk.")
    lock_wait: float = Field(
        default=60, ge=0, description="Seconds to wait for another program that has the warehouse open."
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Home"]:
        """Log errors here, and keep other runs out for as long as a run takes; a sensor only looks and is not kept out.

        The queue does so for the runs that Dagster launches; a run in a process of its own, such as that of
        ``make run``, passes it by.
        """
        if context.run is None:
            yield self
            return
        log_errors_in(Path(self.path))
        try:
            with (
                sign_of_life(Path(self.path), context.run.run_id),
                one_run_at_a_time(Path(self.path), waits=self.lock_wait > 0),
            ):
                remove_leftovers(Path(self.path))
                if context.instance is not None:
                    end_lost_runs(Path(self.path), context.instance)
                yield self
        except Busy as error:
            raise dg.Failure(str(error)) from error

    @property
    def warehouse(self) -> Warehouse:
        """The tables."""
        return Warehouse(Path(self.path), self.memory_limit, self.lock_wait)

    @property
    def pseudonym_key(self) -> str | None:
        """Key of the pseudonyms, read where it is used: what a resource is configured with stands in the event log."""
        return read_environment().pseudonym_key

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
    max_expanded_size: int = Field(
        default=DEFAULT_LIMITS.max_expanded, description="Bytes that a compressed file may expand to."
    )
    allow_links: bool = Field(default=False, description="Whether links may lead out of the folder.")

    @property
    def limits(self) -> Limits:
        """What the folder may ask of the machine."""
        return Limits(self.max_expanded_size, self.allow_links)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.path)

    def day_to_look_from(self, configured: str | None) -> date | None:
        """Return the day of the run's config, else that of the deployment, else None: the latest order's."""
        return parse_day(configured or self.as_of, "as_of")


class Engine(dg.ConfigurableResource[Any]):
    """What computes bronze, silver and gold."""

    name: str = Field(
        default="duckdb",
        description="duckdb, on this machine, or spark, for order lines that one machine cannot hold.",
        pattern="^(duckdb|spark)$",
    )
    spark_master: str = Field(default="local[*]", description="Master of the Spark cluster.")
    spark_dir: str = Field(
        default="", description="Folder of Spark's tables, which all machines of the cluster see under this path."
    )
    spark_driver_memory: str = Field(default="2g", description="Memory of the driver's Java machine.")

    @property
    def cluster(self) -> Cluster | None:
        """The cluster, looked at before anything is read; None where DuckDB computes.

        Raises
        ------
        SparkUnavailable
            If Spark cannot be used as it is set up.
        """
        if self.name == "duckdb":
            return None
        cluster = Cluster(self.spark_master, Path(self.spark_dir), self.spark_driver_memory)
        check(cluster)
        return cluster


class Database(dg.ConfigurableResource[Any]):
    """The database that the tables are published to."""

    # From the environment when it is used, never as a value: the UI shows the values of resources.
    url: str | None = Field(default=None, description="SQLAlchemy URL; without it, nothing is published.")
    schema_name: str = Field(default="customer_segments", description="Schema of the tables; made when missing.")
    dropped_columns: str = Field(
        default="keep",
        description="What becomes of a column there that no contract has: keep it, empty, or refuse to publish.",
        pattern="^(keep|refuse)$",
    )


class Retention(dg.ConfigurableResource[Any]):
    """What is kept of what runs leave behind; the newest of everything always is."""

    keep_exports: int = Field(default=12, ge=1, description="Newest exports of each kind that stay.")
    keep_models: int = Field(
        default=24, ge=1, description="Newest models that stay, beside those that a table names as in use."
    )
    keep_run_days: int = Field(default=90, ge=1, description="Days that Dagster's records of a run stay.")


class Reporting(dg.ConfigurableResource[Any]):
    """How the report for business people tells what was found."""

    language: str = Field(default="en", description="Language of the report: a file in reports/texts.")
    currency: str = Field(default="EUR", description="Currency of the order lines (ISO 4217).")


class QualityLimits(dg.ConfigurableResource[Any]):
    """Limits of the tables and of the segmentation; figures on a limit are within it.

    Beyond the first one nothing is written; beyond the others a check warns.
    """

    least_rows_kept: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Least share of the order lines, and of the customers, of the last good run that a new one has to "
        "have: below it the tables stay as they were. 0 allows any loss.",
    )

    min_row_ratio: float = Field(
        default=0.9, ge=0, le=1, description="Least number of rows of a table, divided by that of the run before."
    )
    max_row_ratio: float = Field(
        default=3.0, ge=1, description="Largest number of rows of a table, divided by that of the run before."
    )
    max_missing_share_change: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Largest change, since the run before, of the share of rows that lack a value in a column: of "
        "order lines that have none, and of customers whose feature was filled in.",
    )
    max_rejected_share: float = Field(default=0.05, ge=0, le=1, description="Largest share of rows that were rejected.")
    max_newest_order_days: float | None = Field(
        default=None, ge=0, description="Days that the newest order may be old. Default: any."
    )
    min_outlier_share: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Least share of outliers. Under one in a thousand, the density step sets next to nobody aside.",
    )
    max_outlier_share: float = Field(
        default=0.1, ge=0, le=1, description="Largest share of outliers: more than one in ten is no exception."
    )
    min_silhouette: float = Field(
        default=0.25,
        ge=-1,
        le=1,
        description="Least silhouette in the space of the clustering. Below 0.25 there is no substantial structure "
        "(Kaufman and Rousseeuw 1990).",
    )
    min_stability: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Least stability of the segments. Below 0.6 they should not be trusted (Hennig 2007).",
    )
    min_smallest_segment_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Least share of the smallest segment: a smaller one is not worth an action.",
    )
    max_feature_drift: float = Field(
        default=0.25,
        ge=0,
        description="Largest PSI of a feature against the fit before. Above 0.25 it has shifted (Siddiqi 2006).",
    )
    max_segment_size_drift: float = Field(
        default=0.25, ge=0, description="Largest PSI of the segments' sizes against the fit before; as for a feature."
    )


def resources() -> dict[str, dg.ConfigurableResource[Any]]:
    """Return the resources by name, as the environment says."""
    environment = read_environment()
    return {
        "home": Home(
            path=str(environment.home), memory_limit=environment.memory_limit, lock_wait=environment.lock_wait
        ),
        "source": SourceFolder(
            path=str(environment.source_dir),
            layout=environment.source_layout,
            as_of=environment.as_of.isoformat() if environment.as_of else None,
            max_expanded_size=environment.max_expanded_size,
            allow_links=environment.allow_links,
        ),
        "engine": Engine(
            name=environment.engine,
            spark_master=environment.spark_master,
            spark_dir=str(environment.spark_dir),
            spark_driver_memory=environment.spark_driver_memory,
        ),
        "database": Database(
            url=dg.EnvVar("CLUSTERING_PUBLISH_URL") if environment.publish_url else None,
            schema_name=environment.publish_schema,
            dropped_columns=environment.publish_dropped_columns,
        ),
        "reporting": Reporting(language=environment.language, currency=environment.currency),
        "quality_limits": QualityLimits(least_rows_kept=environment.least_rows_kept),
        "retention": Retention(
            keep_exports=environment.keep_exports,
            keep_models=environment.keep_models,
            keep_run_days=environment.keep_run_days,
        ),
    }
