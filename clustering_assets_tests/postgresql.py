"""A PostgreSQL server of its own for the tests, with passwords, that nobody else can reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from clustering_assets_tests.processes import free_port

OWNER = "keeper"
PASSWORD = "s3cret/with:odd@signs%"  # noqa: S105  of a server that lives as long as the tests


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    folder: Path
    account: dict[str, str]

    def url(self, database: str, user: str = OWNER, password: str = PASSWORD) -> str:
        return sa.URL.create("postgresql", user, password, "127.0.0.1", self.port, database).render_as_string(False)

    def connect(self, database: str = "postgres", user: str = OWNER, password: str = PASSWORD) -> Any:
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, dbname=database, user=user, password=password)
        connection.autocommit = True
        return connection

    def run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction of its own; return the rows of the last."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def programs() -> Path | None:
    """Folder of the server's programs, which Debian does not put on the PATH."""
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return Path(found).resolve().parent if found else versions[-1].parent if versions else None


@contextmanager
def running_server(folder_of_programs: Path) -> Iterator[Server]:
    """Start a server, and stop it with all its files."""
    # PostgreSQL refuses to run as root; its folder must not lie in one that its account cannot enter.
    account = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if account:
            for path in (folder, folder / "password"):
                shutil.chown(path, **account)
        data, port = folder / "data", free_port()

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [folder_of_programs / program, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL, **account
            )  # type: ignore[call-overload]

        run("initdb", "-D", str(data), "-U", OWNER, "-A", "scram-sha-256", "--pwfile", str(folder / "password"),
            "-E", "UTF8", "--locale", "C", "--no-sync")  # fmt: skip
        # nothing has to outlive the tests: no fsync
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield Server(port, folder, account)
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)
