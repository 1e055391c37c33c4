"""Alerts, tick after tick: real runs, checks and ticks in an instance, a real mail server and a real HTTP receiver."""

from __future__ import annotations

import http.server
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dagster as dg
import dagster_webserver
import pytest
from aiosmtpd.controller import Controller
from dagster._core.instance.types import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._utils.error import SerializableErrorInfo

from clustering_assets.alerts import alerts, main
from clustering_assets.channels import channels
from clustering_assets.config import BadSetting, read_environment
from clustering_assets.definitions import build_defs
from clustering_assets.metadata import NEWEST_CONTENT
from clustering_assets.problems import (
    MOST_IN_FULL,
    channel_fails,
    check_failed,
    failing,
    no_new_data,
    run_failed,
    silent,
)
from clustering_assets.quality import MEASURES
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.watch import open_problems
from clustering_assets_tests.conftest import make_shop
from clustering_assets_tests.test_quality import prepare

SECRET = "s3cr3tTok3n"  # noqa: S105  what must not be seen anywhere
MARKED = "marked-customer-4711@example.com"
UI = "https://segments.example.org"


class Receiver:
    """A web hook: keeps what it was sent, and answers with ``status``."""

    def __init__(self) -> None:
        received: list[dict[str, Any]] = []
        this = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if this.status == 200:
                    received.append(json.loads(body))
                self._answer()

            def do_GET(self) -> None:
                this.beats += 1
                self._answer()

            def _answer(self) -> None:
                self.send_response(this.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.status, self.beats, self.received = 200, 0, received
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"json://{self.address}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def titles(self) -> list[str]:
        return [str(one["title"]).removeprefix("clustering-assets: ") for one in self.received]

    @property
    def last(self) -> str:
        return str(self.received[-1]["message"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Watch:
    """A deployment whose alerts sensor ticks when it is told to; between ticks there is nothing but the cursor."""

    instance: dg.DagsterInstance
    defs: dg.Definitions
    cursor: str | None = None
    said: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def tick(self) -> str:
        context = dg.build_sensor_context(self.instance, self.cursor, repository_def=self.defs.get_repository_def())
        context.log.addHandler(handler := Kept(self.logged))
        try:
            found = alerts.evaluate_tick(context)
        finally:
            context.log.removeHandler(handler)
        assert not found.run_requests
        self.cursor = found.cursor
        self.said.append(found.skip_message or "")
        return self.said[-1]

    @property
    def visible(self) -> str:
        """All that the ticks left where somebody may see it."""
        return f"{self.said} {self.logged} {self.cursor}"

    def stood_still(self) -> None:
        """The whole deployment was off for two days."""
        memory = json.loads(self.cursor or "")
        memory["looked_at"] = past(timedelta(days=2)).isoformat()
        self.cursor = json.dumps(memory)

    def run(self, job: str = "nightly", **options: Any) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, **options
        )


@pytest.fixture(scope="module")
def place_of_ticks(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("ticks"))


@pytest.fixture
def instance(tmp_path: Path, place_of_ticks: str) -> Iterator[dg.DagsterInstance]:
    """An instance like the ephemeral one, which lacks a place for ticks."""
    ticks = SqliteScheduleStorage.from_local(place_of_ticks)
    ticks.wipe()
    with dg.DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=LocalArtifactStorage(str(tmp_path)),
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        schedule_storage=ticks,
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    ) as one:
        yield one


@pytest.fixture
def weather() -> dict[str, Any]:
    """What goes wrong in the small deployment: name -> what is raised, or what a check finds."""
    return {}


@pytest.fixture
def watch(
    instance: dg.DagsterInstance, weather: dict[str, Any], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Watch:
    """Three assets in a row, with a blocking check and one that warns, and a sensor and a schedule."""

    def happens(name: str) -> None:
        if name in weather:
            raise weather[name]

    @dg.asset
    def wheat() -> None:
        happens("wheat")

    @dg.asset(deps=[wheat])
    def flour() -> None:
        happens("flour")

    @dg.asset(deps=[flour])
    def bread() -> None:
        happens("bread")

    @dg.asset_check(asset=wheat, blocking=True)
    def clean() -> dg.AssetCheckResult:
        found = weather.get("clean", "")
        return dg.AssetCheckResult(passed=not found, description=found)

    @dg.asset_check(asset=bread)
    def tasty() -> dg.AssetCheckResult:
        happens("tasting")
        found = weather.get("tasty", "")
        return dg.AssetCheckResult(passed=not found, description=found, severity=dg.AssetCheckSeverity.WARN)

    @dg.op
    def sweep() -> None:
        happens("sweep")

    @dg.job
    def sweeping() -> None:
        sweep()

    @dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
    def mill() -> dg.SkipReason:
        return dg.SkipReason("no wind")

    nightly = dg.define_asset_job("nightly", selection="*")
    schedule = dg.ScheduleDefinition(
        name="dawn", job=nightly, cron_schedule="0 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    )
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", receiver.url)
    monkeypatch.setenv("CLUSTERING_UI_URL", UI + "/")
    return Watch(
        instance,
        dg.Definitions(
            assets=[wheat, flour, bread],
            asset_checks=[clean, tasty],
            jobs=[nightly, sweeping],
            schedules=[schedule],
            sensors=[alerts, mill],
            executor=dg.in_process_executor,
        ),
    )


def test_a_job_that_fails_night_after_night_is_told_once_and_once_that_it_is_over(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    assert watch.tick() == "No problem."
    weather["flour"] = dg.Failure("The mill stands still (see the belt): put the belt back.")
    failed = watch.run()
    watch.tick()
    assert receiver.titles == ["The run of nightly failed"]
    for part in (
        "flour: The mill stands still: put the belt back.",
        f"Since {datetime.now(UTC):%Y-%m-%d} ",
        " UTC.",
        "Mend what it says and run it again",
        f"{UI}/runs/{failed.run_id}\n",
        '"A run failed" in docs/operations.md',
    ):
        assert part in receiver.last
    for _ in range(3):
        watch.run()
        watch.tick()
    assert len(receiver.received) == 1
    weather.clear()
    watch.run()
    watch.tick()
    watch.tick()
    assert receiver.titles[1:] == ["Over: The run of nightly failed"]
    assert re.search(r"Over: The run of nightly failed\. It was open since 20..-..-.. ..:.. UTC\.", receiver.last)
    assert [one["type"] for one in receiver.received] == ["failure", "success"]
    weather["flour"] = dg.Failure("Again.")
    watch.run()
    watch.tick()
    assert len(receiver.received) == 3


def test_an_unexpected_error_is_named_and_not_quoted(
    watch: Watch, weather: dict[str, Any], receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    weather["flour"] = LookupError(f"no such customer: {MARKED}")
    weather["sweep"] = dg.Failure(f"x.csv has no known layout (its columns: :), {MARKED}; known: a): name its columns")
    watch.run()
    watch.run("sweeping")
    capfd.readouterr()  # what the runs log
    watch.tick()
    assert receiver.titles == ["2 new problems"]
    assert "flour ended with LookupError." in receiver.last
    assert "sweep: x.csv has no known layout: name its columns" in receiver.last
    everything = f"{receiver.received} {watch.visible} {capfd.readouterr()}"
    assert MARKED not in everything
    assert SECRET not in everything


def test_what_a_failed_run_was_to_make_may_be_made_by_others(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["flour"] = dg.Failure("The mill stands still.")
    watch.run()
    watch.tick()
    weather.clear()
    watch.run(asset_selection=[dg.AssetKey("flour")])
    watch.tick()
    assert len(receiver.received) == 1, "there is no bread yet"
    watch.run(asset_selection=[dg.AssetKey("bread")])
    watch.tick()
    assert receiver.titles[1:] == ["Over: The run of nightly failed"]


def test_a_part_that_fails_by_hand_is_over_when_the_whole_succeeds(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["wheat"] = dg.Failure("Rain.")
    with pytest.raises(dg.Failure):
        dg.materialize(watch.defs.assets or [], selection="wheat", instance=watch.instance)  # type: ignore[arg-type]
    watch.run(asset_selection=[dg.AssetKey("wheat")])
    watch.tick()
    assert receiver.titles == ["The run of wheat failed"]
    weather.clear()
    watch.run()
    watch.tick()
    assert receiver.titles[1:] == ["Over: The run of wheat failed"]


def test_a_job_without_assets_is_over_when_it_succeeds(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    watch.tick()
    watch.run()
    watch.tick()
    assert receiver.titles == ["The run of sweeping failed"]
    weather.clear()
    watch.run("sweeping")
    watch.tick()
    assert receiver.titles[1:] == ["Over: The run of sweeping failed"]


def test_a_run_that_dagster_is_going_to_repeat_has_not_failed_yet(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["sweep"] = ValueError("broom")
    failed = watch.run("sweeping")
    watch.instance.add_run_tags(failed.run_id, {"dagster/will_retry": "true"})
    assert watch.tick() == "No problem."
    watch.run("sweeping")
    watch.tick()
    assert receiver.titles == ["The run of sweeping failed"]


def test_a_run_that_somebody_cancels_neither_fails_nor_mends_anything(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    def cancel() -> None:
        run = watch.instance.create_run_for_job(watch.defs.resolve_job_def("sweeping"))
        watch.instance.report_run_canceled(run)

    cancel()
    assert watch.tick() == "No problem."
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    cancel()
    watch.tick()
    assert receiver.titles == ["The run of sweeping failed"]


def test_a_run_whose_process_is_gone_is_told(watch: Watch, receiver: Receiver) -> None:
    run = watch.instance.create_run_for_job(watch.defs.resolve_job_def("sweeping"))
    watch.instance.report_run_failed(run, f"the process of {MARKED} is gone")
    watch.tick()
    assert "No step failed: the process of the run ended, or never began." in receiver.last
    assert MARKED not in f"{receiver.received} {watch.visible}"


def test_a_check_that_cannot_be_evaluated_is_a_failed_run(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["tasting"] = KeyError(MARKED)
    watch.run()
    watch.tick()
    assert receiver.titles == ["The run of nightly failed"]
    assert "bread_tasty ended with KeyError." in receiver.last


def test_a_check_that_only_warns_is_told_although_the_run_succeeds(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["tasty"] = "The salt is 0.3 %; it should be at least 1 %. Put more into it."
    assert watch.run().success
    watch.tick()
    watch.run()
    watch.tick()
    assert receiver.titles == ["The check tasty of bread warns"]
    assert weather["tasty"] in receiver.last
    assert f"{UI}/assets/bread?view=checks&checkDetail=tasty" in receiver.last
    weather["flour"] = dg.Failure("The mill stands still.")
    watch.run()  # plans the check and does not come to it
    watch.tick()
    assert receiver.titles[1:] == ["The run of nightly failed"], "the check has not passed"
    weather.clear()
    watch.run()
    watch.tick()
    assert receiver.titles[2:] == ["2 over"]


def test_a_check_that_stops_a_run_is_one_problem(watch: Watch, weather: dict[str, Any], receiver: Receiver) -> None:
    weather["clean"] = "There are stones in it."
    assert not watch.run().success
    watch.tick()
    watch.run()
    watch.tick()
    assert receiver.titles == ["The check clean of wheat failed"]
    assert "Nothing that depends on the table was computed." in receiver.last
    weather.clear()
    watch.run()
    watch.tick()
    assert receiver.titles[1:] == ["Over: The check clean of wheat failed"]


def test_a_check_that_passes_on_its_own_leaves_the_run_that_it_stopped(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    weather["clean"] = "There are stones in it."
    watch.run()
    watch.tick()
    weather.clear()
    key = dg.AssetCheckKey(dg.AssetKey("wheat"), "clean")
    again = dg.Definitions.merge(
        watch.defs, dg.Definitions(jobs=[dg.define_asset_job("look", selection=dg.AssetSelection.checks(key))])
    )
    assert again.resolve_job_def("look").execute_in_process(instance=watch.instance).success
    watch.tick()
    assert receiver.titles[1:] == ["1 new problem, 1 over"]
    assert "The run of nightly failed." in receiver.last


def test_many_problems_at_once_are_one_message(watch: Watch, receiver: Receiver, instance: dg.DagsterInstance) -> None:
    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(f"grain_{n}", asset="wheat") for n in range(30)])
    def grains() -> Iterator[dg.AssetCheckResult]:
        for n in range(30):
            yield dg.AssetCheckResult(passed=False, check_name=f"grain_{n}", severity=dg.AssetCheckSeverity.WARN)

    many = Watch(instance, dg.Definitions.merge(watch.defs, dg.Definitions(asset_checks=[grains])))
    many.run("nightly")
    many.tick()
    many.tick()
    assert receiver.titles == ["30 new problems"]
    assert receiver.last.count(UI) == MOST_IN_FULL
    assert "- and 5 more" in receiver.last


def test_a_dead_channel_gets_its_alert_once_when_it_lives_again_and_the_others_hear_nothing_twice(
    watch: Watch,
    weather: dict[str, Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    dead = Receiver()
    dead.status = 503
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"{dead.url}\n  {receiver.url}")
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    for _ in range(4):
        watch.tick()
    name = "channel 1 of CLUSTERING_ALERT_URLS (JSON)"
    assert (
        watch.logged
        == [f"{name} was not told: the service did not take the message. It is tried again at the next tick."] * 4
    )
    assert receiver.titles == ["The run of sweeping failed", f"Alerts do not arrive at {name}"]
    assert dead.received == []
    dead.status = 200
    for _ in range(3):
        watch.tick()
    assert dead.titles == ["The run of sweeping failed"]
    assert receiver.titles[2:] == [f"Over: Alerts do not arrive at {name}"]
    everything = f"{watch.visible} {receiver.received} {dead.received} {capfd.readouterr()}"
    assert SECRET not in everything
    assert dead.address not in everything
    dead.server.shutdown()


def test_what_began_and_ended_while_a_channel_was_dead_is_not_told_afterwards(
    watch: Watch, weather: dict[str, Any], receiver: Receiver
) -> None:
    receiver.status = 500
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    watch.tick()
    weather.clear()
    watch.run("sweeping")
    receiver.status = 200
    watch.tick()
    assert receiver.received == []


def test_a_channel_that_is_added_is_told_what_is_open_and_the_order_of_channels_does_not_matter(
    watch: Watch, weather: dict[str, Any], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    watch.tick()
    added = Receiver()
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"{added.url} {receiver.url} {added.url}")
    watch.tick()
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"{receiver.url} {added.url}")
    watch.tick()
    assert added.titles == receiver.titles == ["The run of sweeping failed"]
    added.server.shutdown()


@pytest.mark.parametrize("url", [f"nonsense://{SECRET}", SECRET, f"slack://{SECRET}", f"mailto://{SECRET}"])
def test_a_url_that_cannot_be_used_is_said_without_showing_it(
    watch: Watch,
    weather: dict[str, Any],
    receiver: Receiver,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"{receiver.url} {url}")
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    watch.tick()
    [line] = watch.logged
    assert line.startswith("channel 2 of CLUSTERING_ALERT_URLS was not told: it is no URL that apprise can use.")
    assert len(receiver.received) == 1
    assert main(["--try-channels"]) == 1
    printed = "".join(capfd.readouterr())
    assert "channel 1 of CLUSTERING_ALERT_URLS (JSON): it took the message" in printed
    assert SECRET not in f"{watch.visible} {printed} {read_environment()} {channels([url])}"


def test_a_service_that_never_answers_does_not_hold_the_tick(
    watch: Watch, weather: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("CLUSTERING_ALERT_URLS", f"json://127.0.0.1:{deaf.getsockname()[1]}?rto=0.2&cto=0.2")
        weather["sweep"] = ValueError("broom")
        watch.run("sweeping")
        watch.tick()
    assert "was not told: the service did not take the message" in watch.logged[0]


def test_without_channels_the_sensor_says_how_to_set_them(
    watch: Watch, weather: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLUSTERING_ALERT_URLS")
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    assert watch.tick() == (
        "The run of sweeping failed. Nobody is told: set CLUSTERING_ALERT_URLS to apprise URLs, as docs/alerts.md says."
    )


def test_an_alert_arrives_by_mail(watch: Watch, weather: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    envelopes: list[Any] = []

    class Postman:
        async def handle_DATA(  # noqa: N802  the name that aiosmtpd calls
            self, _server: Any, _session: Any, envelope: Any
        ) -> str:
            envelopes.append(envelope)
            return "250 taken"

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    office = Controller(Postman(), hostname="127.0.0.1", port=port)
    office.start()
    monkeypatch.setenv(
        "CLUSTERING_ALERT_URLS", f"mailto://127.0.0.1:{port}?from=segments@example.org&to=ops@example.org&mode=insecure"
    )
    try:
        weather["tasty"] = "The salt is 0.3 % <low> & dear."
        watch.run()
        watch.tick()
        watch.tick()
        weather.clear()
        watch.run()
        watch.tick()
    finally:
        office.stop()
    mails = [message_from_bytes(envelope.content, policy=policy.default) for envelope in envelopes]
    assert [mail["Subject"] for mail in mails] == [
        "clustering-assets: The check tasty of bread warns",
        "clustering-assets: Over: The check tasty of bread warns",
    ]
    assert envelopes[0].rcpt_tos == ["ops@example.org"]
    [plain] = [part.get_content() for part in mails[0].walk() if part.get_content_type() == "text/plain"]
    assert "The salt is 0.3 % <low> & dear." in plain
    assert f"{UI}/assets/bread?view=checks&checkDetail=tasty" in plain


def past(ago: timedelta = timedelta(0)) -> datetime:
    return datetime.now(UTC) - ago


@dataclass
class Instigator:
    """A sensor or schedule of the small deployment, as the daemon knows it."""

    instance: dg.DagsterInstance
    kind: InstigatorType
    name: str

    def __post_init__(self) -> None:
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("bakery"), "__repository__"), self.name
        )
        data = ScheduleInstigatorData("0 4 * * *") if self.kind == InstigatorType.SCHEDULE else None
        self.state = InstigatorState(origin, self.kind, InstigatorStatus.DECLARED_IN_CODE, data)
        self.instance.add_instigator_state(self.state)

    def ticked(self, when: datetime, status: TickStatus = TickStatus.SKIPPED) -> None:
        error = SerializableErrorInfo(f"{MARKED}\n", [], "RuntimeError") if status == TickStatus.FAILURE else None
        self.instance.create_tick(
            TickData(
                self.state.instigator_origin_id,
                self.name,
                self.kind,
                status,
                when.timestamp(),
                run_ids=[],
                run_keys=[],
                error=error,
                selector_id=self.state.selector_id,
            )
        )

    def forget_ticks(self) -> None:
        origin, selector = self.state.instigator_origin_id, self.state.selector_id
        self.instance.purge_ticks(origin, selector, before=past().timestamp(), tick_statuses=list(TickStatus))

    def switched_off(self) -> None:
        self.instance.update_instigator_state(self.state.with_status(InstigatorStatus.STOPPED))


@pytest.fixture
def mill(watch: Watch) -> Instigator:
    watch.tick()  # from now on somebody listens
    return Instigator(watch.instance, InstigatorType.SENSOR, "mill")


@pytest.fixture
def dawn(watch: Watch) -> Instigator:
    watch.tick()
    return Instigator(watch.instance, InstigatorType.SCHEDULE, "dawn")


def test_a_sensor_that_stops_ticking_is_told_and_that_it_ticks_again(
    watch: Watch, receiver: Receiver, mill: Instigator
) -> None:
    watch.tick()  # the daemon knows it and has not come to it yet
    mill.ticked(past(timedelta(minutes=10)))
    watch.tick()
    assert receiver.received == []
    mill.forget_ticks()
    last = past(timedelta(minutes=16))
    mill.ticked(last)
    watch.tick()
    assert receiver.titles == ["The sensor mill is silent"]
    assert f"Its last tick was at {last:%Y-%m-%d %H:%M} UTC." in receiver.last
    assert f"{UI}/locations/bakery/sensors/mill" in receiver.last
    mill.ticked(past())
    watch.tick()
    assert receiver.titles[1:] == ["Over: The sensor mill is silent"]


def test_a_sensor_that_hangs_in_a_tick_is_silent(watch: Watch, receiver: Receiver, mill: Instigator) -> None:
    mill.ticked(past(timedelta(minutes=20)), TickStatus.STARTED)
    watch.tick()
    assert receiver.titles == ["The sensor mill is silent"]


def test_a_sensor_that_somebody_switched_off_is_told_as_such(
    watch: Watch, receiver: Receiver, mill: Instigator
) -> None:
    mill.ticked(past(timedelta(minutes=20)))
    mill.switched_off()
    watch.tick()
    assert receiver.titles == ["The sensor mill is silent"]
    assert "It is switched off." in receiver.last


def test_when_everything_stood_still_nobody_is_silent(watch: Watch, receiver: Receiver, mill: Instigator) -> None:
    mill.ticked(past(timedelta(days=2)))
    watch.stood_still()
    assert watch.tick() == "No problem."
    watch.tick()
    assert receiver.titles == ["The sensor mill is silent"], "the next tick is a minute later"


def test_a_silence_is_not_over_because_everything_stood_still(
    watch: Watch, receiver: Receiver, mill: Instigator
) -> None:
    mill.ticked(past(timedelta(days=3)))
    watch.tick()
    watch.stood_still()
    watch.tick()
    watch.tick()
    assert receiver.titles == ["The sensor mill is silent"]
    mill.ticked(past())
    watch.tick()
    assert receiver.titles[1:] == ["Over: The sensor mill is silent"]


def test_one_failed_tick_of_a_sensor_is_an_accident_and_three_are_a_problem(
    watch: Watch, receiver: Receiver, mill: Instigator
) -> None:
    mill.ticked(past(timedelta(minutes=4)))
    mill.ticked(past(timedelta(minutes=3)), TickStatus.FAILURE)
    mill.ticked(past(timedelta(minutes=2)), TickStatus.FAILURE)
    watch.tick()
    assert receiver.received == []
    mill.ticked(past(timedelta(minutes=1)), TickStatus.FAILURE)
    mill.ticked(past(), TickStatus.STARTED)
    watch.tick()
    assert receiver.titles == ["The sensor mill fails"]
    assert "ended with RuntimeError." in receiver.last
    assert MARKED not in f"{receiver.received} {watch.visible}"
    mill.ticked(past(), TickStatus.SUCCESS)
    watch.tick()
    assert receiver.titles[1:] == ["Over: The sensor mill fails"]


def test_a_schedule_that_misses_its_time_is_silent(watch: Watch, receiver: Receiver, dawn: Instigator) -> None:
    late = past(timedelta(minutes=15))
    due = late.replace(hour=4, minute=0, second=0, microsecond=0)
    due = due if due <= late else due - timedelta(days=1)
    dawn.ticked(due - timedelta(days=1))
    watch.tick()
    assert receiver.titles == ["The schedule dawn is silent"]
    assert f"{UI}/locations/bakery/schedules/dawn" in receiver.last
    dawn.ticked(due, TickStatus.SUCCESS)
    watch.tick()
    assert receiver.titles[1:] == ["Over: The schedule dawn is silent"]


def test_a_schedule_that_fails_once_has_to_be_looked_at(watch: Watch, receiver: Receiver, dawn: Instigator) -> None:
    dawn.ticked(past(), TickStatus.FAILURE)
    watch.tick()
    assert receiver.titles == ["The schedule dawn fails"]


@pytest.mark.parametrize(
    ("days", "setting", "told"), [(6, None, False), (8, None, True), (8, "9", False), (800, "0", False)]
)
def test_old_data_are_told(
    watch: Watch, receiver: Receiver, days: int, setting: str | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting:
        monkeypatch.setenv("CLUSTERING_NO_NEW_DATA_DAYS", setting)
    newest = past(timedelta(days=days))
    read = {NEWEST_CONTENT: dg.MetadataValue.timestamp(newest)}
    key = ["bronze", "order_lines"]
    watch.instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=read))
    watch.tick()
    watch.tick()
    assert receiver.titles == (["No new data for 7 days"] if told else [])
    if told:
        assert f"was read at {newest:%Y-%m-%d %H:%M} UTC" in receiver.last
        read = {NEWEST_CONTENT: dg.MetadataValue.timestamp(past())}
        watch.instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=read))
        watch.tick()
        assert receiver.titles[1:] == ["Over: No new data for 7 days"]


@pytest.mark.parametrize("days", ["-1", "a week", "7.5", "²"])
def test_a_number_of_days_that_is_none_is_refused(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_NO_NEW_DATA_DAYS", days)
    with pytest.raises(BadSetting, match=r"CLUSTERING_NO_NEW_DATA_DAYS is .*; it has to be a whole number, 0 or more"):
        read_environment()


def test_a_dead_mans_switch_hears_of_every_tick_unless_a_channel_is_dead(
    watch: Watch,
    weather: dict[str, Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = Receiver()
    monkeypatch.setenv("CLUSTERING_HEARTBEAT_URL", f"http://{switch.address}/{SECRET}")
    watch.tick()
    watch.tick()
    assert switch.beats == 2
    receiver.status = 500
    weather["sweep"] = ValueError("broom")
    watch.run("sweeping")
    watch.tick()
    assert switch.beats == 2
    receiver.status, switch.status = 200, 404
    watch.tick()
    assert switch.beats == 3
    assert "CLUSTERING_HEARTBEAT_URL did not answer as it should (HTTPError)." in watch.visible
    switch.server.shutdown()
    switch.server.server_close()
    watch.tick()
    assert "did not answer as it should (ConnectionError)" in watch.visible
    assert SECRET not in watch.visible


def test_every_alert_leads_to_a_section_of_the_operations_page() -> None:
    docs = Path(__file__).parent.parent / "docs"
    headings = set(re.findall(r"^## (.*)$", (docs / "operations.md").read_text(), re.MULTILINE))
    now, asset = past(), ["gold", "segment_model"]
    problems = [
        run_failed("job", "job", "1", now, []),
        check_failed(asset, "stability", now, "", blocking=False),
        *(check_failed(asset, measure.name, now, "", blocking=False) for measure in MEASURES),
        silent("sensor", "alerts", now, "/", running=True),
        failing("sensor", "alerts", now, "ValueError", "/"),
        *no_new_data(past(timedelta(days=8)), now, 7, asset),
        channel_fails("1", "channel 1", now),
    ]
    assert {problem.section for problem in problems} <= headings
    assert {problem.section for problem in problems} >= {"Drift", "A check failed", "No new data"}
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"operations\.md#([\w-]+)", (docs / "alerts.md").read_text())) <= anchors


def test_the_pages_that_alerts_lead_to_are_pages_of_the_installed_ui() -> None:
    scripts = Path(dagster_webserver.__file__).parent / "webapp" / "build"
    text = "".join(path.read_text() for path in scripts.rglob("*.js"))
    for route in (
        "/runs/:runId",
        "/assets(/?.*)",
        "/automation",
        "/locations/:repoPath/sensors/:sensorName",
        "/locations/:repoPath/schedules/:scheduleName/:runTab?",
    ):
        assert f'"{route}"' in text
    assert '{view:"checks",checkDetail:' in text


BRONZE = ["order_lines", "rejected_rows", "source_files"]


def test_alerts_of_the_project_itself_hold_no_customer_id_and_name_the_files(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop(tmp_path, customers=60, lines=1_500)
    [orders] = shop.source.iterdir()
    away = tmp_path / orders.name
    defs = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", receiver.url)
    with dg.instance_for_test() as instance:
        watch = Watch(instance, defs)

        def load() -> bool:
            run = watch.run("everything", asset_selection=[dg.AssetKey(["bronze", name]) for name in BRONZE])
            watch.tick()
            return run.success

        assert load()
        assert receiver.received == []
        for days, keys in ((6, set()), (8, {"no new data"})):
            later = datetime.now(UTC) + timedelta(days=days)
            found = open_problems(instance, defs.get_repository_def(), later, 7, listening=False)
            assert {problem.key for problem in found} == keys

        # without a header, the first customer stands where the columns are called
        (shop.source / "bare.csv").write_text(f"O1,{MARKED},S1,2025-06-01,2\nO2,{MARKED},S1,2025-06-02,1\n")
        assert load()
        assert receiver.titles == ["The check every_file_usable of bronze/source_files warns"]
        assert "bare.csv has no known layout: name its columns in source.yaml" in receiver.last

        orders.rename(away)
        assert not load()
        assert receiver.titles[1:] == [f"The run of {', '.join(f'bronze/{name}' for name in BRONZE)} failed"]
        assert "bronze: " in receiver.last
        assert "bare.csv" in receiver.last
        assert main([]) == 1
        printed = capsys.readouterr().out
        assert all(title in printed for title in receiver.titles)
        assert MARKED not in printed

        away.rename(orders)
        (shop.source / "bare.csv").unlink()
        assert load()
        assert receiver.titles[2:] == ["2 over"]
        assert main([]) == 0
        assert capsys.readouterr().out == "No problem is open.\n"
    with shop.warehouse.connect() as backend:
        ids = backend.con.execute("select distinct source_customer_id from bronze.order_lines").fetchall()
    told = f"{receiver.received} {watch.visible}"
    assert not [customer for (customer,) in [*ids, (MARKED,)] if customer in told]


def test_a_drift_beyond_its_limit_is_told_with_what_to_do(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", receiver.url)
    keys = [dg.AssetCheckKey(dg.AssetKey(["gold", "segment_model"]), measure.name) for measure in MEASURES]
    job = dg.define_asset_job("quality", selection=dg.AssetSelection.checks(*keys))
    watch = Watch(instance, dg.Definitions.merge(build_defs(home=Home(path=str(tmp_path))), dg.Definitions(jobs=[job])))
    for drift in (0.1, 0.4, 0.5, 0.1):
        prepare(tmp_path, {"largest_feature_drift": drift})
        watch.run("quality")
        watch.tick()
    title = "The check largest_feature_drift of gold/segment_model warns"
    assert receiver.titles == [title, f"Over: {title}"]
    told = str(receiver.received[0]["message"])
    assert "is 0.4; it should be at most 0.25. feature_drift of gold/segment_model names the feature" in told
    assert '"Drift" in docs/operations.md' in told
    assert "/assets/gold/segment_model?view=checks&checkDetail=largest_feature_drift" in told


@pytest.mark.long
def test_the_daemon_sends_an_alert_by_itself(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(__file__).parent.parent
    (tmp_path / "empty").mkdir()
    shutil.copy(checkout / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTERING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLUSTERING_SOURCE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("CLUSTERING_ALERT_URLS", receiver.url)
    assert subprocess.run([sys.executable, "-m", "clustering_assets.run"], cwd=checkout).returncode == 1
    log = tmp_path / "log"
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(checkout / "workspace.yaml"), "--port", "0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not receiver.received and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    assert receiver.titles == ["The run of everything failed"], log.read_text()
    assert "There is no file in the source folder" in receiver.last
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"The run of everything failed" in kept, "what was told is remembered here"
    assert SECRET.encode() not in kept
