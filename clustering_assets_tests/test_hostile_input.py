"""What is in files and in their names is data: it is never a formula, a query, a mark, a path or a program.

Files that ask for too much are in sources/test_bounds.py, damaged ones in sources/test_fuzz.py.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # comes with rich
from openpyxl.utils.escape import unescape

from clustering_assets.assets.bronze import bronze as bronze_asset
from clustering_assets.checks import every_file_usable
from clustering_assets.contracts import CUSTOMER_FEATURES, SCALED_FEATURES, TableContract
from clustering_assets.metadata import verbatim
from clustering_assets.reports.workbook import write_workbook
from clustering_assets.resources import Engine, Home, QualityLimits, SourceFolder
from clustering_assets.segmentation.model_file import UnusableModel, model_path
from clustering_assets.sources.files import in_short
from clustering_assets_tests.sources.bronze import Bronze, csv_text, opened, order_lines
from clustering_assets_tests.sources.mutations import MARK

CHECKOUT = Path(__file__).parent.parent

# ------------------------------------------------------------------------------------------------------------ formulas

FORMULAS = [
    *(
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1,1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        " =1+1",
        "\u00a0=1+1",
        "\u200b=1+1",
        "\ufeff=1",
    ),
    *(
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20SUM(1)",
        "\ufe661+1",
        "\u22121+1",
        "{=1+1}",
        "'=1+1",
        '"=1+1"',
        "=cmd|' /C calc'!A0",
        "%0A=1+1",
    ),
    *('=HYPERLINK("http://x.example?"&A1)', "=WEBSERVICE(A1)", "=DDE(1)", "https://x.example", "mailto:a@x.example"),
    *("internal:Sheet1!A1", "external:c:/x.xlsx", "</t></is></c><c><f>1+1</f></c>", "_x003D_1+1", "&#61;1+1", "]]>"),
]


def full_of_formulas(contract: TableContract) -> pa.Table:
    columns = {}
    for place, column in enumerate(contract.columns):
        texts = FORMULAS[place % len(FORMULAS) :] + FORMULAS[: place % len(FORMULAS)]
        types = {"int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}
        columns[column.name] = pa.array(texts) if column.type == "string" else pa.nulls(len(texts), types[column.type])
    return pa.table(columns)


@pytest.mark.parametrize("contract", [CUSTOMER_FEATURES, SCALED_FEATURES], ids=lambda contract: contract.name)
def test_no_text_becomes_a_formula_or_a_link_in_any_cell_of_a_workbook(tmp_path: Path, contract: TableContract) -> None:
    table = full_of_formulas(contract)
    path = write_workbook(tmp_path / "x.xlsx", contract, table).path
    book = openpyxl.load_workbook(path)
    assert {cell.data_type for sheet in book for row in sheet for cell in row} <= {"s", "n"}
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            assert not re.search(rb"<f[ >/]|<hyperlink|<ddeLink|<externalLink", package.read(name)), name
    rows = book.worksheets[0].iter_rows(2, values_only=True)
    texts = [column.name for column in contract.columns if column.type == "string"]
    found = [dict(zip(contract.column_names, row, strict=True)) for row in rows]
    assert [[unescape(row[name]) for name in texts] for row in found] == [
        [re.sub(r"[\x00-\x08]", "", row[name]) for name in texts] for row in table.to_pylist()
    ]


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")
def test_libreoffice_computes_nothing_of_what_looks_like_a_formula(tmp_path: Path) -> None:
    source = write_workbook(tmp_path / "x.xlsx", CUSTOMER_FEATURES, full_of_formulas(CUSTOMER_FEATURES)).path
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    command = ["soffice", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(tmp_path / "out"), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    sheet = openpyxl.load_workbook(tmp_path / "out" / "x.xlsx").worksheets[0]
    place = CUSTOMER_FEATURES.column_names.index("customer_id")
    cells = [row[place] for row in sheet.iter_rows(2)]
    assert {cell.data_type for row in sheet for cell in row} <= {"s", "n"}
    texts = full_of_formulas(CUSTOMER_FEATURES)["customer_id"].to_pylist()
    for cell, text in zip(cells, texts, strict=True):  # it writes what looks like an escape without escaping it
        assert str(cell.value).strip() == text.strip() or unescape(str(cell.value)) == unescape(text)


# ----------------------------------------------------------------------------------------------------------------- SQL

DROP = "x'; drop table bronze.canary; --"
QUERIES = [DROP, 'x"; drop table bronze.canary; --', "$1", "$source", "{0}", "%s", "x\\'; --", "') union select 1 --"]


@pytest.fixture
def bronze(tmp_path: Path) -> Any:
    with opened(tmp_path / "source", tmp_path / "home") as made:
        made.backend.con.execute("create table bronze.canary as select 42 as alive")
        yield made
        assert made.rows("from bronze.canary") == [(42,)]
        made.assert_sound()


def test_queries_in_ids_and_file_names_are_text(bronze: Bronze) -> None:
    names = {f"{query}.csv": order_lines({"order_id": query, "customer_id": query, "sku": query}) for query in QUERIES}
    bronze.load(names)
    assert sorted(bronze.lines("source_file, order_id, customer_id, sku")) == sorted(
        (f"{query}.csv", query, query, query) for query in QUERIES
    )


def test_queries_in_headers_sheet_names_and_the_mapping_are_text(bronze: Bronze) -> None:
    columns = {"order_id": DROP, "customer_id": 'c"); drop table bronze.canary; --', "sku": "$path", "category": "{}"}
    mapping = yaml.safe_dump({"columns": columns, "date_format": "%Y'; drop table bronze.canary; --"})
    bronze.write({"source.yaml": mapping, "a.csv": csv_text([*columns.values()], [["1", "a", "X", "shoes"]])})
    book = openpyxl.Workbook()
    book.active.title = "'; drop bronze.canary"
    book.active.append([*columns.values(), '"; drop table bronze.canary; --'])
    book.active.append(["2", "a", "X", "hats", "x"])
    book.save(bronze.folder / "b.xlsx")
    table = pa.table({name: ["3"] for name in (*columns.values(), 'd"; drop table bronze.canary; --')})
    pq.write_table(table, bronze.folder / "c.parquet")
    bronze.load()
    assert bronze.lines("source_file, order_id, category") == [
        ("a.csv", "1", "shoes"),
        ("b.xlsx#'; drop bronze.canary", "2", "hats"),
        ("c.parquet", "3", "3"),
    ]


# ------------------------------------------------------------------------------------------------------------ Markdown

MARKS = [
    *("<img src=x onerror=alert(1)>", "<script>alert(1)<x>", "[x](javascript:alert(1))", "![x](http:x)", "**a** _b_"),
    *(
        "`a` ``b``",
        "a\n\n# b\n\n<img src=x>",
        "www.x.example",
        "http://x.example",
        "a@x.example",
        "| a | b |",
        "&lt;b&gt;",
    ),
    *("- a", "1) a", "\u202egnp.exe", "~~a~~", "\\`x", "`", "a`", "> x", "    x", "<!-- x", "[^1]"),
]
PLAIN = ["orders_2024.csv is empty: export it again or delete it", "größe 3 (neu).xlsx", "a, b; c: 12.5 %"]


def seen(text: str) -> list[tuple[str, str]]:
    """What Markdown makes of a line of text: kinds of inline content, and their text."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(f"- {text}: end")
    kinds = [token.type for token in tokens if token.type != "inline"]
    assert kinds == [
        *("bullet_list_open", "list_item_open", "paragraph_open"),
        *("paragraph_close", "list_item_close", "bullet_list_close"),
    ]
    return [(child.type, child.content) for token in tokens for child in token.children or []]


@given(text=st.one_of(st.sampled_from(MARKS), st.text(min_size=1), st.text(alphabet="`<a>*[]() \\\n|_-#", min_size=1)))
@settings(max_examples=300, deadline=None)
def test_markdown_shows_any_text_and_does_nothing_with_it(text: str) -> None:
    content = seen(verbatim(text))
    assert {kind for kind, _ in content} <= {"text", "code_inline"}
    shown = "".join(part for _, part in content).removesuffix(": end")
    assert len(shown.strip()) == len(text.strip()) or re.search(r"[^\x20-\x7e]|  ", text)


@pytest.mark.parametrize("text", MARKS)
def test_what_markdown_or_a_browser_could_read_is_shown_as_code(text: str) -> None:
    assert seen(verbatim(text))[0][0] == "code_inline"


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_stays_plain(text: str) -> None:
    assert verbatim(text) == text


def load_as_asset(folder: Path, home: Path) -> tuple[dg.ExecuteInProcessResult, str]:
    """Load a folder as Dagster does; return the result, and all that its events say."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [bronze_asset, every_file_usable],
            instance=instance,
            resources={
                "home": Home(path=str(home)),
                "source": SourceFolder(path=str(folder)),
                "engine": Engine(),
                "quality_limits": QualityLimits(),
            },
            raise_on_error=False,
        )
        return result, "\n".join(str(record) for record in instance.all_logs(result.run_id))


def test_a_file_whose_name_is_markdown_or_html_does_nothing_in_the_ui(tmp_path: Path) -> None:
    names = [f"{text.replace('/', '|')}.csv" for text in MARKS]
    with opened(tmp_path / "source", tmp_path / "home") as bronze:
        bronze.write({"good.csv": order_lines({}), **dict.fromkeys(names, "no data")})
    result, _ = load_as_asset(tmp_path / "source", tmp_path / "home")
    assert result.success
    [listed] = [
        materialization.metadata["files_not_loaded"].value
        for materialization in result.asset_materializations_for_node("bronze")
        if "files_not_loaded" in materialization.metadata
    ]
    [check] = result.get_asset_check_evaluations()
    for markdown in (str(listed), str(check.description)):
        tokens = MarkdownIt("commonmark", {"html": True}).parse(markdown)
        kinds = {child.type for token in tokens for child in token.children or []}
        assert kinds <= {"text", "code_inline", "softbreak"}
        assert "html_block" not in {token.type for token in tokens}
        assert markdown.count("\n") + 1 == len(names)


# ------------------------------------------------------------------------------------------------------- personal data

LIBRARY_ERRORS: list[Callable[[Path], object]] = [
    lambda _: duckdb.sql(f"select cast('ann.{MARK}@x.org' as int)").fetchall(),
    lambda _: duckdb.sql(f"select strptime('O''{MARK}, \"x', '%Y')").fetchall(),
    lambda path: duckdb.sql(f"from read_csv('{path}', header = true, columns = {{'a': 'INT', 'b': 'INT'}})").fetchall(),
    lambda path: duckdb.sql(f"from read_json('{path}')").fetchall(),
    lambda path: duckdb.sql(f"from read_parquet('{path}')").fetchall(),
    lambda _: pa.array([f"ann {MARK}"]).cast(pa.int64()),
    lambda _: pa.array([{MARK: 1}, MARK]),
    lambda _: float(f"it's {MARK}"),
    lambda _: {}[MARK],  # type: ignore[var-annotated]
    lambda _: f"{MARK}é".encode().decode("ascii"),
    lambda _: yaml.safe_load(f"{MARK}: `x"),
]


@pytest.mark.parametrize("fails", LIBRARY_ERRORS)
def test_what_a_library_says_of_a_fault_is_told_without_what_it_quotes(
    tmp_path: Path, fails: Callable[[Path], object]
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"a,b\n1,{MARK}\n{MARK},{MARK},{MARK}\n")
    with pytest.raises(Exception, match=r".") as why:
        fails(path)
    assert MARK not in in_short(why.value)
    assert len(in_short(why.value)) > 3


def broken_files() -> dict[str, str | bytes]:
    """A marked customer in every place of files that are broken in different ways."""
    header, row = ["order_id", "customer_id", "sku"], ["1", "a", "X"]
    files: dict[str, str | bytes] = {"source.yaml": "columns: {order_id: a, customer_id: b, sku: c}"}
    for place in range(3):
        name, value = header.copy(), row.copy()
        name[place] = value[place] = f"ann.{MARK}@example.com"
        whole, odd = csv_text(header, [value] * 3), csv_text(name, [value] * 3)
        online = csv_text(
            ["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"],
            [["C1", f"GIFT {MARK}", "-1", MARK, MARK, MARK], ["C2", MARK, "-1", "2024-01-01", "1", MARK]],
        )
        files |= {
            f"no_header{place}.csv": csv_text(value, [value] * 3),
            f"odd_header{place}.csv": odd,
            f"no_gzip{place}.csv.gz": whole,
            f"no_book{place}.xlsx": b"PK\x03\x04" + whole.encode(),
            f"no_parquet{place}.parquet": b"PAR1" + whole.encode() + b"PAR1",
            f"open_quote{place}.csv": whole.replace("ann", '"ann'),
            f"online{place}.csv": online + f"C{place},,,,,\n",
        }
        if place == 2:  # what stands where the SKU should is taken for one, and SKUs are shown
            break
        files |= {
            f"late_quote{place}.csv": whole.replace(MARK, f'{MARK}"'),
            f"ragged{place}.csv": whole.replace("\n", f",{MARK}\n").replace(MARK, "", 1),
            f"short{place}.csv": f"{whole}{MARK}\n",
            f"encoded{place}.csv": whole.encode() + f"1,{MARK},\xff\n".encode("latin-1"),
        }
    return files


def test_no_reason_log_or_metadata_shows_what_is_in_a_broken_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path / "source", tmp_path / "home") as bronze:
        bronze.write({**broken_files(), "good.csv": order_lines({"order_id": "good"})})
    result, said = load_as_asset(tmp_path / "source", tmp_path / "home")
    assert result.success
    printed = capfd.readouterr()
    with opened(tmp_path / "source", tmp_path / "home") as bronze:
        statuses = {status for _, status in bronze.statuses()}
        reasons = bronze.rows("select reason from bronze.source_files union select reason from bronze.rejected_rows")
        kept = bronze.rows(f"select count(*) from bronze.rejected_rows where contains(raw_text, '{MARK}')")
    assert statuses >= {"loaded", "unusable"}
    assert kept[0][0] > 5, "the rows themselves are kept, in bronze"
    assert MARK not in str(reasons) + said + printed.out + printed.err


def test_a_load_that_fails_shows_nothing_of_the_files_either(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path / "source", tmp_path / "home") as bronze:
        bronze.write({"a.csv": f"{MARK},b\n1,{MARK}\n", "b.parquet": f"PAR1{MARK}PAR1"})
    result, said = load_as_asset(tmp_path / "source", tmp_path / "home")
    assert not result.success
    assert "a.csv has no known layout" in said
    assert MARK not in said + "".join(capfd.readouterr())


# ------------------------------------------------------------------------------------------------- programs and paths


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "..", "", "a\0", "x.skops", "a\n"])
def test_the_name_of_a_model_leads_to_no_place_but_the_folder_of_models(tmp_path: Path, name: str) -> None:
    assert model_path(tmp_path, "abc123").parent == tmp_path / "models"
    with pytest.raises(UnusableModel, match="There is no model"):
        model_path(tmp_path, name)


RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "code", "pty"}
MAY_RUN_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "read_pickle",
    "to_pickle",
    "unsafe_load",
    "full_load",
    "system",
}


@pytest.mark.parametrize("path", sorted((CHECKOUT / "clustering_assets").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_loaded_that_could_run(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not RUNS_CODE & {name.split(".")[0] for name in names}
            assert path.stem == "model_file" or not any(name.startswith("skops") for name in names)
        if isinstance(node, ast.Call):
            is_method = isinstance(node.func, ast.Attribute)
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = getattr(getattr(node.func, "value", None), "id", "")
            assert called not in MAY_RUN_CODE or (is_method and called == "compile"), f"line {node.lineno}"
            assert (owner, called) not in {("yaml", "load"), ("np", "load"), ("numpy", "load")}, f"line {node.lineno}"
            assert not any(
                keyword.arg in ("shell", "allow_pickle") and getattr(keyword.value, "value", True)
                for keyword in node.keywords
            ), f"line {node.lineno}"
