"""Where personal data is and where it is not: the story of a deployment, every byte of it searched after each chapter.

Every customer id, order number and comment of the shop has a marker in it, in broken rows and files too.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clustering_assets import run
from clustering_assets.conformance import violations
from clustering_assets.contracts import ALL_TABLES, FORGOTTEN_CUSTOMERS, FULFILLED_REQUESTS
from clustering_assets.definitions import build_defs
from clustering_assets.failures import ERROR_LOG
from clustering_assets.integrity import EVERY_ROW_ACCOUNTED_FOR
from clustering_assets.warehouse import has_table
from clustering_assets_tests.byte_search import Search
from clustering_assets_tests.conftest import Shop, make_shop, materializations
from clustering_assets_tests.test_pseudonyms import FAST, KEY, customers

CHECKOUT = Path(__file__).parent.parent
MARKERS = ("idmarkerqz", "ordermarkerqz", "commentmarkerqz")
BROKEN = """order_id,customer_id,sku,order_date,quantity,line_value,return_quantity,return_date,category,return_reason
ordermarkerqz1,few@idmarkerqz.org
ordermarkerqz2,many@idmarkerqz.org,S1,2024-01-01,1,1,0,,shoes,commentmarkerqz,commentmarkerqz,commentmarkerqz
,order@idmarkerqz.org,S1,2024-01-01,1,1,0,,shoes,commentmarkerqz
ordermarkerqz3,,S1,2024-01-01,1,1,0,,shoes,commentmarkerqz
ordermarkerqz4,bad@idmarkerqz.org,S1,commentmarkerqz,commentmarkerqz,commentmarkerqz,commentmarkerqz,commentmarkerqz,,
ordermarkerqz5,"open@idmarkerqz.org,S1,2024-01-01,1,1,0,,shoes,commentmarkerqz
"""


def marked(text: str) -> str:
    """Put markers into the ids, order numbers and comments of a file of the layout returns_export."""
    text = re.sub(r"@example\.\w+", "@idmarkerqz.org", text, flags=re.IGNORECASE)
    text = re.sub(r"^(\d+),", r"ordermarkerqz\1,", text, flags=re.MULTILINE)
    return re.sub(r",(R\d+),([^,\n]*)", r",\1,commentmarkerqz \2", text)


@dataclass
class Deployment:
    """A shop, the folder of Dagster, and what was printed, drawn and reported so far."""

    shop: Shop
    dagster: Path
    printed: io.StringIO = field(default_factory=io.StringIO)
    drawn: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.shop.home

    def execute(self, job: str, **config: Any) -> dg.ExecuteInProcessResult:
        with contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
            return (
                build_defs()
                .resolve_job_def(job)
                .execute_in_process(instance=dg.DagsterInstance.get(), run_config=config or FAST, raise_on_error=False)
            )

    def found(self, *words: str) -> list[str]:
        """Words in what Dagster keeps, in what was printed and in what was drawn."""
        search = Search(*words)
        outside = {"printed": self.printed.getvalue(), "drawn": "\n".join(self.drawn)}
        return search.below(self.dagster) + [
            f"{place}: {word}" for place, text in outside.items() for word in search.within(text.encode())
        ]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    shop = make_shop(folder, customers=60, lines=1_500)
    [export] = shop.source.iterdir()
    text = marked(export.read_text())
    export.write_text(text)
    (shop.source / "broken.csv").write_text(BROKEN)
    (shop.source / "headless.csv").write_text(BROKEN.partition("\n")[2])
    (shop.source / "notes.txt").write_text(BROKEN)
    dagster = folder / "dagster"
    dagster.mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", dagster)
    made = Deployment(shop, dagster)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(dagster))
        patch.setenv("CLUSTERING_HOME", str(shop.home))
        patch.setenv("CLUSTERING_SOURCE_DIR", str(shop.source))
        patch.delenv("CLUSTERING_PSEUDONYM_KEY", raising=False)
        _note_what_is_drawn(patch, made.drawn)
        yield made


def _note_what_is_drawn(patch: pytest.MonkeyPatch, drawn: list[str]) -> None:
    """Texts of a picture are outlines in the PNG: note them where they are drawn."""
    from matplotlib.text import Text

    set_text = Text.set_text

    def noted(self: Text, text: Any) -> None:
        drawn.append(str(text))
        set_text(self, text)

    patch.setattr(Text, "set_text", noted)


@pytest.fixture(scope="module")
def without_a_key(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    config = tmp_path_factory.mktemp("config") / "fast.yaml"
    config.write_text(json.dumps(FAST))
    with contextlib.redirect_stdout(deployment.printed), contextlib.redirect_stderr(deployment.printed):
        assert run.main(config=config) == 0, deployment.printed.getvalue()
    return deployment


def test_without_a_key_nothing_outside_the_home_names_anybody(without_a_key: Deployment) -> None:
    assert "rows read" in without_a_key.printed.getvalue()
    assert len(without_a_key.drawn) > 10
    assert Search("customer_features").below(without_a_key.dagster)
    assert without_a_key.found(*MARKERS) == []
    in_tables = Search(*MARKERS).in_tables(without_a_key.shop.warehouse.path)
    assert {f"bronze.rejected_rows: {marker}" for marker in MARKERS} <= {*in_tables}
    assert "silver.customer_features: idmarkerqz" in in_tables


@pytest.fixture(scope="module")
def with_a_key(without_a_key: Deployment) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTERING_PSEUDONYM_KEY", KEY)
        result = without_a_key.execute("everything")
        assert result.success
        yield without_a_key


def test_with_a_key_only_bronze_names_anybody(with_a_key: Deployment) -> None:
    assert with_a_key.found(*MARKERS, KEY) == []
    search = Search(*MARKERS, KEY)
    assert search.in_tables(with_a_key.shop.warehouse.path, "main", "silver", "gold") == []
    for name in ("exports", "models"):
        assert search.below(with_a_key.home / name) == []
    assert search.files == 6


@pytest.fixture(scope="module")
def after_a_failure(with_a_key: Deployment) -> Deployment:
    def fail(*_: object, **__: object) -> None:
        raise ValueError(f"{MARKERS[0]} is not a number")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clustering_assets.assets.silver.write_silver", fail)
        result = with_a_key.execute("everything", ops={"silver": {"config": {"as_of": "2024-01-01"}}})
    assert not result.success
    return with_a_key


def test_the_message_of_an_unexpected_error_is_in_the_error_log_alone(after_a_failure: Deployment) -> None:
    assert after_a_failure.found(*MARKERS) == []
    log = after_a_failure.home / ERROR_LOG
    assert "idmarkerqz is not a number" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    [number] = re.findall(r"error (\w{12})$", log.read_text(), re.MULTILINE)
    assert after_a_failure.found(number)


@dataclass
class Forgetting:
    """Whom the deployment forgot, and what the job reported."""

    deployment: Deployment
    people: list[str]
    lines_before: int
    metadata: Mapping[str, Mapping[str, Any]]
    requests: Path


@pytest.fixture(scope="module")
def forgetting(after_a_failure: Deployment) -> Forgetting:
    deployment = after_a_failure
    people = sorted(customers(deployment.shop))[:2]
    with deployment.shop.warehouse.connect() as backend:
        [(lines,)] = backend.con.execute("select count(*) from bronze.order_lines").fetchall()
    in_tables = Search(*people)
    assert in_tables.below(deployment.home)
    assert any(in_tables.within(deployment.shop.warehouse.path.read_bytes())), "the search sees into the warehouse"
    # what a killed run leaves behind
    (deployment.home / "exports" / ".silver_customer_features.xlsx.part").write_text(people[0])
    (deployment.home / "spill").mkdir(exist_ok=True)
    (deployment.home / "spill" / "left.block").write_text(people[0])
    (deployment.shop.source / "broken.csv").write_text(BROKEN + f"ordermarkerqz6,x,<{people[0].upper()}>\n")
    requests = deployment.home / "forget"
    (requests / f"{people[0]}.txt").write_text(f"  {people[0].upper()}\t\n\n{people[1]}\n")
    (requests / "late.txt").write_text("never.seen@idmarkerqz.org\n")
    result = deployment.execute("forget_customers")
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations() if check.severity.value == "ERROR")
    return Forgetting(deployment, people, lines, materializations(result), requests)


def test_nothing_is_left_of_who_was_forgotten(forgetting: Forgetting) -> None:
    deployment, search = forgetting.deployment, Search(*forgetting.people, "never.seen")
    assert search.below(deployment.home) == []
    assert search.files >= 6
    assert deployment.found(*forgetting.people, "never.seen") == []
    assert deployment.found(*MARKERS) == []
    assert [*forgetting.requests.iterdir()] == []
    assert (deployment.home / "forgotten.json").stat().st_mode & 0o777 == 0o600


def test_everybody_else_is_still_there_and_every_row_accounted_for(forgetting: Forgetting) -> None:
    shop = forgetting.deployment.shop
    left = customers(shop)
    assert len(left) > 40
    with shop.warehouse.connect() as backend:
        assert EVERY_ROW_ACCOUNTED_FOR.faults(backend) == []
        for contract in ALL_TABLES:
            assert not has_table(backend, contract) or violations(backend, contract) == []
        [(lines,)] = backend.con.execute("select count(*) from bronze.order_lines").fetchall()
        [(refused, text)] = backend.con.execute(
            "select count(*), max(raw_text) from bronze.rejected_rows where starts_with(reason, 'FORGOTTEN')"
        ).fetchall()
        [(silver,)] = backend.con.execute("select count(*) from silver.customer_features").fetchall()
        changes = backend.con.execute("select * from gold.segment_changes where change = 'left'").fetchall()
        comments = backend.con.execute(
            "select distinct comment is null from duckdb_tables() where schema_name <> 'main'"
        )
        assert comments.fetchall() == [(False,)]
    assert lines + refused >= forgetting.lines_before
    assert refused > 0
    assert text == ""
    assert silver <= len(left)
    assert changes == []


def test_the_job_reports_counts_and_nothing_else(forgetting: Forgetting) -> None:
    accepted = {name: value.value for name, value in forgetting.metadata["bronze/forgotten_customers"].items()}
    assert accepted["requests"] == 2
    assert accepted["customers"] == 3
    assert accepted["unknown_customers"] == 1
    assert accepted["dagster/row_count"] == 3
    assert forgetting.metadata["bronze/fulfilled_requests"]["customers"].value == 3
    with forgetting.deployment.shop.warehouse.connect() as backend:
        assert backend.con.execute(
            f"select requests, customers from {FULFILLED_REQUESTS.qualified_name}"
        ).fetchall() == [(2, 3)]
        hashes = backend.con.execute(f"select customer_hash from {FORGOTTEN_CUSTOMERS.qualified_name}").fetchall()
    assert all(re.fullmatch("[0-9a-f]{64}", each) for (each,) in hashes)
