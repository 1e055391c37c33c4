"""A warehouse written by hand, to report on: every table that a report reads, without a run and without a fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from clustering_assets.comparison import record
from clustering_assets.contracts import (
    CLUSTERING_FEATURES,
    CUSTOMER_FEATURES,
    CUSTOMER_REASONS,
    CUSTOMER_SEGMENTS,
    DROPPED_CUSTOMERS,
    IMPUTATION_LOG,
    ORDER_LINES,
    OUT_OF_TIME_VALIDATION,
    REJECTED_ROWS,
    SCALED_FEATURES,
    SEGMENT_CHANGES,
    SEGMENT_HISTORY,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    SOURCE_FILES,
    TableContract,
)
from clustering_assets.segmentation.identity import segment_changes
from clustering_assets.segmentation.profiles import segment_profiles
from clustering_assets.warehouse import AS_OF, Warehouse, record_versions, replace_table, transaction
from clustering_assets_tests.segmentation.planted import shoppers

NOW = datetime(2026, 1, 2, 3, 4, 5)
CATEGORIES = ("Shoes", "Dresses", "Hats & caps")
_ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}
_MEANINGLESS = {"string": "", "int64": 0, "float64": 0.0, "timestamp": NOW}


@dataclass(frozen=True)
class ToldShop:
    """The home of a warehouse that was written by hand."""

    home: Path

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.warehouse.connect() as backend:
            rows: list[tuple[Any, ...]] = backend.con.execute(query).fetchall()
        return rows


def write_rows(backend: Any, contract: TableContract, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows; a required value that a row does not give is one without a meaning."""
    columns = {
        column.name: pa.array(
            [row.get(column.name, _MEANINGLESS[column.type] if column.required else None) for row in rows],
            _ARROW[column.type],
        )
        for column in contract.columns
    }
    replace_table(backend, contract, pa.table(columns))


def told_shop(
    home: Path,
    *,
    customers: int = 120,
    categories: Sequence[str] = CATEGORIES,
    files: Sequence[str] = ("orders_2024.csv", "orders_2025.csv"),
    fits: int = 2,
    money: bool = True,
    extras: bool = True,
) -> ToldShop:
    """Write a shop of four kinds of customers and a few outliers.

    Parameters
    ----------
    fits
        With 1 there is no run to compare with; with 2 some customers moved, joined and left.
    money
        Whether order lines have values.
    extras
        Whether past months and days were looked at: the history and the validation.
    """
    shop = ToldShop(home)
    random = np.random.default_rng(5)
    features, kind = shoppers(customers, seed=3)
    whole = [column.name for column in CLUSTERING_FEATURES if column.type == "int64"]
    features[whole] = features[whole].round()
    features["order_count"] = features["order_count"].clip(lower=1)
    features["returned_line_count"] = features["returned_line_count"].round()
    if not money:
        features["mean_order_value"], features["mean_return_value"] = np.nan, 0.0
    ids = [f"c{number:05}@example.com" for number in range(customers)]
    segments = np.where(np.arange(customers) % 40 == 7, -1, kind)
    before = pd.Series(segments, index=ids)
    before.iloc[:6] = (before.iloc[:6] + 1) % 4
    with shop.warehouse.connect() as backend:
        _bronze(backend, ids, categories, files, money, random)
        _silver(backend, ids, features)
        for fit in range(fits):
            known = before.drop(ids[10]) if fit < fits - 1 else pd.Series(segments, index=ids)
            if fit < fits - 1:
                known = pd.concat([known, pd.Series({"gone@example.com": 1})])
            _gold(backend, ids, features, known, fit, random)
        if extras:
            _extras(backend, ids, segments)
    return shop


def _bronze(
    backend: Any, ids: list[str], categories: Sequence[str], files: Sequence[str], money: bool, random: Any
) -> None:
    lines = []
    for number in range(len(ids) * 6):
        ordered = datetime(2024, 1, 5) + timedelta(days=int(random.integers(720)))
        returned = int(random.random() < 0.2)
        lines.append(
            {
                "order_id": f"o{number}",
                "customer_id": ids[number % len(ids)],
                "sku": f"s{number % 17}",
                "order_date": ordered,
                "quantity": 2,
                "line_value": float(random.integers(1_000, 9_000)) / 100 if money else None,
                "return_quantity": returned,
                "return_date": ordered + timedelta(days=9) if returned else None,
                "category": [*categories, None][number % (len(categories) + 1)],
                "source_file": files[number % len(files)],
                "source_row": number + 2,
            }
        )
    write_rows(backend, ORDER_LINES, lines)
    rejected = [
        {"source_file": files[0], "source_row": 90_000 + number, "reason": reason}
        for number, reason in enumerate(["NO_SKU: there is none"] * 3 + ["NO_CUSTOMER: there is none"] * 5)
    ]
    write_rows(backend, REJECTED_ROWS, rejected)
    kept = [sum(line["source_file"] == file for line in lines) for file in files]
    accounts: list[dict[str, Any]] = [
        {
            "source_file": file,
            "content_hash": str(number),
            "status": "loaded",
            "rows_read": kept[number] + (15 if not number else 0),
            "rows_kept": kept[number],
            "rows_rejected": 0 if number else 8,
            "rows_superseded": 0 if number else 4,
            "rows_merged": 0 if number else 3,
        }
        for number, file in enumerate(files)
    ]
    broken = {"source_file": "broken.csv", "content_hash": "x", "status": "unusable", "reason": "has no header"}
    write_rows(backend, SOURCE_FILES, [*accounts, broken])


def _silver(backend: Any, ids: list[str], features: pd.DataFrame) -> None:
    known = features.astype(object).where(features.notna(), None).to_dict("records")
    whole = [column.name for column in CLUSTERING_FEATURES if column.type == "int64"]
    dates = {"first_order_date": datetime(2024, 1, 5), "last_order_date": datetime(2025, 12, 25)}
    rows = [
        {**row, **{name: int(row[name]) for name in whole}, **dates, "customer_id": customer_id}
        for row, customer_id in zip(known, ids, strict=True)
    ]
    write_rows(backend, CUSTOMER_FEATURES, rows)
    write_rows(backend, DROPPED_CUSTOMERS, [{"customer_id": "dropped@example.com", "missing": "order_count"}])
    filled = [
        {"feature": "pace_stability", "rule": "mean", "nulls_found": 31, "values_filled": 30, "fill_value": 0.5},
        {"feature": "return_intensity", "rule": "zero", "nulls_found": 60, "values_filled": 60, "fill_value": 0.0},
        {"feature": "order_count", "rule": "core", "nulls_found": 1, "values_filled": 0},
    ]
    write_rows(backend, IMPUTATION_LOG, filled)
    record_versions(backend, {AS_OF: "2025-12-31"})


def _gold(
    backend: Any, ids: list[str], features: pd.DataFrame, segment_of: pd.Series[int], fit: int, random: Any
) -> None:
    there = [position for position, customer_id in enumerate(ids) if customer_id in segment_of.index]
    own, labels = features.iloc[there], segment_of.reindex([ids[position] for position in there]).to_numpy()
    scaled = ((own - own.mean()) / own.std().replace(0, 1)).fillna(0).to_numpy()
    profiles = segment_profiles(own, labels, scaled, stability={segment: 0.9 - segment / 10 for segment in range(4)})
    names = dict(zip(profiles["segment_id"], profiles["segment_name"], strict=True))
    model_run_id = f"{fit + 1:016x}"
    now = pd.DataFrame(
        {"segment_id": segment_of, "segment_name": [names[segment] for segment in segment_of]}, index=segment_of.index
    )
    earlier = []
    changes = pd.DataFrame(columns=[*SEGMENT_CHANGES.column_names])
    if fit:
        rows = backend.con.execute(
            f"select customer_id, segment_id, segment_name from {CUSTOMER_SEGMENTS.qualified_name}"
        )
        was = rows.df().set_index("customer_id")
        gone = pd.DataFrame({"segment_id": [1], "segment_name": [names[1]]}, index=["gone@example.com"])
        changes = segment_changes(pd.concat([was, gone]), now).assign(
            from_model_run_id=f"{fit:016x}", model_run_id=model_run_id
        )
        earlier = backend.con.execute(f"from {SEGMENT_MODEL.qualified_name}").to_arrow_table().to_pylist()
    sizes = pd.Series(labels)
    model = {
        "model_run_id": model_run_id,
        "fitted_at": NOW + timedelta(days=fit),
        "input_version": f"input {fit}",
        "parameters": json.dumps({"n_clusters": 4, "random_state": 0, "map": {"perplexity": 30.0}}),
        "versions": json.dumps({"scikit-learn": "1.9.1", "segmentation": "2"}),
        "scaling_method": "yeo-johnson",
        "customers": len(labels),
        "segments": 4,
        "outliers": int((sizes == -1).sum()),
        "eps": 1.25,
        "min_samples": 10,
        "shrinkage": 0.3,
        "silhouette": 0.41 + fit / 100,
        "silhouette_full": 0.2,
        "calinski_harabasz": 512.5,
        "davies_bouldin": 0.75,
        "stability": 0.8,
        "k_distance_curve": "[]",
        "choices_of_k": json.dumps([{"k": k, "prediction_strength": 1 / k, "silhouette": 0.4} for k in (2, 3, 4, 5)]),
        "segment_ids": "{}",
        "smallest_segment_share": 0.1,
        "feature_drift": json.dumps({"return_rate": 0.31, "order_count": 0.02}) if fit else None,
        "largest_feature_drift": 0.31 if fit else None,
        "segment_size_drift": 0.01 if fit else None,
        "kept_segment_share": 0.95 if fit else None,
        "next_segment_id": 4,
    }
    with transaction(backend):
        write_rows(backend, SEGMENT_MODEL, [*earlier, model])
        write_rows(backend, SEGMENT_PROFILES, profiles.astype(object).where(profiles.notna(), None).to_dict("records"))
        write_rows(
            backend,
            CUSTOMER_SEGMENTS,
            [
                {
                    "customer_id": ids[position],
                    "segment_id": int(label),
                    "segment_name": names[label],
                    "confidence": 0.5 + label / 10,
                    "map_x": float(random.normal(5 * label, 1)),
                    "map_y": float(random.normal(3 * (label % 2), 1)),
                    "model_run_id": model_run_id,
                }
                for position, label in zip(there, labels, strict=True)
            ],
        )
        columns = [f"{name}_scaled" for name in own.columns]
        write_rows(
            backend,
            SCALED_FEATURES,
            [
                {
                    "customer_id": ids[position],
                    "outlier_score": 0.25,
                    **dict(zip(columns, map(float, row), strict=True)),
                }
                for position, row in zip(there, scaled, strict=True)
            ],
        )
        write_rows(
            backend,
            CUSTOMER_REASONS,
            [
                {"customer_id": ids[position], "segment_id": int(label), "reason_1": "return_rate 0.48 (typical 0.06)"}
                for position, label in zip(there, labels, strict=True)
            ],
        )
        rows = changes.astype(object).where(changes.notna(), None).to_dict("records")
        write_rows(backend, SEGMENT_CHANGES, rows)
        record(backend, [SEGMENT_PROFILES])


def _extras(backend: Any, ids: list[str], segments: Any) -> None:
    months = [datetime(2025, 10, 31), datetime(2025, 11, 30)]
    history = [
        {"as_of": month, "customer_id": customer_id, "segment_id": int(segment), "segment_name": f"Then {segment}"}
        for month in months
        for customer_id, segment in zip(ids, segments, strict=True)
    ]
    write_rows(backend, SEGMENT_HISTORY, history)
    judged = [
        {
            "as_of": datetime(2025, 6, 30),
            "horizon_days": 180,
            "target": target,
            "scale": scale,
            "method": method,
            "customers": 100,
            "known_customers": 110,
            "groups": groups,
            "eta_squared": 0.3 / groups,
            "epsilon_squared": 0.25 / groups,
            "standard_error": 0.01,
        }
        for target in ("future_return_rate", "future_return_value")
        for scale in ("values", "ranks")
        for method, groups in (("segments", 5), ("rfm_cells", 90), ("return_rate_deciles", 8))
    ]
    write_rows(backend, OUT_OF_TIME_VALIDATION, judged)
