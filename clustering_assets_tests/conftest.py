"""Fixtures that several test modules share: a small shop, and a finished run over it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from clustering_assets.definitions import build_defs
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.synthetic import generate, write
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.postgresql import Server, programs, running_server
from clustering_assets_tests.warm_python import QUICK_GOLD

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from clustering_assets_tests.runs import Runs

QUICK = {"ops": {"gold": {"config": QUICK_GOLD}}}
_FAILURES_ALONE = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
"""What runs print; the two hundred lines of a run that goes well are a tenth of its time."""

LONGEST = (
    "test_layers",
    "test_runs",
    "test_operations",
    "test_ui",
    "test_definitions",
    "test_kill_points",
    "test_assignment",
    "test_deployment",
    "test_command_line",
    "test_faults",
    "test_pseudonyms",
    "test_personal_data",
    "test_concurrency",
    "test_fuzz",
    "test_soak",
    "test_readers",
    "test_automation",
)
"""Modules that take longest: they begin first, so that at the end no worker is left alone with one of them."""

ROOM = 8 << 30
"""Bytes; the whole of the tests writes less than a tenth of that."""


def pytest_configure() -> None:
    """Let tests write into memory where there is room: a run of everything waits hundreds of times for a disk."""
    memory = Path("/dev/shm")  # noqa: S108
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < ROOM:
        return
    if not os.statvfs(memory).f_flag & os.ST_NOEXEC:  # some tests write programs
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Half as many workers again as there are processors, since many tests wait for servers and other processes."""
    processors = yield
    return processors if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else processors * 3 // 2


@dataclass(frozen=True)
class Shop:
    """A source folder, the home that a run fills, and how to run."""

    source: Path
    home: Path

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home)

    def copied_to(self, folder: Path) -> Shop:
        """The same source folder and home once more, to be changed."""
        return Shop(shutil.copytree(self.source, folder / "source"), shutil.copytree(self.home, folder / "home"))

    def run(self, *, only: str = "", **config: Any) -> dg.ExecuteInProcessResult:
        """Run everything, or one layer alone, in an instance of its own; a failure is the caller's to look at."""
        defs = build_defs(home=Home(path=str(self.home)), source=SourceFolder(path=str(self.source)))
        job = defs.resolve_job_def("everything")
        keys = [key for key in job.asset_layer.executable_asset_keys if key.path[0] == only] if only else None
        config = {**_FAILURES_ALONE, **(config or ({} if only else QUICK))}
        return job.execute_in_process(run_config=config, raise_on_error=False, asset_selection=keys)


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, dg.MetadataValue[Any]]]:
    """Metadata of the materializations of a run, by asset key."""
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {event.asset_key.to_user_string(): event.metadata for event in events}


def make_shop(folder: Path, customers: int = 200, lines: int = 6_000) -> Shop:
    orders = generate(customers, lines, seed=11)
    write(orders, folder / "source", "returns_export", "csv", dirty_share=0.01)
    return Shop(folder / "source", folder / "home")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A small shop that nobody has run yet."""
    return make_shop(tmp_path, customers=60, lines=1_500)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small shop that has run once, with `QUICK`; all tests of all workers share it, and who changes it copies it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:  # whichever worker comes first makes it, and the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            assert make_shop(folder, customers=60, lines=1_500).run().success
            (folder / "made").touch()
    return Shop(folder / "source", folder / "home")


@pytest.fixture
def ran(finished: Shop, tmp_path: Path) -> Shop:
    """A home of one's own that holds a finished run, over a source folder that all share and nobody changes."""
    return replace(finished, home=shutil.copytree(finished.home, tmp_path / "home"))


@pytest.fixture
def growing(finished: Shop, tmp_path: Path) -> Shop:
    """The same with a source folder of one's own, for more files; a copied file counts as a changed one."""
    return finished.copied_to(tmp_path)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A real PostgreSQL server; skipped where none is installed."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    with running_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def warm_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a `python` and a `dagster` that do not spend seconds on imports at every call."""
    from clustering_assets_tests.warm_python import ready_in

    with ready_in(tmp_path_factory.mktemp("programs")) as folder:
        yield folder


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Runs in processes of their own, which can be killed."""
    from clustering_assets_tests.runs import started

    with started() as process:
        yield process


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of the machine, without a window; skipped where none is installed.

    It is closed with the module that uses it: as long as it is open, an event loop runs in this thread, so that
    `asyncio.run` refuses to work in the tests that follow.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        # as root, as in most containers, Chromium starts without its sandbox only
        launched = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield launched
        launched.close()
