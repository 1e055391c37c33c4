"""deploy/: its files fit together, and what the units start works, on PostgreSQL and behind a login."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient

from clustering_assets_tests.conftest import QUICK, Shop, make_shop
from clustering_assets_tests.postgresql import Server
from clustering_assets_tests.processes import CHECKOUT, environment_of, free_port, running, until

DEPLOY = CHECKOUT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def settings_of(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_storage_is_all_that_postgresql_adds_to_the_instance() -> None:
    on_postgresql = yaml.safe_load((DEPLOY / "dagster-postgres.yaml").read_text())
    assert set(on_postgresql) == {"storage"}
    assert "storage" not in yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICE_KEYS = {
    "image", "build", "restart", "init", "cap_drop", "security_opt", "environment", "env_file", "volumes",
    "healthcheck", "command", "depends_on", "ports",
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_whole_and_names_what_is_there(name: str) -> None:
    service = COMPOSE["services"][name]
    assert set(service) <= SERVICE_KEYS
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])
    for volume in service["volumes"]:
        source = volume.rpartition(":/")[0]
        assert source in COMPOSE["volumes"] or source.startswith("${CLUSTERING_SOURCE_DIR:?")
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "nobody else reaches the UI"
    for setting, value in service.get("environment", {}).items():
        assert "PASSWORD" not in setting.upper() or value.startswith("${"), "secrets come from the environment"


def test_only_the_code_has_the_secrets_and_the_data() -> None:
    holders = {name for name, service in COMPOSE["services"].items() if "env_file" in service}
    writers = {name for name, service in COMPOSE["services"].items() if any("home:" in v for v in service["volumes"])}
    assert holders == writers == {"code"}


def test_compose_finds_nothing_to_object_to(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    deploy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    (deploy / "deployment.env").write_text("POSTGRES_PASSWORD=abc\nCLUSTERING_SOURCE_DIR=/tmp\n")
    command = [docker, "compose", "--env-file", "deployment.env", "--file", "compose.yaml", "config", "--quiet"]
    done = subprocess.run(command, cwd=deploy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_image_has_every_file_that_it_copies() -> None:
    for line in re.findall(r"^COPY (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (CHECKOUT / source).exists()


def test_the_example_of_an_environment_names_settings_that_there_are() -> None:
    named = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "deployment.env.example").read_text(), re.MULTILINE))
    settings = set(re.findall(r'environ\.get\("(\w+)"\)', (CHECKOUT / "clustering_assets" / "config.py").read_text()))
    assert named - {"POSTGRES_PASSWORD", "DAGSTER_POSTGRES_URL"} <= settings


def test_systemd_has_nothing_to_object_to(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/clustering-assets/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text.replace("/opt/clustering-assets", str(CHECKOUT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.glob("*.service"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "clustering-" in line]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_comes_back_and_may_write_nothing_but_its_state(unit: Path) -> None:
    settings = settings_of(unit)
    assert settings["Restart"] == ["always"]
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["StateDirectory"] == ["clustering-assets"]
    assert settings["User"] != ["root"]
    assert not any("PASSWORD" in value.upper() for values in settings.values() for value in values)


@dataclass(frozen=True)
class Deployment:
    """The three units of deploy/, running."""

    shop: Shop
    folder: Path
    webserver: int
    viewer: int
    environment: dict[str, str]


@pytest.fixture(scope="module")
def deployment(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start what the units start, with the folders and ports of the test in the place of theirs."""
    folder = tmp_path_factory.mktemp("deployment")
    shop = make_shop(folder, customers=60, lines=1_500)
    postgresql.run("postgres", "create database dagster", "create database deployed")
    (folder / "dagster").mkdir()
    instance = (CHECKOUT / "dagster.yaml").read_text() + (DEPLOY / "dagster-postgres.yaml").read_text()
    (folder / "dagster" / "dagster.yaml").write_text(instance)
    environment = environment_of(
        shop,
        folder / "dagster",
        CLUSTERING_PUBLISH_URL=postgresql.url("deployed"),
        DAGSTER_POSTGRES_URL=postgresql.url("dagster").replace("postgresql:", "postgresql+psycopg2:"),
    )
    ports = {"3000": str(free_port()), "3001": str(free_port())}

    def start(name: str) -> Any:
        [command] = settings_of(DEPLOY / f"clustering-{name}.service")["ExecStart"]
        here = command.replace("/opt/clustering-assets/.venv/bin", str(Path(sys.executable).parent))
        words = shlex.split(here.replace("/opt/clustering-assets", str(CHECKOUT)))
        return running([ports.get(word, word) for word in words], environment, folder, folder / f"{name}.log")

    with start("webserver"), start("viewer"), start("daemon"):
        for port in ports.values():
            until(lambda port=port: requests.get(f"http://127.0.0.1:{port}/server_info", timeout=30).ok, "the UI")
        yield Deployment(shop, folder, int(ports["3000"]), int(ports["3001"]), environment)


LAUNCH = """
mutation { launchRun(executionParams: {
    selector: {repositoryLocationName: "clustering_assets", repositoryName: "__repository__", jobName: "everything"}
    runConfigData: {}
}) { __typename } }
"""

RELOAD = "mutation { reloadWorkspace { __typename } }"


def ask(url: str, query: str, **options: Any) -> requests.Response:
    return requests.post(url, json={"query": query}, timeout=60, **options)


def test_a_run_of_everything_leaves_its_history_in_postgresql_and_its_tables_in_the_database(
    deployment: Deployment, postgresql: Server
) -> None:
    url = f"http://127.0.0.1:{deployment.webserver}/graphql"
    until(lambda: "customer_segments" in ask(url, "{assetNodes {assetKey {path}}}").text, "the assets")
    assert ask(url, RELOAD).json()["data"]["reloadWorkspace"]["__typename"] == "Workspace"
    client = DagsterGraphQLClient("127.0.0.1", port_number=deployment.webserver)
    run = client.submit_job_execution("everything", run_config=QUICK)
    ended = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    until(lambda: client.get_run_status(run) in ended, "the run")
    assert client.get_run_status(run) == DagsterRunStatus.SUCCESS
    assert postgresql.run("dagster", f"select status from runs where run_id = '{run}'") == [("SUCCESS",)]
    [(materializations,)] = postgresql.run(
        "dagster",
        f"select count(*) from event_logs where run_id = '{run}' and dagster_event_type = 'ASSET_MATERIALIZATION'",
    )
    assert materializations >= 15
    assert not list((deployment.folder / "dagster").rglob("*.db")), "nothing of the history is in files"
    with deployment.shop.warehouse.connect() as backend:
        customers = backend.con.execute("select count(*) from gold.customer_segments").fetchall()
    assert customers == postgresql.run("deployed", "select count(*) from customer_segments.customer_segments")
    alive = [Path(sys.executable).parent / "dagster-daemon", "liveness-check"]
    until(lambda: subprocess.run(alive, env=deployment.environment, capture_output=True).returncode == 0, "the daemon")


def test_the_viewer_shows_everything_and_starts_nothing(deployment: Deployment, postgresql: Server) -> None:
    url = f"http://127.0.0.1:{deployment.viewer}/graphql"
    until(lambda: "customer_segments" in ask(url, "{assetNodes {assetKey {path}}}").text, "the assets")
    before = postgresql.run("dagster", "select count(*) from runs where status = 'QUEUED'")
    assert ask(url, LAUNCH).json()["data"]["launchRun"]["__typename"] == "UnauthorizedError"
    assert ask(url, RELOAD).json()["data"]["reloadWorkspace"]["__typename"] == "UnauthorizedError"
    assert postgresql.run("dagster", "select count(*) from runs where status = 'QUEUED'") == before


@pytest.fixture
def proxy(deployment: Deployment, tmp_path: Path) -> Iterator[str]:
    """nginx with the server block of deploy/nginx.conf, in front of the viewer."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not nginx:
        pytest.skip("nginx is not installed")
    port = free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=segments.example.org",
         "-keyout", tmp_path / "key", "-out", tmp_path / "pem"], check=True, capture_output=True,
    )  # fmt: skip
    hashed = subprocess.run(["openssl", "passwd", "-6", "read me"], check=True, capture_output=True, text=True).stdout
    (tmp_path / "htpasswd").write_text(f"reader:{hashed}")
    (tmp_path / "htpasswd").chmod(0o644)
    text = (DEPLOY / "nginx.conf").read_text()
    for written, here in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:3001": f"127.0.0.1:{deployment.viewer}",
        "/etc/ssl/certs/segments.example.org.pem": str(tmp_path / "pem"),
        "/etc/ssl/private/segments.example.org.key": str(tmp_path / "key"),
        "/etc/nginx/clustering-assets.htpasswd": str(tmp_path / "htpasswd"),
    }.items():
        assert written in text
        text = text.replace(written, here)
    user = "user root;" if os.geteuid() == 0 else ""  # the folder of the test is open to nobody else
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "server.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"{user} daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} include {tmp_path}/server.conf; }}"
    )
    command = [nginx, "-c", str(tmp_path / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    with running(command, dict(os.environ), tmp_path, tmp_path / "log"):
        until(lambda: ssl.get_server_certificate(("127.0.0.1", port)), "nginx")
        yield f"https://127.0.0.1:{port}"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_nobody_gets_past_the_login_and_who_does_can_only_look(proxy: str) -> None:
    for login, status in [(None, 401), (("reader", "guessed"), 401), (("reader", "read me"), 200)]:
        assert requests.get(f"{proxy}/server_info", auth=login, verify=False, timeout=60).status_code == status  # noqa: S501
        assert ask(f"{proxy}/graphql", "{version}", auth=login, verify=False).status_code == status
    answer = ask(f"{proxy}/graphql", RELOAD, auth=("reader", "read me"), verify=False).json()
    assert answer["data"]["reloadWorkspace"]["__typename"] == "UnauthorizedError"
