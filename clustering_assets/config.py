"""What can be set of a deployment: its environment. What can be set of a run is in `run_config`."""

import math
import os
import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

_CHECKOUT = Path(__file__).resolve().parent.parent
_TEXTS = Path(__file__).with_name("reports") / "texts"
"""What the report says, a file per language."""

_LEAST_KEY_LENGTH = 16
"""Characters of a key of pseudonyms. E-mail addresses can be guessed one by one: it is the key that must not be."""


class BadSetting(Exception):
    """An environment variable holds what it must not; the message says what it may be."""


@dataclass(frozen=True)
class Environment:
    """The environment variables that the project reads, all of them optional."""

    home: Path
    source_dir: Path
    source_layout: str | None
    engine: str
    spark_master: str
    spark_dir: Path
    spark_driver_memory: str
    as_of: date | None
    pseudonym_key: str | None = field(repr=False)
    memory_limit: str
    lock_wait: float
    least_rows_kept: float
    keep_exports: int
    keep_models: int
    keep_run_days: int
    publish_url: str | None = field(repr=False)
    publish_schema: str
    publish_dropped_columns: str
    alert_urls: tuple[str, ...] = field(repr=False)
    heartbeat_url: str | None = field(repr=False)
    ui_url: str
    no_new_data_days: int
    language: str
    currency: str
    max_expanded_size: int
    allow_links: bool


def read_environment() -> Environment:
    """Read the environment; a folder that is not set lies in the checkout, or else where the process runs.

    Raises
    ------
    BadSetting
        If a value cannot be used.
    """
    base = _CHECKOUT if (_CHECKOUT / "workspace.yaml").exists() else Path.cwd()
    engine = os.environ.get("CLUSTERING_ENGINE") or "duckdb"
    if engine not in ("duckdb", "spark"):
        raise BadSetting(f"CLUSTERING_ENGINE is {engine!r}; it can be duckdb or spark")
    pseudonym_key = os.environ.get("CLUSTERING_PSEUDONYM_KEY") or None
    if pseudonym_key and len(pseudonym_key) < _LEAST_KEY_LENGTH:
        raise BadSetting(
            f"CLUSTERING_PSEUDONYM_KEY has fewer than {_LEAST_KEY_LENGTH} characters and could be guessed: set a "
            "random one, such as `openssl rand -hex 32` prints"
        )
    dropped_columns = os.environ.get("CLUSTERING_PUBLISH_DROPPED_COLUMNS") or "keep"
    if dropped_columns not in ("keep", "refuse"):
        raise BadSetting(f"CLUSTERING_PUBLISH_DROPPED_COLUMNS is {dropped_columns!r}; it can be keep or refuse")
    home = Path(os.environ.get("CLUSTERING_HOME") or base / ".clustering_home").expanduser().resolve()
    return Environment(
        home=home,
        source_dir=Path(os.environ.get("CLUSTERING_SOURCE_DIR") or base / "data").expanduser().resolve(),
        source_layout=os.environ.get("CLUSTERING_SOURCE_LAYOUT") or None,
        engine=engine,
        spark_master=os.environ.get("CLUSTERING_SPARK_MASTER") or "local[*]",
        spark_dir=Path(os.environ.get("CLUSTERING_SPARK_DIR") or home / "spark").expanduser().resolve(),
        spark_driver_memory=os.environ.get("CLUSTERING_SPARK_DRIVER_MEMORY") or "2g",
        as_of=parse_day(os.environ.get("CLUSTERING_AS_OF") or None, "CLUSTERING_AS_OF"),
        pseudonym_key=pseudonym_key,
        memory_limit=os.environ.get("CLUSTERING_MEMORY_LIMIT") or "2GB",
        lock_wait=_seconds(os.environ.get("CLUSTERING_LOCK_WAIT") or "60", "CLUSTERING_LOCK_WAIT"),
        publish_url=os.environ.get("CLUSTERING_PUBLISH_URL") or None,
        publish_schema=os.environ.get("CLUSTERING_PUBLISH_SCHEMA") or "customer_segments",
        publish_dropped_columns=dropped_columns,
        alert_urls=tuple((os.environ.get("CLUSTERING_ALERT_URLS") or "").split()),
        heartbeat_url=os.environ.get("CLUSTERING_HEARTBEAT_URL") or None,
        ui_url=(os.environ.get("CLUSTERING_UI_URL") or "http://127.0.0.1:3000").rstrip("/"),
        no_new_data_days=_whole_number(
            os.environ.get("CLUSTERING_NO_NEW_DATA_DAYS") or "7", "CLUSTERING_NO_NEW_DATA_DAYS"
        ),
        language=_language(os.environ.get("CLUSTERING_LANGUAGE") or "en"),
        currency=_currency(os.environ.get("CLUSTERING_CURRENCY") or "EUR"),
        max_expanded_size=_parse_size(
            os.environ.get("CLUSTERING_MAX_EXPANDED_SIZE") or "50GB", "CLUSTERING_MAX_EXPANDED_SIZE"
        ),
        allow_links=os.environ.get("CLUSTERING_ALLOW_LINKS") == "1",
        least_rows_kept=_share(os.environ.get("CLUSTERING_LEAST_ROWS_KEPT") or "0.1", "CLUSTERING_LEAST_ROWS_KEPT"),
        keep_exports=_whole_number(
            os.environ.get("CLUSTERING_KEEP_EXPORTS") or "12", "CLUSTERING_KEEP_EXPORTS", least=1
        ),
        keep_models=_whole_number(os.environ.get("CLUSTERING_KEEP_MODELS") or "24", "CLUSTERING_KEEP_MODELS", least=1),
        keep_run_days=_whole_number(
            os.environ.get("CLUSTERING_KEEP_RUN_DAYS") or "90", "CLUSTERING_KEEP_RUN_DAYS", least=1
        ),
    )


def _share(text: str, name: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise BadSetting(f"{name} is {text!r}; it has to be a share from 0 to 1, such as 0.1")
    return share


def parse_day(text: str | None, name: str) -> date | None:
    """Read a day written as YYYY-MM-DD; raise BadSetting, with the setting's name, for anything else."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadSetting(f"{name} is {text!r}; it has to be a day such as 2025-12-31") from error


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadSetting(f"{name} is {text!r}; it has to be a number of seconds, such as 60, or 0 for not at all")
    return seconds


def _whole_number(text: str, name: str, least: int = 0) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise BadSetting(f"{name} is {text!r}; it has to be a whole number, {least} or more")
    return int(text)


def _language(code: str) -> str:
    there = sorted(path.stem for path in _TEXTS.glob("*.yaml"))
    if code not in there:
        raise BadSetting(f"CLUSTERING_LANGUAGE is {code!r}; it can be {' or '.join(there)}")
    return code


def _currency(code: str) -> str:
    if not re.fullmatch("[A-Z]{3}", code):
        raise BadSetting(f"CLUSTERING_CURRENCY is {code!r}; it has to be a code of ISO 4217, such as EUR")
    return code


def _parse_size(text: str, name: str) -> int:
    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise BadSetting(f"{name} is {text!r}; it has to be a size such as 50GB") from error
