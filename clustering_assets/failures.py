"""Failures that a person can act on end a step with one sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from clustering_assets.config import BadSetting
from clustering_assets.durable import CannotWrite
from clustering_assets.out_of_time import TooLittleHistory
from clustering_assets.publishing.content import NothingToPublish
from clustering_assets.publishing.database import PublishingFailed
from clustering_assets.segmentation.model_file import UnusableModel
from clustering_assets.silver import NoCustomers
from clustering_assets.sources.ingestion import NoUsableRows
from clustering_assets.sources.mapping import BadMapping
from clustering_assets.warehouse import WarehouseUnavailable


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn an expected fault into a Dagster failure that says just what its message says.

    Only a warehouse that somebody else holds, and a database that may come back, are worth another try.
    """
    try:
        yield
    except (
        BadMapping,
        BadSetting,
        CannotWrite,
        NoCustomers,
        NoUsableRows,
        NothingToPublish,
        PublishingFailed,
        TooLittleHistory,
        UnusableModel,
        WarehouseUnavailable,
    ) as error:
        transient = isinstance(error, WarehouseUnavailable) or (isinstance(error, PublishingFailed) and error.transient)
        raise dg.Failure(str(error), allow_retries=transient) from error
