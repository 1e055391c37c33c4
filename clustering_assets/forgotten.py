"""Who asked to be forgotten: the requests, and a record by which those customers are recognised when they come again.

A request is a text file in the folder ``forget`` of the home, one customer id a line. The record is a file beside the
warehouse, so that it outlives it. It holds a keyed hash of each id and the key, which is nobody else's: neither can the
hashes be joined with pseudonyms, nor does another pseudonym key undo a request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from clustering_assets.durable import written_beside
from clustering_assets.versions import fingerprint


class UnusableRequest(Exception):
    """A request, or the record of those before, cannot be read; the message says what to do and names nobody."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The customers who are to be kept out.

    Parameters
    ----------
    key
        Key of the hashes.
    customers
        When they asked first (ISO 8601, UTC), by the hash of their canonical id.
    """

    key: str = field(default="", repr=False)
    customers: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, canonical_id: str) -> bool:
        return bool(self.customers) and self._hash(canonical_id) in self.customers

    @property
    def digest(self) -> str:
        """Fingerprint of who they are; empty where there is nobody."""
        return fingerprint(*sorted(self.customers)) if self.customers else ""

    def and_also(self, canonical_ids: Iterable[str], now: datetime) -> Forgotten:
        """Return the same with more customers."""
        grown = Forgotten(self.key or secrets.token_hex(32), self.customers)
        moment = now.isoformat(timespec="seconds")
        return Forgotten(grown.key, {**{grown._hash(each): moment for each in canonical_ids}, **self.customers})

    def _hash(self, canonical_id: str) -> str:
        return hmac.digest(self.key.encode(), canonical_id.encode(), hashlib.sha256).hex()


def read_record(home: Path) -> Forgotten:
    """Read who is to be kept out.

    Raises
    ------
    UnusableRequest
        If the file is there and damaged.
    """
    path = _record(home)
    try:
        return Forgotten(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Forgotten()
    except (OSError, ValueError, TypeError) as error:
        raise UnusableRequest(
            f"{path} cannot be read ({type(error).__name__}), and without it customers who were forgotten would come "
            "back: put back a copy of it."
        ) from error


def write_record(home: Path, forgotten: Forgotten) -> None:
    """Write the record, whole or not at all; only its owner may read it."""
    with written_beside(_record(home)) as beside:
        beside.touch(0o600)
        beside.write_text(json.dumps({"key": forgotten.key, "customers": dict(forgotten.customers)}))


def requests(home: Path) -> list[Path]:
    """List the files with requests, hidden ones aside; the folder for them is made when missing."""
    folder = home / "forget"
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def requested_ids(path: Path) -> list[str]:
    """Read the ids of a request, as they are written.

    Raises
    ------
    UnusableRequest
        If the file is no text in UTF-8. It is not named, since it may be called after somebody.
    """
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise UnusableRequest(
            f"A file in {path.parent} cannot be read ({type(error).__name__}): save it as text in UTF-8, one customer "
            "id a line."
        ) from None


def _record(home: Path) -> Path:
    return home / "forgotten.json"
