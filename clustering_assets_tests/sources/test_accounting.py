"""Every row of every file is accounted for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustering_assets.sources.accounting import (
    cancellation_outcomes,
    file_accounts,
    files_to_look_at,
    rejections_by_code,
    totals,
)
from clustering_assets.sources.online_retail import COLUMNS as ONLINE_RETAIL
from clustering_assets.sources.returns_export import COLUMNS as RETURNS_EXPORT
from clustering_assets.synthetic import DIRT, FORMATS, LAYOUTS, SyntheticOrders, generate, write
from clustering_assets_tests.sources.bronze import NOW, Bronze, csv_text, order_lines


@pytest.fixture(scope="module")
def shop() -> SyntheticOrders:
    return generate(60, 700, seed=5)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_made_up_shop_comes_to_the_account_that_its_maker_gives(
    shop: SyntheticOrders, bronze: Bronze, layout: str, file_format: str
) -> None:
    written = write(shop, bronze.folder, layout, file_format, dirty_share=0.2, rows_per_sheet=500)
    bronze.load()
    bronze.assert_sound()
    assert bronze.totals() == written.accounting
    found = rejections_by_code(bronze.backend)
    assert sum(found.values()) == written.accounting["rejected"]
    for code, kinds in {
        "rejected_no_customer": ["no_customer"],
        "rejected_no_order": ["no_order"],
        "rejected_no_sku": ["no_sku"],
        "rejected_unparsable": ["too_few_fields", "too_many_fields"],
        "rejected_not_a_product": ["not_a_product"],
        "rejected_unmatched_cancellation": ["unmatched_cancellation"],
    }.items():
        assert found.get(code, 0) == sum(written.dirt.get(kind, 0) for kind in kinds)
    flagged = bronze.rows("select count(*) from bronze.order_lines where quality_flags <> ''")[0][0]
    assert flagged == sum(number for kind, number in written.dirt.items() if DIRT[kind].outcome == "kept")


ODD = st.sampled_from(["", " ", "\t", "abc", "-1", "0", "1", "3", "2.5", "1e400", "nan", "31/31/2024", "2024-01-05"])
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(',;"\n\r|'),
    max_size=5,
)
VALUE = ODD | TEXT
KEYS = st.sampled_from(["", "A", "B", "C1", "POST", "ann@x.de", " ANN@X.DE"])


def rows(columns: int) -> st.SearchStrategy[list[list[str]]]:
    """Rows with three values that repeat often, in the first three columns, and anything in the others."""
    row = st.tuples(st.lists(KEYS, min_size=3, max_size=3), st.lists(VALUE, min_size=columns - 3, max_size=columns - 3))
    return st.lists(row.map(lambda parts: parts[0] + parts[1]), min_size=1, max_size=10)


def header(columns: dict[str, tuple[str, ...]]) -> list[str]:
    keys = ("order_id", "customer_id", "sku")
    return [columns[name][0] for name in (*keys, *(name for name in columns if name not in keys))]


CANONICAL = ["order_id", "customer_id", "sku", "order_date", "quantity", "line_value", "return_quantity", "return_date"]


def records(header: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return out.getvalue()


@given(rows(len(CANONICAL)), rows(len(RETURNS_EXPORT)), rows(len(ONLINE_RETAIL)), rows(len(ONLINE_RETAIL)))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_rows_are_none_disappears(
    bronze: Bronze, lines: list[list[str]], export: list[list[str]], retail: list[list[str]], more: list[list[str]]
) -> None:
    bronze.load(
        {
            "0.csv": order_lines({}),
            "lines.csv": records(CANONICAL, lines),
            "export.csv": records(header(RETURNS_EXPORT), export),
            "retail_1.csv": records(header(ONLINE_RETAIL), retail),
            "retail_2.csv": records(header(ONLINE_RETAIL), more),
        }
    )
    bronze.assert_sound()
    read = dict(bronze.rows("select source_file, rows_read from bronze.source_files where status = 'loaded'"))
    written = {"lines.csv": lines, "export.csv": export, "retail_1.csv": retail, "retail_2.csv": more}
    if retail == more:
        del written["retail_2.csv"]
    assert read == {"0.csv": 1} | {name: len(content) for name, content in written.items()}


def test_figures_and_sentences_name_what_became_of_files_and_rows(bronze: Bronze) -> None:
    retail = csv_text(
        ["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"],
        [
            ["1", "A", "5", "2024-01-01", "2", "7"],
            ["C2", "A", "-2", "2024-01-02", "2", "7"],
            ["C3", "A", "-4", "2024-01-03", "2", "7"],
            ["C4", "A", "-4", "2024-01-04", "2", "7"],
            ["5", "POST", "1", "2024-01-04", "2", "7"],
        ],
    )
    bronze.load({"a.csv": retail, "b.csv": retail, "c.csv": "x,y\n1,2\n", "d.txt": "no data"})
    assert totals(bronze.backend) == {
        "rows_read": 5,
        "rows_kept": 1,
        "rows_rejected": 2,
        "rows_superseded": 0,
        "rows_merged": 2,
        "files_loaded": 1,
        "files_duplicate": 1,
        "files_unusable": 1,
        "files_ignored": 1,
    }
    assert rejections_by_code(bronze.backend) == {"rejected_not_a_product": 1, "rejected_unmatched_cancellation": 1}
    assert cancellation_outcomes(bronze.backend) == {
        "cancellations_matched": 1,
        "cancellations_partly_matched": 1,
        "cancellations_unmatched": 1,
    }
    sentences = files_to_look_at(bronze.backend)
    assert len(sentences) == 2
    assert sentences[0].startswith("b.csv has the same content as a.csv")
    assert sentences[1].startswith("c.csv has no known layout")
    assert [account["source_file"] for account in file_accounts(bronze.backend)] == ["b.csv", "c.csv", "d.txt", "a.csv"]
    loaded_at = bronze.rows("select distinct loaded_at from bronze.source_files")
    assert loaded_at == [(NOW,)]
    assert bronze.line("return_quantity, return_date::date::varchar") == (5, "2024-01-03")


def test_a_line_of_a_later_file_counts_and_the_earlier_one_waits(bronze: Bronze) -> None:
    bronze.load({"a.csv": order_lines({"quantity": "1"}), "b.csv": order_lines({"quantity": "2"})})
    assert bronze.lines("quantity, source_file") == [(2, "b.csv")]
    assert bronze.totals() == {"kept": 1, "rejected": 0, "superseded": 1, "merged": 0}
    Path(bronze.folder, "b.csv").unlink()
    bronze.load()
    assert bronze.lines("quantity, source_file") == [(1, "a.csv")]
    bronze.assert_sound()
