"""The written files: whole, repeatable, readable by other programs, and as dirty as they say."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pytest
import yaml

from clustering_assets.synthetic import DIRT, FORMATS, LAYOUTS, SyntheticOrders, Written, generate, write
from clustering_assets.synthetic.dirt import kinds_for

NAMES = {
    "order_lines": ["order_id", "customer_id", "sku", "quantity", "line_value", "return_quantity", "order_date"],
    "returns_export": [
        *("SALES_ORDER_NO", "CUSTOMER_EMAILID", "Q_SKU_ID", "SALES_QTY", "GROSS", "RETURN_QTY", "ORDER_DATE")
    ],
    "mapped": ["Bestellnummer", "Kunde", "Artikelnummer", "Menge", "Betrag", "Retourmenge", "Bestelldatum"],
}
"""The columns that say the same in the layouts with returns beside the sale, in the same order."""
RETURNS_EXPORT = [
    *("SALES_ORDER_NO", "CUSTOMER_EMAILID", "ORDER_DATE", "SKU", "SALES_QTY", "GROSS", "RETURN_QTY"),
    *("UNITS_RETURNED_FLAG", "RETURN_DATE", "RETURN_NO", "RETURN_COMMENT", "ORDERLINK", "Q_CLS_ID", "Q_SKU_DESC"),
    *("Q_GMM_ID", "Q_SKU_ID", "CLASS_", "DIVISION_", "BRAND_", "Q_CLR_DNUM", "Q_CLR_DESC", "VENDOR_STYLE", "SIZE_"),
]
ONLINE_RETAIL = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]


@pytest.fixture(scope="module")
def shop() -> SyntheticOrders:
    return generate(80, 3000, seed=2)


@pytest.fixture(scope="module")
def lines(shop: SyntheticOrders) -> pd.DataFrame:
    return shop.lines.to_pandas()


def read(written: Written, layout: str) -> pd.DataFrame:
    """All rows of the files as text, with programs that know nothing of the writer."""
    return pd.concat([_read_one(path, layout) for path in written.files], ignore_index=True)


def _read_one(path: Path, layout: str) -> pd.DataFrame:
    if path.name.endswith(".xlsx"):
        sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False)
        return pd.concat(sheets.values(), ignore_index=True)
    if path.suffix == ".parquet":
        return duckdb.sql(f"select columns(*)::varchar from '{path}'").df()
    return duckdb.read_csv(str(path), all_varchar=True, delimiter=LAYOUTS[layout].delimiter).df()


def numbers(values: pd.Series[str]) -> pd.Series[float]:
    return pd.to_numeric(values.str.replace(",", "."))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("layout", NAMES)
def test_reads_back_with_equal_totals(
    shop: SyntheticOrders, lines: pd.DataFrame, tmp_path: Path, layout: str, file_format: str
) -> None:
    written = write(shop, tmp_path, layout, file_format)
    back = read(written, layout)[NAMES[layout]].set_axis(NAMES["order_lines"], axis=1)

    assert written.rows == len(back) == len(lines)
    assert written.dirt == {}
    assert written.accounting == {"kept": len(lines), "rejected": 0, "superseded": 0, "merged": 0}
    for column in ("order_id", "customer_id", "sku"):
        assert back[column].tolist() == lines[column].tolist()
    for column in ("quantity", "line_value", "return_quantity"):
        assert numbers(back[column]).sum() == pytest.approx(lines[column].sum(), abs=0.001)
    days = pd.to_datetime(back["order_date"], dayfirst=layout == "mapped" and file_format.startswith("csv"))
    assert (days.dt.normalize() == lines["order_date"].dt.normalize()).all()


@pytest.mark.parametrize("file_format", FORMATS)
def test_online_retail_writes_returns_as_cancellations(
    shop: SyntheticOrders, lines: pd.DataFrame, tmp_path: Path, file_format: str
) -> None:
    written = write(shop, tmp_path, "online_retail", file_format)
    back = read(written, "online_retail")
    cancelled = back["Invoice"].str.startswith("C")
    quantity, value = numbers(back["Quantity"]), numbers(back["Quantity"]) * numbers(back["Price"])

    assert list(back.columns) == ONLINE_RETAIL
    assert (cancelled == (quantity < 0)).all()
    assert quantity[~cancelled].sum() == lines["quantity"].sum()
    assert -quantity[cancelled].sum() == lines["return_quantity"].sum()
    assert value[~cancelled].sum() == pytest.approx(lines["line_value"].sum(), abs=0.01)
    assert written.accounting["merged"] == cancelled.sum() == (lines["return_quantity"] > 0).sum()


def test_returns_export_has_all_columns_and_a_number_for_each_return(shop: SyntheticOrders, tmp_path: Path) -> None:
    back = read(write(shop, tmp_path, "returns_export", "csv"), "returns_export")
    returned = back["UNITS_RETURNED_FLAG"] == "Y"
    assert list(back.columns) == RETURNS_EXPORT
    assert (back["RETURN_NO"].notna() == returned).all()
    assert back["RETURN_NO"].dropna().is_unique
    assert (back["SKU"] != back["Q_SKU_ID"]).all()
    assert (back.groupby("Q_SKU_ID")[["Q_SKU_DESC", "Q_CLR_DESC", "SIZE_", "VENDOR_STYLE"]].nunique() == 1).all(
        axis=None
    )


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, layout: str, file_format: str) -> None:
    first, second = (
        write(generate(30, 500, seed=4), tmp_path / name, layout, file_format, dirty_share=0.2) for name in "ab"
    )
    assert [path.name for path in first.files] == [path.name for path in second.files]
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_by_year_hold_the_same_rows_apart(shop: SyntheticOrders, tmp_path: Path, layout: str) -> None:
    whole = write(shop, tmp_path / "whole", layout, "csv")
    apart = write(shop, tmp_path / "apart", layout, "csv", files_by_year=True)
    assert [path.name for path in apart.files] == [f"{layout}_{year}.csv" for year in (2023, 2024, 2025)]
    rows = [row for path in apart.files for row in path.read_text().splitlines()[1:]]
    assert sorted(rows) == sorted(whole.files[0].read_text().splitlines()[1:])
    for path, year in zip(apart.files, (2023, 2024, 2025), strict=True):
        dates = _read_one(path, layout)[LAYOUTS[layout].order_date]
        assert dates.str.contains(str(year)).all()


def test_a_workbook_goes_on_in_another_sheet(shop: SyntheticOrders, tmp_path: Path) -> None:
    written = write(shop, tmp_path, "returns_export", "xlsx", rows_per_sheet=1400)
    book = openpyxl.load_workbook(written.files[0], read_only=True)
    assert [sheet.max_row for sheet in book.worksheets] == [1401, 1401, 201]
    assert all([cell.value for cell in next(sheet.iter_rows(max_row=1))] == RETURNS_EXPORT for sheet in book.worksheets)


def test_the_mapped_layout_says_what_its_columns_are(
    shop: SyntheticOrders, lines: pd.DataFrame, tmp_path: Path
) -> None:
    written = write(shop, tmp_path, "mapped", "csv")
    mapping = yaml.safe_load((tmp_path / "source.yaml").read_text(encoding="utf-8"))
    back = read(written, "mapped").rename(columns={source: name for name, source in mapping["columns"].items()})

    assert set(mapping) == {"columns", "date_format", "decimal_mark", "repeats"}
    assert list(back.columns) == lines.columns.tolist()
    days = pd.to_datetime(back["order_date"], format=mapping["date_format"])
    assert (days == lines["order_date"].dt.normalize()).all()
    assert back["line_value"].str.contains(mapping["decimal_mark"], regex=False).all()


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dirt_is_counted_kind_by_kind(shop: SyntheticOrders, tmp_path: Path, layout: str, file_format: str) -> None:
    clean = write(shop, tmp_path / "clean", layout, file_format)
    dirty = write(shop, tmp_path / "dirty", layout, file_format, dirty_share=0.1)
    kinds = kinds_for(layout, file_format)
    added = {name: number for name, number in dirty.dirt.items() if DIRT[name].outcome != "clean"}

    assert list(dirty.dirt) == kinds
    assert {number for name, number in dirty.dirt.items() if name != "several_returns"} == {round(300 / len(kinds))}
    assert dirty.rows == clean.rows + sum(added.values())
    assert sum(dirty.accounting.values()) == dirty.rows
    for outcome, number in dirty.accounting.items():
        assert number - clean.accounting[outcome] == sum(
            count for name, count in added.items() if DIRT[name].outcome == outcome
        )


def test_dirty_rows_of_the_export_stand_in_the_file_as_told(
    shop: SyntheticOrders, lines: pd.DataFrame, tmp_path: Path
) -> None:
    written = write(shop, tmp_path, "returns_export", "csv.gz", dirty_share=0.1)
    text = gzip.decompress(written.files[0].read_bytes()).decode().splitlines()
    fields = pd.Series([len(row) for row in csv.reader(text)])
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(row for row, number in zip(text, fields, strict=True) if number == 23))
    rows = duckdb.read_csv(str(path), all_varchar=True).df()
    dirt = written.dirt

    assert (fields == 5).sum() == dirt["too_few_fields"]
    assert (fields == 25).sum() == dirt["too_many_fields"]
    assert rows["CUSTOMER_EMAILID"].isna().sum() == dirt["no_customer"]
    assert rows["SALES_ORDER_NO"].isna().sum() == dirt["no_order"]
    assert rows["Q_SKU_ID"].isna().sum() == dirt["no_sku"]
    assert (rows["SALES_QTY"] == "abc").sum() == dirt["quantity_not_a_number"]
    assert (rows["ORDER_DATE"] == "31/31/2024").sum() == dirt["impossible_date"]
    assert rows["CUSTOMER_EMAILID"].str.fullmatch(r" [A-Z.0-9]+@EXAMPLE\.[A-Z]+  ").sum() == dirt["shouted_customer"]

    quantity = pd.to_numeric(rows["SALES_QTY"], errors="coerce")
    assert (quantity <= 0).sum() == dirt["quantity_not_positive"]
    assert (pd.to_numeric(rows["RETURN_QTY"]) > quantity.where(quantity > 0)).sum() == dirt["returned_more_than_bought"]
    assert (rows["RETURN_DATE"] < rows["ORDER_DATE"].str[:10]).sum() == (
        dirt["returned_before_ordered"] + (rows["ORDER_DATE"].eq("31/31/2024") & rows["RETURN_DATE"].notna()).sum()
    )
    assert rows.duplicated().sum() == dirt["exact_repeat"]

    key, sale = ["SALES_ORDER_NO", "CUSTOMER_EMAILID", "Q_SKU_ID"], ["ORDER_DATE", "SALES_QTY", "GROSS"]
    known = rows.drop_duplicates().dropna(subset=key)
    last = known.drop_duplicates(key, keep="last")
    same_sale = known.groupby(key + sale)
    assert len(known) - len(same_sale) == dirt["several_returns"] > 0
    assert len(same_sale) - len(last) == dirt["superseded"]
    assert same_sale["RETURN_DATE"].nunique().gt(1).sum() == dirt["several_returns"]

    # What a careful reader keeps of it, the flagged rows aside, are the clean lines.
    returns = same_sale["RETURN_QTY"].agg(lambda parts: parts.astype(int).sum()).rename("returns").reset_index()
    kept = last.merge(returns, on=key + sale)
    kept = kept[kept["SALES_ORDER_NO"].str.len() == 8].sort_values(["SALES_ORDER_NO", "Q_SKU_ID"])
    clean = lines.sort_values(["order_id", "sku"])
    assert kept["SALES_ORDER_NO"].tolist() == clean["order_id"].tolist()
    assert kept["CUSTOMER_EMAILID"].str.strip().str.lower().tolist() == clean["customer_id"].tolist()
    assert kept["returns"].tolist() == clean["return_quantity"].tolist()
    assert kept["GROSS"].astype(float).tolist() == clean["line_value"].tolist()
    assert (
        pd.to_datetime(kept["RETURN_DATE"]).to_numpy(na_value=0).tolist()
        == clean["return_date"].to_numpy(na_value=0).tolist()
    )


def test_online_retail_dirt_has_fees_and_cancellations_without_a_sale(shop: SyntheticOrders, tmp_path: Path) -> None:
    written = write(shop, tmp_path, "online_retail", "xlsx", dirty_share=0.1)
    back = read(written, "online_retail")
    bought = back[~back["Invoice"].str.startswith("C")]
    cancelled = back[back["Invoice"].str.startswith("C")]
    assert (
        back["StockCode"].isin(["POST", "M", "D", "DOT", "BANK CHARGES", "C2"]).sum() == written.dirt["not_a_product"]
    )
    assert (~cancelled["StockCode"].isin(bought["StockCode"])).sum() == written.dirt["unmatched_cancellation"]
    assert (back["Customer ID"] == "").sum() == written.dirt["no_customer"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "sap"}, "unknown layout 'sap'"),
        ({"file_format": "ods"}, "unknown format 'ods'"),
        ({"dirty_share": 0.6}, "between 0 and 0.5"),
    ],
)
def test_what_cannot_be_written_is_refused(
    shop: SyntheticOrders, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(shop, tmp_path, **options)  # type: ignore[arg-type]
