"""The report says what the tables say, in every language, and nothing that a file brings along can act in it."""

from __future__ import annotations

import base64
import hashlib
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterInstance

from clustering_assets.assets.exports import segment_report
from clustering_assets.contracts import CLUSTERING_FEATURES
from clustering_assets.forgetting import accept_requests
from clustering_assets.forgotten import requests
from clustering_assets.pseudonyms import record_ids
from clustering_assets.reports import charts
from clustering_assets.reports import segment_report as report
from clustering_assets.reports.colours import segment_colour
from clustering_assets.reports.findings import Customers, Findings
from clustering_assets.reports.findings_tables import read_findings
from clustering_assets.reports.wording import Wording, languages, texts
from clustering_assets.resources import Home, Reporting, Retention
from clustering_assets.warehouse import forget_versions, table_version
from clustering_assets_tests.reports.told_shop import NOW, ToldShop, told_shop

PACKAGE = Path(report.__file__).parent
ENGLISH = Wording("en", "EUR")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "</script><b>",
    "a & b \u202eevil",
)


class Page(HTMLParser):
    """The figures of a page with their text, its tags, and the data that its script reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.figures: dict[str, list[tuple[float | None, str]]] = {}
        self.words: list[str] = []
        self._open: list[tuple[str, float | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attributes)
        if "data-figure" in named:
            value = named.get("value")
            self._open = [(str(named["data-figure"]), None if value is None else float(value))]

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open:
            name, value = self._open.pop()
            self.figures.setdefault(name, []).append((value, data))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ToldShop:
    return told_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def findings(shop: ToldShop) -> Findings:
    with shop.warehouse.connect() as backend:
        return read_findings(backend)


@pytest.fixture(scope="module")
def pages(findings: Findings) -> dict[str, str]:
    return {language: report.render(findings, Wording(language, "EUR"), NOW) for language in languages()}


# ------------------------------------------------------------------------------------------------------- the figures


def expected_figures(shop: ToldShop) -> dict[str, float]:
    """Every figure of the page by its name, from queries of their own."""
    [shop_row] = shop.ask(
        """select count(*), sum(order_count), sum(mean_order_value * order_count),
                  sum(mean_return_value * returned_line_count),
                  sum(returned_line_count) / sum(round(lines_per_order * order_count))
           from silver.customer_features"""
    )
    customers, orders, ordered, returned, rate = map(float, shop_row)
    [(saving,)] = shop.ask("select sum(possible_saving) from gold.segment_profiles")
    [(outliers,)] = shop.ask("select avg((segment_id = -1)::int) from gold.customer_segments")
    found = {
        "customers": customers,
        "orders": orders,
        "order_value": ordered,
        "lead_order_value": ordered,
        "returned_value": returned,
        "lead_returned_value": returned,
        "retained_value": ordered - returned,
        "return_rate": rate,
        "returned_value_share": returned / ordered,
        "possible_saving": saving,
        "lead_possible_saving": saving,
        "outlier_share": outliers,
        "fit_outlier_share": outliers,
    }
    recorded = dict(shop.ask("select figure, before from main.table_figures where name = 'gold.segment_profiles'"))
    was = {
        **recorded,
        "retained_value": recorded["order_value"] - recorded["returned_value"],
        "return_rate": recorded["returned_lines"] / recorded["lines"],
        "returned_value_share": recorded["returned_value"] / recorded["order_value"],
        "outlier_share": recorded["outliers"] / recorded["customers"],
    }
    names = (*(name for name in found if name in was), "return_rate")
    found |= {f"{name}_change": found[name] - was[name] for name in names}

    [best] = shop.ask(
        """select customers, share, returned_value_share from gold.segment_profiles
           order by returned_value_share - share desc limit 1"""
    )
    found |= dict(zip(("headline_customers", "headline_share", "headline_returned"), map(float, best), strict=True))

    profiles = shop.ask("select columns(*) from gold.segment_profiles")
    names_of = [name for (name,) in shop.ask("select column_name from (describe gold.segment_profiles)")]
    sums = shop.ask(
        """select segment_id, sum(mean_order_value * order_count), sum(mean_return_value * returned_line_count),
                  avg(order_return_rate), avg(mean_return_value * returned_line_count)
           from silver.customer_features join gold.customer_segments using (customer_id) group by 1"""
    )
    moved = shop.ask(
        """select segment_id, came - went from
             (select segment_id, (select count(*) from gold.segment_changes where to_segment_id = segment_id) as came,
                     (select count(*) from gold.segment_changes where from_segment_id = segment_id) as went
              from gold.segment_profiles)"""
    )
    for row in profiles:
        profile = dict(zip(names_of, row, strict=True))
        key = f"segment {profile['segment_id']} "
        for name in ("customers", "share", "value_share", "returned_value_share", "possible_saving", "silhouette"):
            found[key + name] = profile[name]
        found[key + "stability"] = profile["stability"]
        for difference in profile["distinguishing_features"].split("; "):
            feature = difference.rpartition(" ")[0]
            found[key + feature] = profile[f"{feature}_mean"]
            [(found[f"shop {feature}"],)] = shop.ask(f"select avg({feature}) from silver.customer_features")
    for segment_id, value, sent_back, often, each in sums:
        key = f"segment {segment_id} "
        found |= {key + "order_value": value, key + "returned_value": sent_back, key + "returned_value_each": each}
        found |= {key + "retained_value": value - sent_back, key + "order_return_rate": often}
    found |= {f"segment {segment_id} change": change for segment_id, change in moved}

    changes = dict(shop.ask("select change, count(*) from gold.segment_changes group by 1"))
    found |= {name: float(changes[name]) for name in ("moved", "joined", "left")}
    [(both,)] = shop.ask("select count(*) from gold.customer_segments")
    found["kept_share"] = 1 - changes["moved"] / (both - changes["joined"])
    ways = shop.ask(
        "select from_segment_id, to_segment_id, count(*) from gold.segment_changes group by 1, 2 union all "
        "select segment_id, segment_id, count(*) from gold.customer_segments where customer_id not in "
        "(select customer_id from gold.segment_changes) group by 1"
    )
    found |= {f"flow {source} {target}": count for source, target, count in ways}
    history = shop.ask("select as_of::date, segment_id, count(*) from gold.segment_history group by 1, 2")
    found |= {f"history {month} {segment_id}": count for month, segment_id, count in history}
    [(found["without_a_return"],)] = shop.ask(
        "select count(*) from silver.customer_features where returned_line_count = 0"
    )

    latest = "(select date_trunc('month', max(order_date)) from bronze.order_lines where order_date < '2026-01-01')"
    for what, months, known in (("rate", 0, "2026-01-01"), ("before", 12, "2025-01-01")):
        came_back = f"avg((return_quantity > 0 and return_date < '{known}')::int)"
        lines = f"""from bronze.order_lines where date_trunc('month', order_date) between
                    {latest} - interval {months + 11} months and {latest} - interval {months} months
                    and order_date < '2026-01-01'"""
        for name, count, share in shop.ask(
            f"""select coalesce(category, 'Without a category'), count(*), {came_back} {lines} group by 1
                union all select 'All categories', count(*), {came_back} {lines}"""
        ):
            found[f"category {what} {name}"] = share
            if not months:
                found[f"category lines {name}"] = count

    [fit] = shop.ask(
        """select silhouette, silhouette_full, stability, customers, segments, eps, calinski_harabasz, davies_bouldin,
                  largest_feature_drift, segment_size_drift from gold.segment_model order by fitted_at desc limit 1"""
    )
    keys = ("silhouette", "silhouette_full", "stability", "fit_customers", "fit_segments", "eps")
    more = ("calinski_harabasz", "davies_bouldin", "largest_feature_drift", "segment_size_drift")
    found |= dict(zip((*keys, *more), map(float, fit), strict=True))
    validation = shop.ask("select method, target, scale, epsilon_squared from gold.out_of_time_validation")
    found |= {f"validation {method} {target} {scale}": figure for method, target, scale, figure in validation}

    [rows] = shop.ask(
        """select sum(rows_read), sum(rows_kept), sum(rows_rejected), sum(rows_superseded), sum(rows_merged), count(*)
           from bronze.source_files"""
    )
    for name, count in zip(("read", "kept", "rejected", "superseded", "merged"), rows, strict=False):
        found[f"table rows_{name}"] = float(count)
    found |= {"rows_read": float(rows[0]), "rows_kept": float(rows[1]), "files": float(rows[5])}
    rejected = shop.ask("select split_part(reason, ':', 1), count(*) from bronze.rejected_rows group by 1")
    found |= {f"rejected {code}": count for code, count in rejected}
    [(found["customers_dropped"],)] = shop.ask("select count(*) from silver.dropped_customers")
    found["customers_kept"] = customers
    filled = shop.ask("select feature, values_filled from silver.imputation_log where values_filled > 0")
    found |= {f"imputed {feature}": count for feature, count in filled}
    return found


@pytest.mark.parametrize("language", languages())
def test_every_figure_is_that_of_the_tables(shop: ToldShop, pages: Mapping[str, str], language: str) -> None:
    figures = Page(pages[language]).figures
    expected = expected_figures(shop)
    if language != "en":
        words = texts(language)["categories"]
        for theirs, ours in (("All categories", "all"), ("Without a category", "unknown")):
            for what in ("lines", "rate", "before"):
                expected[f"category {what} {words[ours]}"] = expected[f"category {what} {theirs}"]
    assert len(figures) > 150
    for name, shown in figures.items():
        for value, _ in shown:
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


def read_number(said: str) -> tuple[float, float]:
    """The number that an English text shows, and half of its last digit."""
    text = said.replace("\u2212", "-")
    found = re.search(r"-?[\d,]*\.?\d+", text)
    assert found, said
    digits = found[0].replace(",", "")
    scale = {"M": 1e6, "K": 1e3, "%": 0.01}.get(text[found.end() :][:1], 0.01 if "point" in text else 1)
    return float(digits) * scale, 0.5 * scale * 10 ** -len(digits.partition(".")[2])


def test_what_people_read_is_the_figure_rounded(pages: Mapping[str, str]) -> None:
    read = 0
    for name, shown in Page(pages["en"]).figures.items():
        for value, said in shown:
            if value is None or said.startswith("<") or said == texts("en")["key_figures"]["unchanged"]:
                continue
            number, half = read_number(said)
            assert number == pytest.approx(value, abs=half * 1.001), (name, said)
            read += 1
    assert read > 150


def test_a_figure_that_nobody_knows_is_a_dash_and_not_a_zero(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, money=False, fits=1, extras=False, customers=60)
    with shop.warehouse.connect() as backend:
        findings = read_findings(backend)
    page = Page(report.render(findings, ENGLISH, NOW))
    assert not {name for name in page.figures if name.endswith(("order_value", "returned_value", "_change"))}
    assert {said for value, said in page.figures["segment 0 silhouette"]} != {"0.00"}
    words = " ".join(page.words)
    for text in ("segments.no_money", "money.no_money", "key_figures.first", "movement.first"):
        assert str(ENGLISH.text(text)).split(";")[0] in words
    assert "of their order lines" in words


# ---------------------------------------------------------------------------------------------------------- the texts


def flat(branch: Mapping[str, Any], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in branch.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": str(value)}
    return found


def said_by(language: str) -> dict[str, str]:
    return flat({key: value for key, value in texts(language).items() if key not in ("vocabulary", "meanings")})


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_texts_with_the_same_gaps(language: str) -> None:
    english, own = said_by("en"), said_by(language)
    assert {*own} == {*english}
    for key, text in own.items():
        gaps, expected = (
            {field for _, field, _, _ in string.Formatter().parse(each) if field} for each in (text, english[key])
        )
        assert gaps == expected, key


def test_the_german_words_cover_the_vocabulary() -> None:
    vocabulary = yaml.safe_load((PACKAGE.parent / "segmentation" / "vocabulary.yaml").read_text(encoding="utf-8"))
    german = texts("de")["vocabulary"]
    kinds = {entry["name"] for entry in (vocabulary["outliers"], *vocabulary["names"])}
    assert {*german["names"]} == {*german["actions"]} == kinds
    assert {*german["words"]} == {word for pair in vocabulary["words"].values() for word in pair.values()}
    wording = Wording("de", "EUR")
    assert wording.segment("Serial returners, big baskets") == "Serienretournierer, volle Körbe"
    assert wording.segment("Slow returners 2") == "Späte Retournierer 2"
    assert wording.segment("Our own name, big") == "Our own name, big"
    assert wording.in_a_sentence("Späte Retournierer") == "späte Retournierer"
    assert wording.in_a_sentence("Ausreißer") == "Ausreißer"


def test_every_feature_and_unit_has_a_word(findings: Findings) -> None:
    assert {*texts("en")["features"]} == {*findings.customers.features}


def test_the_page_is_in_its_language(pages: Mapping[str, str]) -> None:
    german = " ".join(Page(pages["de"]).words)
    assert '<html lang="de">' in pages["de"]
    for key, text in said_by("en").items():
        assert len(text) < 25 or "{" in text or text not in german, key


@pytest.mark.parametrize(
    ("language", "currency", "said"),
    [
        ("en", "EUR", "1,234,568 27% 1.2% -1.2 +12 €1,421,394 €1.4M €7.50 31 Dec 2025"),
        ("de", "EUR", "1.234.568 27_% 1,2_% -1,2 +12 1.421.394_€ 1,4_Mio._€ 7,50_€ 31.12.2025"),
        ("en", "JPY", "1,234,568 27% 1.2% -1.2 +12 JP¥1,421,394 JP¥1.4M JP¥8 31 Dec 2025"),
    ],
)
def test_numbers_are_written_as_people_write_them(language: str, currency: str, said: str) -> None:
    wording = Wording(language, currency)
    written = (
        wording.number(1_234_567.891),
        wording.percent(0.268),
        wording.percent(0.0123),
        wording.points(-0.0123),
        wording.signed(12),
        wording.money(1_421_393.86),
        wording.short_money(1_421_393.86),
        wording.money(7.5, cents=True),
        wording.day(datetime(2025, 12, 31).date()),
    )
    assert " ".join(written).replace("\u2212", "-").replace("\xa0", "_") == said
    assert (wording.percent(0), wording.percent(None), wording.points(-0.0001)[0]) == (
        wording.percent(0.0),
        "\N{EN DASH}",
        "±",
    )


def test_a_share_that_is_not_nothing_is_not_told_as_nothing() -> None:
    assert ENGLISH.percent(0.00002) == "<0.1%"
    assert ENGLISH.measured(1.0, "orders") == "1 order"
    assert ENGLISH.measured(2.44, "orders") == "2.4 orders"


# --------------------------------------------------------------------------------------------------------- the safety


def test_what_files_bring_along_stays_text(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, categories=HOSTILE, files=[f"{name}.csv" for name in HOSTILE], fits=1, customers=60)
    with shop.warehouse.connect() as backend:
        backend.con.execute("update gold.segment_profiles set recommended_action = $1", [HOSTILE[1]])
        backend.con.execute("update bronze.source_files set reason = $1", [HOSTILE[0]])
        findings = read_findings(backend)
    findings = replace(
        findings,
        segments=tuple(replace(each, name=f"{HOSTILE[3]} {each.segment_id}", kind=None) for each in findings.segments),
    )
    text = report.render(findings, ENGLISH, NOW)
    page = Page(text)
    assert page.tags.count("script") == 3
    assert not {"img", "b", "iframe"} & {*page.tags}
    words = " ".join(page.words)
    for hostile in HOSTILE:
        assert hostile in words


def test_the_page_may_run_its_own_scripts_and_load_nothing(pages: Mapping[str, str]) -> None:
    text = pages["en"]
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = policy.replace("&#39;", "'")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in inline]
        assert rules[rule].split() == hashes
    body = text.partition("<script")[0]
    assert not re.findall(r'\sstyle="|\son\w+="|javascript:|https?://', body)


def test_the_library_is_the_release_that_was_looked_at() -> None:
    [library] = (PACKAGE / "vendor").glob("*.js")
    assert hashlib.sha256(library.read_bytes()).hexdigest() == (
        "baa8dfe7e1d9336b98e8986ba7e20ea15e7cdbea1ef42a59d59478632fa45a1d"
    )


def test_without_a_key_no_customer_id_is_in_the_report(findings: Findings, pages: Mapping[str, str]) -> None:
    for text in pages.values():
        assert "example.com" not in text
        assert len({*re.findall('"customer-[0-9a-f]{12}"', text)}) == len(findings.customers)


def test_with_a_key_customers_have_the_pseudonyms_of_the_tables(findings: Findings) -> None:
    ids = [f"customer-{number:032x}" for number in range(len(findings.customers))]
    hidden = replace(
        findings,
        fit=replace(findings.fit, ids_are_pseudonyms=True),
        customers=replace(findings.customers, ids=ids),
    )
    text = report.render(hidden, ENGLISH, NOW)
    assert all(f'"{each}"' in text for each in ids)


def test_segments_keep_the_colours_of_the_pictures(findings: Findings, pages: Mapping[str, str]) -> None:
    for segment in findings.segments:
        name = charts.segment_colour_token(segment.segment_id)[1:]
        assert f"--{name}:{segment_colour(segment.segment_id)};" in pages["en"]
        assert f"--{name}:{segment_colour(segment.segment_id, dark=True)};" in pages["en"]


def test_15_000_customers_fit_into_5_megabytes(findings: Findings) -> None:
    few, n = findings.customers, 15_000

    def repeated(values: Any) -> list[Any]:
        return [values[row % len(few)] for row in range(n)]

    many = Customers(
        total=n,
        ids=[f"customer-{number:032x}" for number in range(n)],
        **{
            name: repeated(getattr(few, name))
            for name in ("segment_ids", "map_x", "map_y", "confidence", "order_value", "returned_value", "reasons")
        },
        # as wide as the contract lets them be
        features={
            column.name: [row + (0 if column.type == "int64" else 0.5) for row in range(n)]
            for column in CLUSTERING_FEATURES
        },
    )
    large = replace(findings, customers=many, fit=replace(findings.fit, ids_are_pseudonyms=True))
    assert 4_000_000 < len(report.render(large, ENGLISH, NOW).encode()) < 5_000_000


# ---------------------------------------------------------------------------------------------------------- the asset


@pytest.fixture
def home(shop: ToldShop) -> Iterator[Home]:
    yield Home(path=str(shop.home))
    paths = [*(shop.home / "exports").iterdir()]
    with shop.warehouse.connect() as backend:
        forget_versions(backend, [f"exports.{path.name}" for path in paths])
    for path in paths:
        path.unlink()


def materialize(home: Home, keep: int = 12, **reporting: str) -> Mapping[str, Any]:
    with DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [segment_report],
            instance=instance,
            resources={
                "home": home,
                "retention": Retention(keep_exports=keep),
                "reporting": Reporting(**reporting),
            },
        )
    [made] = result.asset_materializations_for_node("segment_report")
    return {name: value.value for name, value in made.metadata.items()}


def test_the_report_is_written_once_for_the_same_tables(home: Home) -> None:
    first, second = materialize(home), materialize(home)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["path"] == second["path"]
    assert re.fullmatch(r"segment_report_\d{8}_\d{6}\.html", Path(first["path"]).name)
    assert first["bytes"] == Path(first["path"]).stat().st_size
    assert "of the returned value." in first["headline"]
    assert first["language"] == "en"


def test_another_language_or_another_history_is_another_report(home: Home, shop: ToldShop) -> None:
    first, german = materialize(home), materialize(home, language="de")
    assert german["changed"]
    assert german["headline"] != first["headline"]
    with shop.warehouse.connect() as backend:
        backend.con.execute("update gold.out_of_time_validation set standard_error = 0.02")
    assert materialize(home, language="de")["changed"]
    assert not materialize(home, language="de")["changed"]


def test_only_the_newest_reports_stay(home: Home, shop: ToldShop) -> None:
    for keep, language in ((9, "en"), (9, "de"), (2, "en")):
        newest = materialize(home, keep, language=language)["path"]
    there = sorted((shop.home / "exports").glob("*.html"))
    assert len(there) == 2
    assert there[-1] == Path(newest)
    recorded = shop.ask("select name from main.table_versions where name like 'exports.segment_report%'")
    assert {name for (name,) in recorded} == {f"exports.{path.name}" for path in there}


def test_who_is_forgotten_takes_the_reports_along(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, customers=60, fits=1, extras=False)
    home = Home(path=str(tmp_path))
    path = Path(materialize(home)["path"])
    unfinished = path.with_name(f".{path.name}.0a.part")
    unfinished.touch()
    (tmp_path / "forget").mkdir(exist_ok=True)
    (tmp_path / "forget" / "request.txt").write_text("c00001@example.com\n")
    assert len(requests(tmp_path)) == 1
    with shop.warehouse.connect() as backend:
        accept_requests(backend, tmp_path, None, NOW)
    assert not path.exists()
    assert not unfinished.exists()


def test_reports_of_before_a_pseudonym_key_are_removed(tmp_path: Path) -> None:
    shop = told_shop(tmp_path, customers=60, fits=1, extras=False)
    home = Home(path=str(tmp_path))
    older = Path(materialize(home)["path"]).with_name("segment_report_20200101_000000.html")
    older.touch()
    with shop.warehouse.connect() as backend:
        record_ids(backend, "gold", "of a key")
    after = materialize(home)
    assert after["changed"]
    assert [*older.parent.iterdir()] == [Path(after["path"])]
    with shop.warehouse.connect() as backend:
        assert (table_version(backend, f"exports.{Path(after['path']).name}") or "").endswith("-of a key")
