"""The checks of the segmentation, each passing and failing on a prepared warehouse, and how their limits are set."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from clustering_assets.contracts import CUSTOMER_SEGMENTS, SEGMENT_MODEL, Column, TableContract
from clustering_assets.definitions import build_defs
from clustering_assets.quality import MEASURES
from clustering_assets.resources import Home, QualityLimits, SourceFolder
from clustering_assets.warehouse import Warehouse, replace_table

FITTED = datetime(2025, 1, 1)
SOUND: dict[str, Any] = {
    "customers": 1_000,
    "outliers": 20,
    "silhouette": 0.6,
    "stability": 0.8,
    "smallest_segment_share": 0.08,
    "largest_feature_drift": 0.05,
    "segment_size_drift": 0.02,
}
NAMES = {measure.name for measure in MEASURES}

Verdicts = dict[str, dg.AssetCheckEvaluation]


def row(contract: TableContract, **values: Any) -> dict[str, Any]:
    """A row that keeps the contract, whatever else it says."""

    def plain(column: Column) -> object:
        return {"string": "", "timestamp": FITTED}.get(column.type, column.minimum or 0) if column.required else None

    return {**{column.name: plain(column) for column in contract.columns}, **values}


def prepare(home: Path, *models: dict[str, Any]) -> None:
    """Write a warehouse with models, oldest first, of which the first gave the customers their segments."""
    rows = [
        row(SEGMENT_MODEL, model_run_id=f"fit {number}", fitted_at=FITTED - timedelta(days=number), **SOUND | model)
        for number, model in enumerate(models)
    ]
    with Warehouse(home).connect() as backend:
        replace_table(backend, SEGMENT_MODEL, pd.DataFrame(rows))
        replace_table(backend, CUSTOMER_SEGMENTS, pd.DataFrame([row(CUSTOMER_SEGMENTS, model_run_id="fit 0")]))


def run(home: Path, limits: QualityLimits | None = None, **config: float) -> dg.ExecuteInProcessResult:
    """Execute just the checks of the segmentation, with limits from the code location or from the launchpad."""
    location = build_defs(
        home=Home(path=str(home)),
        source=SourceFolder(path=str(home)),
        **({"quality_limits": limits} if limits else {}),
    )
    keys = [dg.AssetCheckKey(dg.AssetKey(["gold", "segment_model"]), name) for name in sorted(NAMES)]
    job = dg.define_asset_job("quality", selection=dg.AssetSelection.checks(*keys))
    return (
        dg.Definitions.merge(location, dg.Definitions(jobs=[job]))
        .resolve_job_def("quality")
        .execute_in_process(
            run_config={"resources": {"quality_limits": {"config": config}}} if config else {}, raise_on_error=False
        )
    )


def verdicts(home: Path, limits: QualityLimits | None = None, **config: float) -> Verdicts:
    result = run(home, limits, **config)
    assert result.success
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(found) == NAMES
    return found


def failed(found: Verdicts) -> set[str]:
    return {name for name, check in found.items() if not check.passed}


def numbers(check: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in check.metadata.items()}


def test_a_sound_segmentation_passes_and_says_its_figures_and_limits(tmp_path: Path) -> None:
    prepare(tmp_path, {})
    found = verdicts(tmp_path)
    assert failed(found) == set()
    assert numbers(found["outlier_share"]) == {"figure": 0.02, "at_least": 0.001, "at_most": 0.1}
    assert numbers(found["silhouette"]) == {"figure": 0.6, "at_least": 0.25}
    assert numbers(found["segment_size_drift"]) == {"figure": 0.02, "at_most": 0.25}
    assert (
        found["stability"].description
        == "The mean stability of the customers' segments is 0.8; it should be at least 0.6."
    )


def test_a_small_shop_needs_no_outlier(tmp_path: Path) -> None:
    prepare(tmp_path, {"customers": 999, "outliers": 0})
    found = verdicts(tmp_path)["outlier_share"]
    assert found.passed
    assert numbers(found) == {"figure": 0.0, "at_most": 0.1}


BEYOND: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "outlier_share",
        {"outliers": 150},
        "max_outlier_share",
        "0.15; it should be at least 0.001 and at most 0.1. Look at",
    ),
    ("outlier_share", {"outliers": 0}, "min_outlier_share", "0; it should be at least 0.001 and at most 0.1. Look at"),
    ("silhouette", {"silhouette": 0.1}, "min_silhouette", "0.1; it should be at least 0.25. The segments run into"),
    ("stability", {"stability": 0.5}, "min_stability", "0.5; it should be at least 0.6. Other customers"),
    (
        "smallest_segment_share",
        {"smallest_segment_share": 0.004},
        "min_smallest_segment_share",
        "0.004; it should be at least 0.01. It is too small",
    ),
    (
        "largest_feature_drift",
        {"largest_feature_drift": 0.4},
        "max_feature_drift",
        "0.4; it should be at most 0.25. feature_drift of gold/segment_model names",
    ),
    (
        "segment_size_drift",
        {"segment_size_drift": 1.5},
        "max_segment_size_drift",
        "1.5; it should be at most 0.25. gold/segment_changes says",
    ),
]
_IDS = [limit for _, _, limit, _ in BEYOND]


@pytest.mark.parametrize(("name", "model", "limit", "sentence"), BEYOND, ids=_IDS)
def test_a_figure_beyond_its_limit_warns_and_says_what_to_do(
    tmp_path: Path, name: str, model: dict[str, Any], limit: str, sentence: str
) -> None:
    prepare(tmp_path, model)
    found = verdicts(tmp_path)
    assert failed(found) == {name}
    assert found[name].severity == dg.AssetCheckSeverity.WARN
    assert f" is {sentence}" in (found[name].description or "")
    figure = numbers(found[name])["figure"]
    assert isinstance(figure, float)
    # on the limit is within it
    assert failed(verdicts(tmp_path, **{limit: figure})) == set()


def test_limits_are_set_in_the_launchpad_or_by_the_code_location(tmp_path: Path) -> None:
    prepare(tmp_path, {})
    assert failed(verdicts(tmp_path, QualityLimits(min_silhouette=0.7))) == {"silhouette"}
    assert failed(verdicts(tmp_path, QualityLimits(min_silhouette=0.7), min_silhouette=0.5)) == set()
    found = verdicts(tmp_path, min_silhouette=0.6000001, max_feature_drift=0.0499999)
    assert failed(found) == {"silhouette", "largest_feature_drift"}


@pytest.mark.parametrize("name", ["silhouette", "stability", "largest_feature_drift", "segment_size_drift"])
def test_a_figure_that_is_not_known_passes_and_says_why(tmp_path: Path, name: str) -> None:
    prepare(tmp_path, {name: None})
    found = verdicts(tmp_path)
    assert failed(found) == set()
    assert (found[name].description or "").startswith("There is no ")
    assert "figure" not in numbers(found[name])


def test_only_the_model_of_the_customers_segments_counts(tmp_path: Path) -> None:
    prepare(tmp_path, {}, {"silhouette": 0.0, "stability": 0.0, "outliers": 900})
    assert failed(verdicts(tmp_path)) == set()
    prepare(tmp_path, {"silhouette": 0.0}, {})
    assert failed(verdicts(tmp_path)) == {"silhouette"}


def test_without_a_model_it_says_what_to_do_first(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert not result.success
    [event] = result.filter_events(lambda event: event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.description == "There is no model yet: materialize gold/segment_model first."


def test_the_checks_stop_nothing_and_every_limit_is_explained() -> None:
    specs = {
        spec.name: spec for check in build_defs().asset_checks or [] for spec in check.check_specs if spec.name in NAMES
    }
    assert set(specs) == NAMES
    assert not any(spec.blocking for spec in specs.values())
    fields = QualityLimits.model_fields
    used = {limit for measure in MEASURES for limit in (measure.at_least, measure.at_most) if limit}
    assert used <= set(fields)
    assert all(field.description for field in fields.values())
    for name in used:
        with pytest.raises(Exception, match="greater than or equal to"):
            QualityLimits(**{name: -2.0})
    with pytest.raises(Exception, match="less than or equal to"):
        QualityLimits(least_rows_kept=1.1)
