"""Failures that a person can act on end a step with one sentence instead of a traceback.

What nobody expected may have a customer's data in its message: that goes to a log of its own in the home, which is
removed when customers are forgotten, and Dagster's event log has the number by which it is found there.
"""

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from clustering_assets.acceptance import ContractBroken
from clustering_assets.config import BadSetting
from clustering_assets.durable import CannotWrite
from clustering_assets.forgetting import NotForgotten
from clustering_assets.forgotten import UnusableRequest
from clustering_assets.out_of_time import TooLittleHistory
from clustering_assets.publishing.content import NothingToPublish
from clustering_assets.publishing.database import PublishingFailed
from clustering_assets.reports.findings import NothingToReport
from clustering_assets.segmentation.model_file import UnusableModel
from clustering_assets.silver import NoCustomers
from clustering_assets.sources.ingestion import NoUsableRows
from clustering_assets.sources.mapping import BadMapping
from clustering_assets.spark.session import SparkUnavailable
from clustering_assets.warehouse import WarehouseUnavailable

ERROR_LOG = "errors.log"
_LARGEST_LOG = 10_000_000

_PACKAGE = str(Path(__file__).parent)
_log = logging.getLogger("clustering_assets.errors")
_log.propagate = False


class _PrivateLog(RotatingFileHandler):
    """A log file that only its owner can read."""

    def _open(self) -> Any:
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def log_errors_in(home: Path) -> None:
    """Let unexpected errors be written to the log of a home, instead of to the one before."""
    for handler in list(_log.handlers):
        _log.removeHandler(handler)
        handler.close()
    with suppress(OSError):  # a home that cannot be written is told of where something is to be written to it
        home.mkdir(parents=True, exist_ok=True)
    log = _PrivateLog(home / ERROR_LOG, maxBytes=_LARGEST_LOG, backupCount=1, delay=True)
    log.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _log.addHandler(log)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn an expected fault into a failure that says just what its message says, and any other into a number.

    Only a warehouse that somebody else holds, and a database that may come back, are worth another try.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except (
        BadMapping,
        BadSetting,
        CannotWrite,
        ContractBroken,
        NoCustomers,
        NotForgotten,
        NoUsableRows,
        NothingToPublish,
        NothingToReport,
        SparkUnavailable,
        PublishingFailed,
        TooLittleHistory,
        UnusableModel,
        UnusableRequest,
        WarehouseUnavailable,
    ) as error:
        transient = isinstance(error, WarehouseUnavailable) or (isinstance(error, PublishingFailed) and error.transient)
        raise dg.Failure(str(error), allow_retries=transient) from None
    except Exception as error:
        number = uuid4().hex[:12]
        _log.exception("error %s", number)
        frames = traceback.extract_tb(error.__traceback__)
        place = [frame for frame in frames if frame.filename.startswith(_PACKAGE)][-1]
        raise dg.Failure(
            f"Unexpected {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}. Its message may "
            f"hold a customer's data: it is in {ERROR_LOG} of the home folder, by the number {number}.",
            metadata={"traceback": dg.MetadataValue.md("```\n" + "".join(traceback.format_list(frames)) + "```")},
        ) from None
