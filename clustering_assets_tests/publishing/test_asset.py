"""The asset: a run that publishes, one that cannot and one that was not asked to; the password is nowhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest

from clustering_assets.contracts import PUBLISHED
from clustering_assets.definitions import build_defs
from clustering_assets.publishing.content import NothingToPublish, read_content
from clustering_assets.resources import Database, Home
from clustering_assets.warehouse import Warehouse, record_versions
from clustering_assets_tests.conftest import materializations
from clustering_assets_tests.postgresql import PASSWORD, Server
from clustering_assets_tests.processes import free_port
from clustering_assets_tests.publishing.made_runs import made_warehouse

KEY = dg.AssetKey(["exports", "database_tables"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return made_warehouse(tmp_path / "home", "first").home


def materialize(home: Path, url: str | None, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    defs = build_defs(home=Home(path=str(home)), database=Database(url=url))
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[KEY], raise_on_error=False
    )


def test_the_password_is_in_nothing_that_dagster_keeps_or_prints(
    home: Path, tmp_path: Path, postgresql: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    postgresql.run("postgres", "create database shop")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        succeeded = materialize(home, postgresql.url("shop"), instance)
        [metadata] = materializations(succeeded).values()
        assert metadata["database"].value == f"postgresql://keeper:***@127.0.0.1:{postgresql.port}/shop"
        for url, said in [
            (postgresql.url("shop", password="hush-hush"), "password authentication failed"),  # noqa: S106
            ("postgresql://keeper:hush-hush@127.0.0.1:port/shop", "is no URL of a database"),
        ]:
            failed = materialize(home, url, instance)
            assert not failed.success
            [failure] = failed.filter_events(lambda event: event.is_step_failure)
            assert said in failure.step_failure_data.user_failure_data.description
    printed = capfd.readouterr()
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"password authentication failed" in content for content in kept)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "hush-hush"):
        assert secret not in printed.out + printed.err
        assert not any(secret.encode() in content for content in kept)


def test_a_database_that_is_down_is_tried_again_and_the_other_exports_are_made(home: Path) -> None:
    defs = build_defs(
        home=Home(path=str(home)), database=Database(url=f"postgresql://keeper:hush@127.0.0.1:{free_port()}/shop")
    )
    workbook = dg.AssetKey(["exports", "silver_workbook"])
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[KEY, workbook], raise_on_error=False
        )
        assert not result.success
        assert len(result.filter_events(lambda event: event.is_step_restarted)) == 2
    assert set(materializations(result)) == {"exports/silver_workbook"}


def test_the_password_is_not_among_the_values_of_the_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERING_PUBLISH_URL", "postgresql://keeper:hush-hush@127.0.0.1/shop")
    repository = build_defs().get_repository_def()
    from dagster._core.remote_representation.external_data import RepositorySnap

    assert "hush-hush" not in dg.serialize_value(RepositorySnap.from_def(repository))


def test_without_a_database_nothing_is_published_and_the_run_says_so(home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(home, None, instance)
        assert result.success
        assert materializations(result) == {}
        [observation] = result.get_asset_observation_events()
        said = observation.asset_observation_data.asset_observation
        assert said.description == "Nothing is published: CLUSTERING_PUBLISH_URL is not set."
        assert said.metadata["published"].value is False


def test_the_metadata_say_what_was_published_where(home: Path, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = materialize(home, f"sqlite:///{tmp_path}/business.db", instance)
        [(name, found)] = materializations(first).items()
        assert name == "exports/database_tables"
        assert found["database"].value == f"sqlite:///{tmp_path}/business.db"
        assert found["dagster/row_count"].value == 30 * 4 + 7
        tables = found["tables"]
        assert isinstance(tables, dg.TableMetadataValue)
        assert {record.data["table"]: record.data["rows"] for record in tables.records} == {
            contract.name: 7 if contract.name == "segment_profiles" else 30 for contract in PUBLISHED
        }
        assert (found["changed"].value, found["columns_added"].value, found["columns_left_empty"].value) == (
            True,
            "none",
            "none",
        )
        version = instance.get_latest_data_version_record(KEY)
        again = materializations(materialize(home, f"sqlite:///{tmp_path}/business.db", instance))
        assert again["exports/database_tables"]["changed"].value is False
        assert version is not None


def test_gold_of_another_silver_is_not_published(home: Path) -> None:
    with Warehouse(home).connect() as backend:
        record_versions(backend, {"silver.customer_features": "newer"})
        with pytest.raises(NothingToPublish, match="materialize the gold layer"):
            read_content(backend)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with (
        Warehouse(tmp_path).connect() as backend,
        pytest.raises(NothingToPublish, match=r"no silver.customer_features, .* run the job"),
    ):
        read_content(backend)
