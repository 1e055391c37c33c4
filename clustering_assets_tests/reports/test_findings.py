"""What is read for the reports is what the tables say, and a figure that nobody knows is not made up."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from clustering_assets.reports.findings import Findings, NothingToReport
from clustering_assets.reports.findings_tables import read_findings
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.reports.told_shop import NOW, ToldShop, told_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ToldShop:
    return told_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def findings(shop: ToldShop) -> Findings:
    with shop.warehouse.connect() as backend:
        return read_findings(backend)


def read(shop: ToldShop, most_customers: int = 20_000) -> Findings:
    with shop.warehouse.connect() as backend:
        return read_findings(backend, most_customers=most_customers)


def test_without_segments_there_is_nothing_to_report(tmp_path: Path) -> None:
    with Warehouse(tmp_path).connect() as backend, pytest.raises(NothingToReport, match="gold/customer_segments"):
        read_findings(backend)


def test_a_gold_layer_whose_customers_were_all_forgotten_is_nothing_to_report(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, customers=40, fits=1, extras=False)
    with shop.warehouse.connect() as backend:
        backend.con.execute("delete from gold.customer_segments")
        with pytest.raises(NothingToReport, match="run again"):
            read_findings(backend)


def test_the_days_are_those_that_silver_looks_from(findings: Findings) -> None:
    assert (findings.as_of, findings.orders_from, findings.orders_to) == (
        date(2025, 12, 31),
        date(2024, 1, 5),
        date(2025, 12, 25),
    )


def test_key_figures_are_those_of_silver_and_of_the_fit(shop: ToldShop, findings: Findings) -> None:
    [(customers, orders, value, returned, lines, returned_lines)] = shop.ask(
        """select count(*), sum(order_count), sum(mean_order_value * order_count),
                  sum(mean_return_value * returned_line_count), sum(round(lines_per_order * order_count)),
                  sum(returned_line_count) from silver.customer_features"""
    )
    [(saving,)] = shop.ask("select sum(possible_saving) from gold.segment_profiles")
    [(outliers,)] = shop.ask("select count(*) from gold.customer_segments where segment_id = -1")
    expected = {
        "customers": customers,
        "orders": orders,
        "order_value": value,
        "returned_value": returned,
        "retained_value": value - returned,
        "return_rate": returned_lines / lines,
        "returned_value_share": returned / value,
        "possible_saving": saving,
        "outlier_share": outliers / customers,
        "segments": 4,
        "silhouette": 0.42,
        "stability": 0.8,
    }
    assert [figure.name for figure in findings.key_figures] == [*expected]
    assert {figure.name: figure.value for figure in findings.key_figures} == pytest.approx(expected)
    assert findings.has_money


def test_figures_before_are_those_of_the_fit_before(findings: Findings) -> None:
    customers, silhouette = findings.key_figure("customers"), findings.key_figure("silhouette")
    assert (customers.before, customers.value, customers.change) == (119, 120, 1)
    assert silhouette.before == pytest.approx(0.41)
    assert silhouette.change == pytest.approx(0.01)
    before = findings.key_figure("order_value").before
    assert before is not None
    assert before < (findings.key_figure("order_value").value or 0)


def test_after_a_first_fit_nothing_is_compared(tmp_path: Path) -> None:
    findings = read(told_shop(tmp_path, customers=60, fits=1, extras=False))
    assert {figure.before for figure in findings.key_figures} == {None}
    assert {figure.change for figure in findings.key_figures} == {None}
    assert not findings.movement.comparable
    assert findings.movement.flows == ()
    assert findings.movement.kept_share is None
    assert {segment.customers_before for segment in findings.segments} == {None}
    assert findings.history == ()
    assert findings.out_of_time == ()


def test_segments_add_up_to_the_shop_and_the_outliers_come_last(shop: ToldShop, findings: Findings) -> None:
    sizes = dict(shop.ask("select segment_id, count(*) from gold.customer_segments group by 1"))
    assert {segment.segment_id: segment.customers for segment in findings.segments} == sizes
    assert findings.segments[-1].is_outliers
    assert sum(segment.order_value or 0 for segment in findings.segments) == pytest.approx(
        findings.key_figure("order_value").value
    )
    assert sum(segment.retained_value or 0 for segment in findings.segments) == pytest.approx(
        findings.key_figure("retained_value").value
    )
    [(segment_id, returned)] = shop.ask(
        """select segment_id, sum(mean_return_value * returned_line_count) from silver.customer_features
           join gold.customer_segments using (customer_id) group by 1 order by 2 desc limit 1"""
    )
    segment = findings.segment(segment_id)
    assert segment is not None
    assert segment.returned_value == pytest.approx(returned)
    [(share,)] = shop.ask(f"select returned_value_share from gold.segment_profiles where segment_id = {segment_id}")
    assert segment.returned_value_share == pytest.approx(share)


def test_the_headline_is_about_who_sends_back_more_than_their_share(shop: ToldShop, findings: Findings) -> None:
    [(name,)] = shop.ask(
        "select segment_name from gold.segment_profiles order by returned_value_share - share desc limit 1"
    )
    assert findings.headline is not None
    assert findings.headline.name == name


def test_differences_have_the_means_of_the_segment_and_of_the_shop(shop: ToldShop, findings: Findings) -> None:
    segment = findings.segments[0]
    assert 1 <= len(segment.differences) <= 5
    for difference in segment.differences:
        [(mean, median)] = shop.ask(
            f"""select avg({difference.feature}), median({difference.feature}) from silver.customer_features
                join gold.customer_segments using (customer_id) where segment_id = {segment.segment_id}"""
        )
        [(shop_mean,)] = shop.ask(f"select avg({difference.feature}) from silver.customer_features")
        assert (difference.mean, difference.median) == pytest.approx((mean, median))
        assert difference.shop_mean == pytest.approx(shop_mean)
    effects = [abs(difference.effect) for difference in segment.differences]
    assert effects == sorted(effects, reverse=True)


def test_a_saving_can_be_reckoned_again_from_what_it_says(findings: Findings) -> None:
    costed = [segment.saving for segment in findings.segments if segment.saving.possible_saving]
    assert costed
    for saving in costed:
        handling = saving.returned_lines * saving.handling_per_line
        loss = (saving.returned_value or 0) * saving.value_lost_share
        assert saving.return_cost == pytest.approx(handling + loss)
        assert saving.possible_saving == pytest.approx(
            handling * saving.handling_averted + loss * saving.value_loss_averted
        )


def test_movement_counts_who_moved_joined_left_and_stayed(shop: ToldShop, findings: Findings) -> None:
    movement = findings.movement
    counted = dict(shop.ask("select change, count(*) from gold.segment_changes group by 1"))
    assert {"moved": movement.moved, "joined": movement.joined, "left": movement.left} == counted
    assert counted == {"moved": 6, "joined": 1, "left": 1}
    assert movement.stayed == 120 - 6 - 1
    assert movement.kept_share == pytest.approx(113 / 119)
    assert movement.previous_fitted_at == NOW
    for segment in findings.segments:
        came = sum(flow.customers for flow in movement.flows if flow.to_id == segment.segment_id)
        went = sum(flow.customers for flow in movement.flows if flow.from_id == segment.segment_id)
        assert (segment.customers, segment.customers_before) == (came, went)


def test_customers_are_listed_with_what_gold_and_silver_say(shop: ToldShop, findings: Findings) -> None:
    customers = findings.customers
    assert len(customers) == customers.total == 120
    place = 17
    [(segment_id, map_x, order_count, value)] = shop.ask(
        f"""select segment_id, map_x, order_count, mean_order_value * order_count from gold.customer_segments
            join silver.customer_features using (customer_id) where customer_id = '{customers.ids[place]}'"""
    )
    assert customers.segment_ids[place] == segment_id
    assert customers.map_x[place] == map_x
    assert customers.features["order_count"][place] == order_count
    assert customers.order_value[place] == pytest.approx(value)
    assert customers.reasons[place] == ("return_rate 0.48 (typical 0.06)",)


def test_of_too_many_customers_a_sample_is_listed_the_same_one_each_time(shop: ToldShop) -> None:
    some, again = (read(shop, most_customers=30).customers for _ in range(2))
    assert (len(some), some.total) == (30, 120)
    assert some.ids == again.ids == sorted(some.ids)


def test_category_months_add_up_to_the_lines_known_on_the_day(shop: ToldShop, findings: Findings) -> None:
    [(lines, returned, value)] = shop.ask(
        """select count(*), count(*) filter (return_quantity > 0 and return_date::date <= '2025-12-31'), sum(line_value)
           from bronze.order_lines where order_date::date <= '2025-12-31'"""
    )
    months = findings.category_months
    assert sum(each.lines for each in months) == lines
    assert sum(each.returned_lines for each in months) == returned
    assert sum(each.order_value or 0 for each in months) == pytest.approx(value)
    assert {each.category for each in months} == {"Shoes", "Dresses", "Hats & caps", None}
    assert all(each.month.day == 1 for each in months)


def test_categories_beyond_the_largest_are_told_as_one(tmp_path: Path) -> None:
    names = [f"category {number:02}" for number in range(30)]
    months = read(told_shop(tmp_path, categories=names, fits=1, extras=False)).category_months
    assert len({each.category for each in months if each.category}) == 24
    others = [each for each in months if each.others]
    unknown = [each for each in months if each.category is None and not each.others]
    assert others
    assert unknown
    assert months[-1] in unknown
    assert sum(each.lines for each in months) == 120 * 6


def test_what_is_not_known_of_a_shop_without_values_is_none(tmp_path: Path) -> None:
    findings = read(told_shop(tmp_path, money=False))
    assert not findings.has_money
    for name in ("order_value", "returned_value", "retained_value", "returned_value_share"):
        assert findings.key_figure(name).value is None
    assert {each.returned_value for each in findings.segments} == {None}
    assert {*findings.customers.returned_value} == {None}
    assert {each.order_value for each in findings.category_months} == {None}
    assert findings.headline is not None, "who returns most is known without values"


def test_the_rows_are_accounted_for_and_what_was_filled_is_named(findings: Findings) -> None:
    quality = findings.quality
    assert (
        quality.rows_read == quality.rows_kept + quality.rows_rejected + quality.rows_superseded + quality.rows_merged
    )
    assert quality.rejected == {"NO_CUSTOMER": 5, "NO_SKU": 3}
    assert quality.files[0].source_file == "broken.csv", "what was not loaded comes first"
    assert quality.file_count == len(quality.files) == 3
    assert (quality.customers_kept, quality.customers_dropped, quality.dropped) == (120, 1, {"order_count": 1})
    assert [(each.feature, each.values_filled, each.share) for each in quality.imputed] == [
        ("return_intensity", 60, 0.5),
        ("pace_stability", 30, 0.25),
    ]


def test_the_fit_is_the_newest_and_says_how_it_was_made(findings: Findings) -> None:
    fit = findings.fit
    assert fit.model_run_id == f"{2:016x}"
    assert fit.parameters["n_clusters"] == 4
    assert fit.versions["segmentation"] == "2"
    assert fit.outlier_share == pytest.approx(fit.outliers / 120)
    assert [*fit.feature_drift] == ["return_rate", "order_count"]
    assert [choice["k"] for choice in fit.choices_of_k] == [2, 3, 4, 5]
    assert not fit.ids_are_pseudonyms


def test_past_months_and_days_are_told_where_they_were_looked_at(findings: Findings) -> None:
    assert sum(each.customers for each in findings.history) == 2 * 120
    assert {each.as_of for each in findings.history} == {date(2025, 10, 31), date(2025, 11, 30)}
    assert len(findings.out_of_time) == 12
    assert findings.out_of_time[0].method == "segments"
