"""The fitted models that are kept: their rows in ``gold.segment_model``, and the files that these name.

Nothing is fitted or applied here, and nothing that fits is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustering_assets.acceptance import accepted
from clustering_assets.contracts import ALL_TABLES, CUSTOMER_SEGMENTS, SEGMENT_MODEL
from clustering_assets.segmentation.model_file import UnusableModel, model_path
from clustering_assets.warehouse import forget_versions, has_table, record_versions, recorded_names, table

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

_MODEL_FILE = "models."
"""Under this, and its id, the file of a model is recorded before it is written."""


def record_file(backend: Backend, model_run_id: str, version: str) -> None:
    """Record the file of a model before it is written, so that it can be found if no table ever names it."""
    record_versions(backend, {f"{_MODEL_FILE}{model_run_id}": version})


def find_model(backend: Backend, model_run_id: str | None = None) -> dict[str, Any]:
    """Return the row of ``gold.segment_model`` of a fit, by default of the one that gave the customers their segments.

    Raises
    ------
    UnusableModel
        If there is no such row; the message lists those that there are, newest first.
    """
    if not has_table(backend, SEGMENT_MODEL):
        raise UnusableModel("There is no model yet: materialize gold/segment_model first.")
    rows = table(backend, SEGMENT_MODEL).to_pyarrow().to_pylist()
    rows.sort(key=lambda row: row["fitted_at"], reverse=True)
    models: dict[str, dict[str, Any]] = {row["model_run_id"]: row for row in rows}
    if model_run_id is None:
        [model_run_id] = table(backend, CUSTOMER_SEGMENTS).model_run_id.to_pyarrow().unique().to_pylist()
    if model_run_id not in models:
        there = ", ".join(f"{name} ({row['fitted_at']:%Y-%m-%d %H:%M} UTC)" for name, row in models.items())
        raise UnusableModel(
            f"There is no model {model_run_id!r}; there is {there}. Old models are removed: CLUSTERING_KEEP_MODELS "
            "says how many stay."
        )
    return models[model_run_id]


def remove_orphans(backend: Backend, home: Path) -> None:
    """Remove the files of models whose run was killed before the tables named them.

    What was never recorded here stays: it may belong to a warehouse that was lost or moved away.
    """
    named = (
        {*table(backend, SEGMENT_MODEL).model_run_id.to_pyarrow().to_pylist()}
        if has_table(backend, SEGMENT_MODEL)
        else {*()}
    )
    for name in recorded_names(backend, _MODEL_FILE):
        model_run_id = name.removeprefix(_MODEL_FILE)
        if model_run_id not in named:
            model_path(home, model_run_id).unlink(missing_ok=True)


def remove_old_models(backend: Backend, home: Path, keep: int) -> None:
    """Remove all but the newest models, but none that another table refers to: their files and their rows.

    Killed in between, a run leaves files that no row names, which the next one removes.
    """
    named = f"{SEGMENT_MODEL.qualified_name}.model_run_id"
    in_use = {
        model_run_id
        for contract in ALL_TABLES
        for column in contract.columns
        if column.references == named and has_table(backend, contract)
        for model_run_id in table(backend, contract)[column.name].to_pyarrow().unique().to_pylist()
    }
    models = table(backend, SEGMENT_MODEL).select("model_run_id", "fitted_at").to_pyarrow().to_pylist()
    newest_first = sorted(models, key=lambda row: (row["fitted_at"], row["model_run_id"]), reverse=True)
    old = [row["model_run_id"] for row in newest_first[keep:] if row["model_run_id"] not in in_use]
    if old:
        with accepted(backend, [SEGMENT_MODEL]):
            backend.con.execute(
                f"delete from {SEGMENT_MODEL.qualified_name} where model_run_id in (select unnest($1))", [old]
            )
        for model_run_id in old:
            model_path(home, model_run_id).unlink(missing_ok=True)
        forget_versions(backend, [f"{_MODEL_FILE}{model_run_id}" for model_run_id in old])
