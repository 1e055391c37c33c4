from __future__ import annotations

import ibis
import pytest

from clustering_assets.contracts import CUSTOMER_FEATURES, ORDER_LINES
from clustering_assets.features.customer_features import customer_features
from clustering_assets.lineage import column_lineage
from clustering_assets.silver import silver_lineage, silver_tables

SALES = ibis.table({"id": "int64", "shop": "string", "day": "date", "price": "float64", "units": "int64"}, name="sales")
SHOPS = ibis.table({"shop": "string", "town": "string", "discount": "float64"}, name="shops")
ORDER_LINES_TABLE = ibis.table({column.name: column.type for column in ORDER_LINES.columns}, name="order_lines")


def leaves(*columns: str) -> frozenset[tuple[str, str]]:
    return frozenset((table, column) for table, _, column in (name.partition(".") for name in columns))


def test_a_column_of_a_table_is_made_of_itself() -> None:
    assert column_lineage(SALES.select("shop", renamed=SALES.price)) == {
        "shop": leaves("sales.shop"),
        "renamed": leaves("sales.price"),
    }


def test_arguments_and_conditions_of_a_value_count() -> None:
    cheap = SALES.mutate(value=(SALES.units > 3).ifelse(SALES.price * 0.9, SALES.price), one=ibis.literal(1))
    lineage = column_lineage(cheap)
    assert lineage["value"] == leaves("sales.units", "sales.price")
    assert lineage["one"] == frozenset()


def test_filters_sorting_grouping_and_joins_do_not_count() -> None:
    joined = SALES.filter(SALES.units > 1).join(SHOPS, "shop")
    by_town = joined.group_by("town").aggregate(price=joined.price.max(), rows=joined.count()).order_by("price")
    assert column_lineage(by_town.limit(3).distinct()) == {
        "town": leaves("shops.town"),
        "price": leaves("sales.price"),
        "rows": frozenset(),
    }


def test_columns_of_both_sides_of_a_join_are_told_apart() -> None:
    lineage = column_lineage(SALES.left_join(SHOPS, "shop").mutate(reduced=lambda t: t.price * t.discount))
    assert lineage["shop"] == leaves("sales.shop")
    assert lineage["shop_right"] == leaves("shops.shop")
    assert lineage["reduced"] == leaves("sales.price", "shops.discount")


def test_a_self_join_leads_back_to_the_one_table() -> None:
    other = SALES.view()
    lineage = column_lineage(SALES.join(other, SALES.id == other.units).select(SALES.id, before=other.price))
    assert lineage == {"id": leaves("sales.id"), "before": leaves("sales.price")}


def test_order_and_partition_of_a_window_count() -> None:
    before = SALES.price.lag().over(group_by=SALES.shop, order_by=[SALES.day, SALES.id])
    assert column_lineage(SALES.select(before=before))["before"] == leaves(
        "sales.price", "sales.shop", "sales.day", "sales.id"
    )


def test_unions_and_scalar_subqueries_are_followed() -> None:
    towns = SHOPS.select(name=SHOPS.town).union(SALES.select(name=SALES.shop))
    assert column_lineage(towns)["name"] == leaves("shops.town", "sales.shop")
    share = SALES.select(share=SALES.price / SHOPS.discount.max().as_scalar())
    assert column_lineage(share)["share"] == leaves("sales.price", "shops.discount")


def test_a_trace_goes_on_where_the_lineage_of_a_table_is_known() -> None:
    dear = SALES.select("shop", value=SALES.price * SALES.units)
    kept = ibis.table(dear.schema(), name="dear")
    lineage = column_lineage(kept.select(most=kept.value, shop=kept.shop), {"dear": column_lineage(dear)})
    assert lineage == {"most": leaves("sales.price", "sales.units"), "shop": leaves("sales.shop")}


def test_silver_is_traced_table_by_table_to_what_its_whole_expressions_come_to() -> None:
    named = ORDER_LINES_TABLE.op().copy(name=ORDER_LINES.qualified_name).to_expr()
    whole: dict[str, ibis.Table] = {}

    def keep(rows: ibis.Table, name: str) -> ibis.Table:
        return whole.setdefault(name, rows)

    tables = silver_tables(named, None, keep)
    for contract, lineage in silver_lineage().items():
        rows = whole["unimputed_features"] if contract is CUSTOMER_FEATURES else tables[contract]
        assert lineage == column_lineage(rows)


def test_text_of_a_query_cannot_be_traced() -> None:
    with pytest.raises(NotImplementedError, match="cannot trace"):
        column_lineage(ibis.duckdb.connect().sql("select 1 as one"))


def test_every_silver_column_is_traced_to_bronze() -> None:
    lineage = column_lineage(customer_features(ORDER_LINES_TABLE))
    assert list(lineage) == [column.name for column in CUSTOMER_FEATURES.columns[:-1]]
    assert all(lineage.values())
    assert {table for columns in lineage.values() for table, _ in columns} == {"order_lines"}


@pytest.mark.parametrize(
    ("feature", "columns"),
    [
        ("customer_id", ["customer_id"]),
        ("sku_count", ["sku"]),
        ("return_quantity_ratio", ["return_quantity", "quantity"]),
        ("mean_days_to_return", ["return_date", "order_date", "return_quantity"]),
        ("mean_order_value", ["line_value", "order_id"]),
        ("high_value_return_affinity", ["line_value", "quantity", "return_quantity"]),
        ("first_order_date", ["order_date"]),
    ],
)
def test_silver_columns_are_made_of_what_their_definition_names(feature: str, columns: list[str]) -> None:
    expected = leaves(*(f"order_lines.{column}" for column in columns))
    assert column_lineage(customer_features(ORDER_LINES_TABLE))[feature] == expected


def test_the_segments_of_seasons_and_categories_are_part_of_the_lineage() -> None:
    lineage = column_lineage(customer_features(ORDER_LINES_TABLE))
    assert ("order_lines", "category") in lineage["category_concentration"]
    assert ("order_lines", "order_date") in lineage["seasonal_return_variation"]
    assert leaves("order_lines.category", "order_lines.order_date") <= lineage["category_order_trend"]
