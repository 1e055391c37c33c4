"""What is known on a day and what comes after it stay apart, and the job says what it found."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ibis.backends.duckdb import Backend

from clustering_assets.conformance import violations
from clustering_assets.contracts import CUSTOMER_FEATURES, ORDER_LINES, OUT_OF_TIME_VALIDATION
from clustering_assets.definitions import build_defs, defs
from clustering_assets.out_of_time import (
    LEAST_CUSTOMERS,
    SEGMENTS,
    TARGETS,
    TooLittleHistory,
    cut_dates,
    future_behaviour,
    observe,
    validate,
)
from clustering_assets.resources import Home, SourceFolder
from clustering_assets.sources.ingestion import ingest
from clustering_assets.warehouse import Warehouse, table
from clustering_assets_tests.awkward_lines import AS_OF, awkward_lines, order_lines_strategy
from clustering_assets_tests.conftest import Shop, make_shop, materializations
from clustering_assets_tests.engines import table_of
from clustering_assets_tests.sources.bronze import NOW
from clustering_assets_tests.sources.test_online_retail import TEST_DATA

PARAMETERS = {"n_clusters": 5, "random_state": 0}
CHOICE: dict[str, Any] = {"as_of": None, "history_days": 180, "most": 1, "days_apart": 91}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    connection = ibis.duckdb.connect()
    yield connection
    connection.disconnect()


FIRST, LAST = dt.date(2023, 1, 1), dt.date(2024, 12, 31)


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 12),
    st.integers(1, 200),
    st.none() | st.dates(FIRST, LAST),
)
def test_every_day_to_look_from_has_its_history_and_its_future(
    horizon: int, history: int, most: int, apart: int, as_of: dt.date | None
) -> None:
    choice: dict[str, Any] = {"horizon_days": horizon, "history_days": history, "most": most, "days_apart": apart}
    latest = as_of or LAST - dt.timedelta(horizon)
    possible = latest + dt.timedelta(horizon) <= LAST and latest - dt.timedelta(history) >= FIRST
    if not possible:
        with pytest.raises(TooLittleHistory, match=r"are not over|too short a history"):
            cut_dates(FIRST, LAST, as_of=as_of, **choice)
        return
    dates = cut_dates(FIRST, LAST, as_of=as_of, **choice)
    assert dates[0] == latest
    assert {(a - b).days for a, b in itertools.pairwise(dates)} <= {apart}
    assert all(date - dt.timedelta(history) >= FIRST for date in dates)
    # one more would be one too many
    assert len(dates) == most or dates[-1] - dt.timedelta(apart + history) < FIRST


def expected_future(lines: pd.DataFrame, as_of: dt.date, horizon_days: int) -> dict[str, tuple[float | None, ...]]:
    """Return rate, returned value and ordered value per customer, line by line."""
    start = dt.datetime.combine(as_of + dt.timedelta(1), dt.time())
    end = start + dt.timedelta(horizon_days)
    of_customer: dict[str, list[tuple[bool, float | None, float | None]]] = defaultdict(list)
    for line in lines.astype(object).where(lines.notna(), None).to_dict("records"):
        if line["order_date"] is None or not start <= line["order_date"] < end:
            continue
        later = line["return_date"] is not None and line["return_date"] >= end
        units = 0 if later else line["return_quantity"]
        value, bought = line["line_value"], line["quantity"]
        back = None if value is None or bought is None else value * units / bought
        of_customer[line["customer_id"]].append((units > 0, back, value))

    def total(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) if known else None

    return {
        customer: (
            sum(returned for returned, _, _ in bought) / len(bought),
            total([back for _, back, _ in bought]),
            total([value for _, _, value in bought]),
        )
        for customer, bought in of_customer.items()
    }


def assert_future(backend: Backend, lines: pd.DataFrame, as_of: dt.date, horizon_days: int) -> None:
    rows = backend.to_pyarrow(future_behaviour(table_of(lines, ORDER_LINES.columns), as_of, horizon_days)).to_pylist()
    found = {row["customer_id"]: tuple(row[target] for target in TARGETS) for row in rows}
    expected = expected_future(lines, as_of, horizon_days)
    assert set(found) == set(expected)
    for customer, values in expected.items():
        for mine, theirs in zip(found[customer], values, strict=True):
            assert mine == (None if theirs is None else pytest.approx(theirs, rel=1e-9, abs=1e-12)), customer


@pytest.mark.parametrize("horizon_days", [1, 40, 180])
def test_future_behaviour_equals_the_oracle_on_awkward_lines(backend: Backend, horizon_days: int) -> None:
    lines = awkward_lines(seed=4)
    assert_future(backend, lines, AS_OF - dt.timedelta(horizon_days), horizon_days)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=order_lines_strategy(), age=st.integers(1, 400), horizon_days=st.integers(1, 400))
def test_future_behaviour_equals_the_oracle_on_any_lines(
    backend: Backend, lines: pd.DataFrame, age: int, horizon_days: int
) -> None:
    assert_future(backend, lines, dt.date(2024, 3, 1) - dt.timedelta(age), horizon_days)


@pytest.fixture(scope="module")
def bronze(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of which bronze has been loaded."""
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    job = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    result = job.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["bronze", name]) for name in ("order_lines", "rejected_rows", "source_files")]
    )
    assert result.success
    return shop


def observed(warehouse: Warehouse, change: str = "true", **choice: Any) -> dict[dt.date, pd.DataFrame]:
    """Observe the lines for which a condition of SQL holds."""
    with warehouse.connect() as backend:
        lines = table(backend, ORDER_LINES)
        if change != "true":
            lines = backend.sql(f"select * from bronze.order_lines where {change}")
        return observe(backend, lines, None, horizon_days=180, **{**CHOICE, **choice})


def test_what_is_known_on_a_day_does_not_depend_on_what_comes_after(bronze: Shop) -> None:
    [(as_of, known)] = observed(bronze.warehouse).items()
    with bronze.warehouse.connect() as backend:
        past = backend.sql(
            f"""select * replace (
                case when return_date::date > date '{as_of}' then 0 else return_quantity end as return_quantity,
                case when return_date::date > date '{as_of}' then null else return_date end as return_date
            ) from bronze.order_lines where order_date is null or order_date::date <= date '{as_of}'
            union all by name select * replace ('the last to order' as customer_id, 1000 as return_quantity)
            from (from bronze.order_lines order by order_date desc limit 1)"""
        )
        [(same_day, without_future)] = observe(backend, past, None, horizon_days=180, **CHOICE).items()
    names = list(CUSTOMER_FEATURES.column_names[:-1])
    assert same_day == as_of
    pd.testing.assert_frame_equal(known[names], without_future[names])
    assert without_future["future_return_rate"].isna().all()
    assert known["future_return_rate"].notna().any()


def test_who_orders_nothing_more_has_values_of_zero_and_no_return_rate(bronze: Shop) -> None:
    [known] = observed(bronze.warehouse).values()
    idle = known["future_return_rate"].isna()
    assert 0 < idle.sum() < len(known)
    assert (known.loc[idle, ["future_return_value", "future_order_value"]] == 0).all(axis=None)
    assert (known.loc[~idle, "future_order_value"] > 0).all()
    assert known["customer_id"].is_unique


def test_with_too_few_customers_nothing_is_observed(bronze: Shop) -> None:
    few = "customer_id in (select distinct customer_id from bronze.order_lines order by 1 limit 20)"
    with pytest.raises(TooLittleHistory, match=rf"^Only \d+ customers were known on .*, and {LEAST_CUSTOMERS} are"):
        observed(bronze.warehouse, few)
    with pytest.raises(TooLittleHistory, match="No order has a date"):
        observed(bronze.warehouse, "order_date is null")


Known = dict[dt.date, pd.DataFrame]


@pytest.fixture(scope="module")
def known(bronze: Shop) -> Known:
    return observed(bronze.warehouse, most=2)


def figures(rows: pd.DataFrame, target: str, scale: str) -> pd.DataFrame:
    return rows[(rows["target"] == target) & (rows["scale"] == scale)].set_index("method")


def test_segments_of_planted_behaviours_say_more_of_future_returns_than_rfm(known: Known) -> None:
    rows = validate(known, PARAMETERS)
    for _, day in rows.groupby("as_of"):
        for scale in ("values", "ranks"):
            found = figures(day, "future_return_rate", scale)
            assert found.loc[SEGMENTS, "epsilon_squared"] > found.loc["rfm_cells", "epsilon_squared"]
            for rfm in ("rfm_score", "rfm_kmeans"):
                assert found.loc[rfm, "lead"] > 2 * found.loc[rfm, "lead_standard_error"]


def test_nothing_explains_a_future_that_was_dealt_out_by_lot(known: Known) -> None:
    targets = list(TARGETS)
    dealt = {
        day: customers.assign(**customers[targets].sample(frac=1, random_state=1).set_index(customers.index))
        for day, customers in known.items()
    }
    found = validate(dealt, PARAMETERS).query("scale == 'ranks'")
    assert (found["epsilon_squared"].abs() < 3 * found["standard_error"]).all()
    assert (found["lead"].abs() < 3 * found["lead_standard_error"])[found["method"] != SEGMENTS].all()


def test_all_methods_are_judged_on_the_same_customers(known: Known) -> None:
    rows = validate(known, PARAMETERS)
    assert len(known) == 2
    for day, customers in known.items():
        own = rows[rows["as_of"] == pd.Timestamp(day)]
        assert set(own["known_customers"]) == {len(customers)}
        for target, found in own.groupby("target"):
            assert set(found["customers"]) == {customers[target].notna().sum()}
        everybody = figures(own, "future_order_value", "values")
        assert everybody.loc["rfm_kmeans", "groups"] == everybody.loc[SEGMENTS, "groups"]


def job(shop: Shop, **config: Any) -> dg.ExecuteInProcessResult:
    settings = {"n_clusters": 4, "cut_dates": 2, **config}
    location = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    return location.resolve_job_def("out_of_time_validation").execute_in_process(
        run_config={"ops": {"validation": {"config": settings}}}, raise_on_error=False
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = result.filter_events(lambda event: event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def validation(shop: Shop) -> pd.DataFrame:
    with shop.warehouse.connect() as backend:
        return backend.con.execute("from gold.out_of_time_validation order by all").df()


@pytest.fixture(scope="module")
def validated(bronze: Shop) -> tuple[Shop, dg.ExecuteInProcessResult]:
    result = job(bronze)
    assert result.success
    return bronze, result


def test_the_job_writes_a_row_per_day_target_scale_and_method(
    validated: tuple[Shop, dg.ExecuteInProcessResult],
) -> None:
    shop, result = validated
    with shop.warehouse.connect() as backend:
        assert violations(backend, OUT_OF_TIME_VALIDATION) == []
    rows = validation(shop)
    assert len(rows) == 2 * len(TARGETS) * 2 * 5
    assert {check.passed for check in result.get_asset_check_evaluations()} == {True}
    assert set(materializations(result)) == {"gold/out_of_time_validation"}


def test_its_report_is_a_table_and_a_picture_without_customers(
    validated: tuple[Shop, dg.ExecuteInProcessResult],
) -> None:
    shop, result = validated
    metadata = materializations(result)["gold/out_of_time_validation"]
    rows = validation(shop)
    text = str(metadata["validation"].value)
    own = figures(rows[rows["as_of"] == rows["as_of"].max()], "future_return_rate", "values").loc[SEGMENTS]
    assert metadata["future_return_rate_values_eta_squared"].value == own["eta_squared"]
    assert f"{own['eta_squared']:.3f} ({own['epsilon_squared']:.3f} ± {own['standard_error']:.3f})" in text
    for day in rows["as_of"].unique():
        assert f"{day:%Y-%m-%d}" in text
    assert str(metadata["variance_explained"].value).startswith("![](data:image/png;base64,")
    with shop.warehouse.connect() as backend:
        ids = backend.con.execute("select distinct customer_id from bronze.order_lines").fetchall()
    said = text + str(metadata["preview"])
    assert not [customer for (customer,) in ids if customer in said]


def test_the_same_lines_and_settings_are_not_validated_twice(
    validated: tuple[Shop, dg.ExecuteInProcessResult],
) -> None:
    shop, _ = validated
    before = validation(shop)
    again = materializations(job(shop))["gold/out_of_time_validation"]
    assert again["changed"].value is False
    pd.testing.assert_frame_equal(validation(shop), before)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"history_days": 3_000}, "are too short a history: 3000 days before the day to look from and 180 days after"),
        ({"as_of": "2099-01-01"}, "The 180 days after 2099-01-01 are not over, since the last orders are of"),
        ({"as_of": "0001-01-01"}, "180 days before 0001-01-01 and 180 days after it are needed"),
        ({"as_of": "soon"}, "as_of is 'soon'; it has to be a day such as 2025-12-31"),
    ],
)
def test_what_cannot_be_validated_ends_in_one_sentence_and_leaves_the_table(
    validated: tuple[Shop, dg.ExecuteInProcessResult], config: dict[str, Any], sentence: str
) -> None:
    shop, _ = validated
    before = validation(shop)
    result = job(shop, **config)
    assert not result.success
    assert sentence in failure(result)
    assert "\n" not in failure(result)
    pd.testing.assert_frame_equal(validation(shop), before)


def test_without_bronze_it_says_what_to_do_first(tmp_path: Path) -> None:
    assert "materialize bronze/order_lines first" in failure(job(Shop(tmp_path, tmp_path / "home")))


def test_a_source_without_values_leaves_the_values_undefined(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    orders = [
        f"O{number},c{number % 150},S{number % 7},{dt.date(2024, 1, 1) + dt.timedelta(int(day))},1,{int(back)}"
        for number, (day, back) in enumerate(zip(random.integers(0, 600, 1500), random.random(1500) < 0.3, strict=True))
    ]
    shop = Shop(tmp_path / "source", tmp_path / "home")
    shop.source.mkdir()
    (shop.source / "lines.csv").write_text(
        "\n".join(["order_id,customer_id,sku,order_date,quantity,return_quantity", *orders]) + "\n"
    )
    assert not job(shop).success
    location = build_defs(home=Home(path=str(shop.home)), source=SourceFolder(path=str(shop.source)))
    assert location.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["bronze", name]) for name in ("order_lines", "rejected_rows", "source_files")]
    )
    result = job(shop, cut_dates=1)
    assert result.success
    rows = validation(shop)
    with_values = rows["target"] != "future_return_rate"
    assert rows.loc[with_values, "eta_squared"].isna().all()
    assert rows.loc[~with_values, "eta_squared"].notna().all()
    assert {check.passed for check in result.get_asset_check_evaluations()} == {True}
    assert "not defined" in str(materializations(result)["gold/out_of_time_validation"]["validation"].value)


def test_it_runs_monthly_and_not_with_everything() -> None:
    key = dg.AssetKey(["gold", "out_of_time_validation"])
    assert key not in defs.resolve_job_def("everything").asset_layer.executable_asset_keys
    assert defs.resolve_job_def("out_of_time_validation").asset_layer.executable_asset_keys == {key}
    schedule = defs.get_repository_def().get_schedule_def("monthly_out_of_time_validation")
    assert schedule.job_name == "out_of_time_validation"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    ticks = schedule.cron_schedule
    assert ticks == "0 4 1 * *"


@pytest.mark.skipif(not (TEST_DATA / "online_retail_ii").is_dir(), reason=f"UCI Online Retail II is not in {TEST_DATA}")
def test_on_uci_segments_say_more_of_future_returns_than_rfm(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.connect() as backend:
        ingest(backend, TEST_DATA / "online_retail_ii", NOW)
        counted = backend.con.execute(
            """select count(*), count(*) filter (last >= '2011-06-13') from (
                select min(order_date) as first, max(order_date) as last from bronze.order_lines group by customer_id
            ) where first < '2011-06-13'"""
        ).fetchone()
    observed_then = observed(warehouse)
    assert list(observed_then) == [dt.date(2011, 6, 12)]
    # a fixed number, since finding one takes most of the time
    rows = validate(observed_then, {"n_clusters": 7, "random_state": 0})
    on_values, on_ranks = (figures(rows, "future_return_rate", scale) for scale in ("values", "ranks"))
    assert counted == (on_values["known_customers"].iloc[0], on_values["customers"].iloc[0])
    for rfm in ("rfm_score", "rfm_kmeans"):
        assert on_values.loc[SEGMENTS, "eta_squared"] > on_values.loc[rfm, "eta_squared"]
    for rfm in ("rfm_cells", "rfm_score", "rfm_kmeans"):
        assert on_ranks.loc[rfm, "lead"] > 2 * on_ranks.loc[rfm, "lead_standard_error"]
