"""What the doctor finds: each thing that it looks at, well and ill."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from clustering_assets import doctor
from clustering_assets.doctor import Finding, Verdict, examine
from clustering_assets.locks import one_run_at_a_time
from clustering_assets.warehouse import Warehouse, record_versions

CHECKOUT = Path(__file__).parent.parent
HEADER = "order_id,customer_id,sku,order_date,quantity\n"
SECRET = "s3cret-and-l0ng"  # noqa: S105  none, but it must not be shown


@pytest.fixture
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A deployment in which everything is as it should be, and whose runs nobody records."""
    for name in [name for name in os.environ if name.startswith("CLUSTERING_")]:
        monkeypatch.delenv(name)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "lines.csv").write_text(HEADER + "1,a,x,2025-01-01,1\n")
    with Warehouse(tmp_path / "home").connect() as backend:
        record_versions(backend, {"bronze.order_lines": "1"})
    monkeypatch.setenv("CLUSTERING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLUSTERING_SOURCE_DIR", str(tmp_path / "source"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"json://user:{SECRET}@127.0.0.1:9/x")
    monkeypatch.setenv("CLUSTERING_PUBLISH_URL", f"sqlite:///{tmp_path}/published.db")
    return tmp_path


@pytest.fixture
def recorded(well: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with a folder of Dagster's own; the daemon does not run."""
    (well / "dagster").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", well / "dagster")
    monkeypatch.setenv("DAGSTER_HOME", str(well / "dagster"))
    return well


def findings(about: str) -> list[Finding]:
    return [found for found in examine() if found.about == about]


def only(about: str) -> Finding:
    [found] = findings(about)
    return found


def test_where_all_is_well_nothing_has_to_be_mended_and_nothing_is_made(recorded: Path) -> None:
    before = {path.relative_to(recorded) for path in recorded.rglob("*") if "dagster" not in path.parts}
    found = list(examine())
    assert {each.about: each.verdict for each in found if each.verdict is not Verdict.FINE} == {"daemon": Verdict.LOOK}
    assert {each.about for each in found} == {
        *("python", "packages", "programs", "settings", "home", "warehouse", "clock", "source", "dagster", "daemon"),
        *("alerts", "publishing"),
    }
    assert {path.relative_to(recorded) for path in recorded.rglob("*") if "dagster" not in path.parts} == before
    assert SECRET not in str(found)


def test_what_is_ill_comes_with_what_to_do(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(recorded / "source")
    (recorded / "dagster" / "dagster.yaml").unlink()
    monkeypatch.setenv("CLUSTERING_MEMORY_LIMIT", "much")
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"nosuch://{SECRET}")
    monkeypatch.setenv("CLUSTERING_PUBLISH_URL", f"postgresql://somebody:{SECRET}@127.0.0.1:9/none")
    ill = [each for each in examine() if each.verdict is Verdict.BROKEN]
    assert {each.about for each in ill} == {"warehouse", "source", "dagster", "alerts", "publishing"}
    assert all(each.found and each.advice for each in ill)
    assert SECRET not in str(ill)


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        (["duckdb>=1"], "fine"),
        (["duckdb>=99"], "broken"),
        (["no-such-package"], "broken"),
        (["x; extra == 'dev'"], "fine"),
    ],
)
def test_packages_are_held_against_what_the_project_asks_for(
    monkeypatch: pytest.MonkeyPatch, wanted: list[str], verdict: str
) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: wanted)
    [found] = doctor._packages()
    assert found.verdict == verdict
    assert verdict == "fine" or wanted[0].partition(">")[0] in found.found


@pytest.mark.parametrize(("wanted", "verdict"), [(">=3.11", "fine"), (">=99", "broken")])
def test_python_is_held_against_what_the_project_asks_for(
    monkeypatch: pytest.MonkeyPatch, wanted: str, verdict: str
) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda _: {"Requires-Python": wanted})
    [found] = doctor._python()
    assert found.verdict == verdict


@pytest.mark.usefixtures("well")
def test_a_slip_in_the_name_of_a_setting_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_PUBLISH_URI", f"postgresql://somebody:{SECRET}@host/name")
    slip, rest = findings("settings")
    assert (slip.verdict, rest.verdict) == (Verdict.LOOK, Verdict.FINE)
    assert "CLUSTERING_PUBLISH_URI is set" in slip.found
    assert slip.advice == "Is CLUSTERING_PUBLISH_URL meant?"
    assert SECRET not in str(slip)


@pytest.mark.usefixtures("well")
def test_a_setting_that_cannot_be_used_is_named_and_ends_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_KEEP_MODELS", "many")
    *_, last = examine()
    assert (last.about, last.verdict) == ("settings", Verdict.BROKEN)
    assert "CLUSTERING_KEEP_MODELS is 'many'" in last.found


@pytest.mark.usefixtures("well")
def test_a_home_that_cannot_be_written_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_HOME", "/proc/nowhere")
    assert only("home").verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("least", "factor", "verdict"), [(10**18, 3, Verdict.BROKEN), (0, 10**12, Verdict.LOOK), (0, 0, Verdict.FINE)]
)
@pytest.mark.usefixtures("well")
def test_room_on_the_disk_is_held_against_what_a_run_may_need(
    monkeypatch: pytest.MonkeyPatch, least: int, factor: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(doctor, "_LEAST_ROOM", least)
    monkeypatch.setattr(doctor, "_ROOM_OF_WAREHOUSE", factor)
    assert only("home").verdict is verdict


def test_a_warehouse_that_is_missing_is_no_fault_and_one_that_is_damaged_is(well: Path) -> None:
    path = well / "home" / "warehouse.duckdb"
    path.unlink()
    assert only("warehouse").verdict is Verdict.LOOK
    assert not path.exists()
    path.write_bytes(b"no database" * 1_000)
    assert only("warehouse").verdict is Verdict.BROKEN


def test_a_clock_that_was_set_back_is_seen(well: Path) -> None:
    with Warehouse(well / "home").connect() as backend:
        backend.con.execute("update main.table_versions set written_at = written_at + interval 1 day")
    assert only("clock").verdict is Verdict.BROKEN


def test_a_run_at_work_is_named(well: Path) -> None:
    assert not findings("run at work")
    with one_run_at_a_time(well / "home"):
        found = only("run at work")
    assert found.verdict is Verdict.LOOK
    assert f"PID {os.getpid()}" in found.found
    assert not findings("run at work")


@pytest.mark.parametrize(
    ("files", "verdict", "said"),
    [
        ({}, Verdict.BROKEN, "has no .csv"),
        (
            {"a.csv": HEADER + "1\n", "b.csv": "x,y\n"},
            Verdict.LOOK,
            "1 order_lines. Not usable: b.csv has no known layout",
        ),
        ({"b.csv": "x,y\n"}, Verdict.BROKEN, "no usable file"),
        ({"a.csv": HEADER, "source.yaml": "layout: sideways\n"}, Verdict.BROKEN, "'layout' is one of"),
        ({"a.csv.gz": "no gzip"}, Verdict.BROKEN, "a.csv.gz cannot be read"),
        ({"a.parquet": "no parquet"}, Verdict.BROKEN, "a.parquet is called .parquet but is no such file"),
        ({"a.xlsx": "PK\x03\x04"}, Verdict.FINE, "1 workbook, which the run looks into"),
        ({"notes.txt": "x", "a.csv": HEADER}, Verdict.FINE, "1 order_lines"),
    ],
)
def test_files_are_told_by_their_headers(well: Path, files: dict[str, str], verdict: Verdict, said: str) -> None:
    (well / "source" / "lines.csv").unlink()
    for name, text in files.items():
        (well / "source" / name).write_text(text)
    found = only("source")
    assert (found.verdict, said in found.found) == (verdict, True), found


def test_runs_that_would_not_wait_for_each_other_are_seen(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recorded / "dagster" / "dagster.yaml"
    text = settings.read_text()
    for wrong in (text.replace("default_limit: 1", "default_limit: 2"), text.replace("granularity: run", ""), "{}"):
        settings.write_text(wrong)
        assert only("dagster").verdict is Verdict.BROKEN
    settings.write_text("concurrency: [")
    assert only("dagster").verdict is Verdict.BROKEN
    monkeypatch.delenv("DAGSTER_HOME")
    assert only("dagster").verdict is Verdict.LOOK


def test_a_daemon_that_gave_signs_is_alive_until_it_gives_no_more(recorded: Path) -> None:
    from dagster._daemon.types import DaemonHeartbeat

    def beat(before: float) -> None:
        with dg.DagsterInstance.from_config(str(recorded / "dagster")) as instance:
            for kind in instance.get_required_daemon_types():
                instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - before, kind, "id", []))

    beat(3_600)
    silent = only("daemon")
    assert silent.verdict is Verdict.LOOK
    assert "its last sign was at" in silent.found
    beat(0)
    assert only("daemon").verdict is Verdict.FINE


@pytest.mark.parametrize(
    ("url", "verdict", "said"),
    [
        ("", Verdict.FINE, "Nothing is published"),
        ("duckdb:///{folder}/there.duckdb", Verdict.FINE, "can be reached"),
        ("duckdb:///{folder}/none.duckdb", Verdict.FINE, "made when something is published"),
        ("sqlite:///{folder}/nowhere/none.db", Verdict.BROKEN, "is no folder: make it"),
        ("no url", Verdict.BROKEN, "is no URL of a database"),
    ],
)
def test_the_database_is_reached_without_making_anything(
    well: Path, monkeypatch: pytest.MonkeyPatch, url: str, verdict: Verdict, said: str
) -> None:
    shutil.copy(well / "home" / "warehouse.duckdb", well / "there.duckdb")
    monkeypatch.setenv("CLUSTERING_PUBLISH_URL", url.format(folder=well))
    found = only("publishing")
    assert (found.verdict, said in found.found) == (verdict, True), found
    assert not (well / "none.duckdb").exists()
