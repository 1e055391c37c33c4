"""Whether a deployment has what it needs, and what to do where not.

Nothing is sent, and nothing is written but what Dagster makes in its own folder when that is opened. What is secret
is never shown: a database goes by its URL without the password, a channel by its place and service.
"""

import difflib
import fcntl
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from clustering_assets.config import BadSetting, Environment, read_environment
from clustering_assets.locks import process_in_words

DISTRIBUTION = "clustering-assets"

_LEAST_ROOM = 200_000_000
"""Bytes below which a disk is as good as full."""

_ROOM_OF_WAREHOUSE = 3
"""A run may need this many times the size of the warehouse: it is written anew when somebody is forgotten."""

_MOST_FILES = 500
"""Source files whose header is looked at."""

_FEW = 3
"""Names that stand in a sentence."""

_NO_SETTING_OF_THE_PROJECT = {"CLUSTERING_UCI_DIR"}
"""Read by the benchmarks."""


class Verdict(StrEnum):
    """FINE; LOOK: something to know, or to do some day; BROKEN: to be mended."""

    FINE = "fine"
    LOOK = "look"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do."""

    about: str
    verdict: Verdict
    found: str
    advice: str = ""


def _fine(about: str, found: str) -> Finding:
    return Finding(about, Verdict.FINE, found)


def _look(about: str, found: str, advice: str) -> Finding:
    return Finding(about, Verdict.LOOK, found, advice)


def _broken(about: str, found: str, advice: str) -> Finding:
    return Finding(about, Verdict.BROKEN, found, advice)


def examine() -> Iterator[Finding]:
    """Look at everything, one thing after the other; what depends on the settings is left out where they are bad."""
    yield from _python()
    yield from _packages()
    yield from _programs()
    yield from _unknown_settings()
    try:
        environment = read_environment()
    except BadSetting as error:
        yield _broken("settings", f"{error}.", "Set it right, then ask again: the rest depends on the settings.")
        return
    yield _fine("settings", f"All of them can be used; home is {environment.home}.")
    looks: tuple[Callable[[Environment], Iterator[Finding]], ...] = (
        _home,
        _warehouse,
        _run_at_work,
        _source,
        _dagster,
        _alerts,
        _publishing,
    )
    for look in looks:
        about = look.__name__.strip("_").replace("_", " ")
        try:
            yield from look(environment)
        except Exception as error:  # the doctor goes on; a message could have a secret in it
            yield _broken(about, f"Looking at it ended with {type(error).__name__}.", "Report it as a fault.")


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    version, wanted = platform.python_version(), ">=3.11"
    with suppress(importlib.metadata.PackageNotFoundError):
        wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or wanted
    if SpecifierSet(wanted).contains(version, prereleases=True):
        yield _fine("python", f"{version}, as {wanted} asks for.")
    else:
        yield _broken("python", f"{version}, but {wanted} is needed.", "make clean && make PYTHON=python3.12 run")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield _broken("packages", f"{DISTRIBUTION} is not installed.", "pip install --editable . in the checkout.")
        return
    wrong, count = [], 0
    for wanted in map(Requirement, lines):
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            there = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            wrong.append(f"{wanted.name} is {there}, not {wanted.specifier}")
    if wrong:
        advice = "pip install --constraint requirements.lock --editable . in the checkout."
        yield _broken("packages", f"{'; '.join(wrong)}.", advice)
    else:
        yield _fine("packages", f"All {count} are there, in versions that are known to work.")


def _programs() -> Iterator[Finding]:
    """Find programs that are used where they are there: LibreOffice by tests, to open the workbooks as people do."""
    office = shutil.which("soffice")
    found = f"LibreOffice is at {office}." if office else "LibreOffice is not there; only tests would use it."
    yield _fine("programs", found)


def _unknown_settings() -> Iterator[Finding]:
    """Find variables that look like settings and are none: a setting with a slip in its name does nothing."""
    known = {f"CLUSTERING_{field.name.upper()}" for field in fields(Environment)}
    for name in sorted({each for each in os.environ if each.startswith("CLUSTERING_")} - known):
        if name in _NO_SETTING_OF_THE_PROJECT:
            continue
        near = difflib.get_close_matches(name, known, 1)
        meant = f"Is {near[0]} meant?" if near else "The table of settings in the README has those that there are."
        yield _look("settings", f"{name} is set, but there is no such setting.", meant)


def _home(environment: Environment) -> Iterator[Finding]:
    home = environment.home
    place = next(each for each in (home, *home.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        advice = "Check its permissions and its disk, or set CLUSTERING_HOME to another folder."
        yield _broken("home", f"{home} cannot be written ({error.strerror}).", advice)
        return
    free = shutil.disk_usage(place).free
    warehouse = home / "warehouse.duckdb"
    size = warehouse.stat().st_size if warehouse.exists() else 0
    room = f"{free / 1e9:,.1f} GB free"
    if free < _LEAST_ROOM:
        yield _broken("home", f"The disk of {home} is full: {room}.", "Free some space.")
    elif free < _ROOM_OF_WAREHOUSE * size:
        found = f"The disk of {home} has {room}, and the warehouse takes {size / 1e9:,.1f} GB."
        yield _look("home", found, "A run may need three times as much: free some space, or lower CLUSTERING_KEEP_*.")
    else:
        yield _fine("home", f"{home} can be written, with {room}.")


def _warehouse(environment: Environment) -> Iterator[Finding]:
    import duckdb

    from clustering_assets.warehouse import (
        NoWarehouse,
        Warehouse,
        WarehouseHeld,
        WarehouseUnavailable,
        utc_now,
        written_last,
    )

    try:
        duckdb.connect(config={"memory_limit": environment.memory_limit}).close()
    except duckdb.Error:
        found = f"CLUSTERING_MEMORY_LIMIT is {environment.memory_limit!r}, which DuckDB cannot use."
        yield _broken("warehouse", found, "Set it to a size such as 2GB.")
        return
    warehouse = Warehouse(environment.home, environment.memory_limit, lock_wait=0)
    try:
        with warehouse.read() as backend:
            last = written_last(backend)
            count = sum(len(backend.list_tables(database=layer)) for layer in ("bronze", "silver", "gold"))
    except NoWarehouse as error:
        yield _look("warehouse", f"{error}", "clustering-assets run")
        return
    except WarehouseHeld as error:
        yield _look("warehouse", f"{error}", "Ask again when it has ended, unless it should not be there.")
        return
    except WarehouseUnavailable as error:
        yield _broken("warehouse", f"{error}", "docs/operations.md says how to restore a copy.")
        return
    written = f", written last at {last:%Y-%m-%d %H:%M} UTC" if last else ""
    yield _fine("warehouse", f"{warehouse.path} opens with DuckDB {duckdb.__version__}: {count} tables{written}.")
    if last and last > utc_now():
        found = f"It is {utc_now():%Y-%m-%d %H:%M} UTC by the clock, and the warehouse was written later than that."
        yield _broken("clock", found, "Set the clock (timedatectl set-ntp true): names of exports follow it.")
    else:
        yield _fine("clock", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, not before anything that was written.")


def _run_at_work(environment: Environment) -> Iterator[Finding]:
    turn = environment.home / "runs" / "turn"
    with suppress(OSError), turn.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            process = process_in_words(int(file.read() or 0))
            advice = "Another run waits until it has ended; tables may be held meanwhile."
            yield _look("run at work", f"A run is at work in the home folder: {process}.", advice)


def _source(environment: Environment) -> Iterator[Finding]:
    from clustering_assets.sources.files import Limits as FileLimits
    from clustering_assets.sources.files import UnusableFile, check_place, find_files, folder_problem
    from clustering_assets.sources.mapping import BadMapping, layouts_for
    from clustering_assets.sources.reading import layout_of

    folder = environment.source_dir
    if problem := folder_problem(folder):
        yield _broken("source", problem, "mkdir it, or set CLUSTERING_SOURCE_DIR to where the files are.")
        return
    limits = FileLimits(environment.max_expanded_size, environment.allow_links)
    try:
        layouts = layouts_for(folder, environment.source_layout, limits)
    except BadMapping as error:
        yield _broken("source", f"{error}.", "docs/sources.md says what source.yaml may hold.")
        return
    recognised: Counter[str] = Counter()
    unusable: list[str] = []
    files = [file for file in find_files(folder) if file.ending or file.problem]
    for file in files[:_MOST_FILES]:
        try:
            check_place(file, folder, limits)
            layout = layout_of(file, layouts)
            recognised[layout.name if layout else "workbook, which the run looks into"] += 1
        except UnusableFile as problem:
            unusable.append(f"{file.name} {problem}")
    if not files:
        found = f"{folder} has no .csv, .csv.gz, .parquet or .xlsx file."
        yield _broken("source", found, "Put files there, or set CLUSTERING_SOURCE_DIR to where they are.")
        return
    kinds = ", ".join(f"{count:,} {name}" for name, count in recognised.most_common())
    more = f" (the first {_MOST_FILES:,} of {len(files):,})" if len(files) > _MOST_FILES else ""
    if unusable:
        shown = "; ".join(unusable[:_FEW]) + (f"; and {len(unusable) - _FEW:,} more" if len(unusable) > _FEW else "")
        verdict = _look if recognised else _broken
        advice = "The others are loaded all the same; docs/sources.md says how to name columns."
        yield verdict("source", f"{folder}{more}: {kinds or 'no usable file'}. Not usable: {shown}.", advice)
    else:
        yield _fine("source", f"{folder}{more}: {kinds}.")


def _dagster(_: Environment) -> Iterator[Finding]:
    folder = os.environ.get("DAGSTER_HOME")
    if not folder:
        found = "DAGSTER_HOME is not set: runs are not recorded, and nothing runs by itself."
        yield _look("dagster", found, "make run and make ui set it; elsewhere set it to a folder with dagster.yaml.")
        return
    settings = Path(folder).expanduser() / "dagster.yaml"
    if not settings.is_file():
        advice = f'cp dagster.yaml "{folder}/"'
        yield _broken("dagster", f"There is no {settings}: runs would not wait for each other.", advice)
        return
    import dagster as dg
    from dagster._daemon.controller import get_daemon_statuses

    try:
        with dg.DagsterInstance.from_config(str(settings.parent)) as instance:
            pools = instance.get_concurrency_config().pool_config
            required = instance.get_required_daemon_types()
            statuses = get_daemon_statuses(instance, required, ignore_errors=True)
            beats = [status.last_heartbeat.timestamp for status in statuses.values() if status.last_heartbeat]
    except Exception as error:  # of a database whose message may quote its URL
        advice = "Compare it with the dagster.yaml of the checkout, and see that the storage it names can be reached."
        yield _broken("dagster", f"Dagster cannot use {settings} ({type(error).__name__}).", advice)
        return
    granularity = getattr(pools.pool_granularity, "value", None)
    if pools.default_pool_limit == 1 and granularity == "run":
        yield _fine("dagster", f"{settings} lets one run at a time into the warehouse.")
    else:
        found = f"{settings} does not let runs wait for each other (pools: default_limit 1, granularity run)."
        yield _broken("dagster", found, f'cp dagster.yaml "{settings.parent}/", with what you added to it.')
    ill = sorted(kind for kind, status in statuses.items() if not status.healthy)
    if not ill:
        yield _fine("daemon", f"It is alive: {len(statuses)} of {len(statuses)} parts gave a sign.")
    else:
        last = f"its last sign was at {datetime.fromtimestamp(max(beats), UTC):%Y-%m-%d %H:%M} UTC" if beats else ""
        found = f"The daemon does not run ({last or 'it never did'}): sensors and schedules stand still."
        yield _look("daemon", found, "make ui, or start the service clustering-daemon: nothing starts by itself else.")


def _alerts(environment: Environment) -> Iterator[Finding]:
    if not environment.alert_urls:
        yield _look("alerts", "Nobody is told what breaks.", "Set CLUSTERING_ALERT_URLS, as docs/alerts.md says.")
        return
    from clustering_assets.channels import channels

    there = channels(environment.alert_urls)
    bad = [channel.name for channel in there if not channel.is_usable]
    if bad:
        yield _broken("alerts", f"No URL that apprise can use: {', '.join(bad)}.", "docs/alerts.md has examples.")
    else:
        advice = "python -m clustering_assets.alerts --try-channels sends a message to each."
        yield Finding("alerts", Verdict.FINE, f"{', '.join(channel.name for channel in there)}.", advice)


def _publishing(environment: Environment) -> Iterator[Finding]:
    if not environment.publish_url:
        yield _fine("publishing", "Nothing is published: CLUSTERING_PUBLISH_URL is not set.")
        return
    from clustering_assets.publishing.database import PublishingFailed
    from clustering_assets.publishing.publish import reach

    try:
        yield _fine("publishing", f"{reach(environment.publish_url, environment.publish_schema)} can be reached.")
    except PublishingFailed as error:
        yield _broken("publishing", str(error), "Until then the tables there stay as they were.")
