"""The report in a real browser without a network: what people do with it works, at every width, on every ground."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from clustering_assets.reports.findings import Findings
from clustering_assets.reports.findings_tables import read_findings
from clustering_assets.reports.segment_report import write_report
from clustering_assets.reports.wording import Wording, languages
from clustering_assets_tests.reports.told_shop import NOW, told_shop

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PHONE, TABLET, DESK = {"width": 390, "height": 844}, {"width": 820, "height": 1180}, {"width": 1440, "height": 900}
HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "Shoes")
CUSTOMERS = 160


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    shop = told_shop(tmp_path_factory.mktemp("shop"), customers=CUSTOMERS, categories=HOSTILE)
    with shop.warehouse.connect() as backend:
        found = read_findings(backend)
    ids = [f"customer-{number:032x}" for number in range(CUSTOMERS)]
    return replace(found, fit=replace(found.fit, ids_are_pseudonyms=True), customers=replace(found.customers, ids=ids))


@pytest.fixture(scope="module")
def written(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for language in languages():
        write_report(folder / f"{language}.html", findings, Wording(language, "EUR"), NOW)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser: Browser, path: Path, viewport: dict[str, int], **how: object) -> Iterator[Page]:
    """The page, with nothing said to the console and nothing asked of a network by the end."""
    said: list[str] = []
    context = browser.new_context(viewport=viewport, offline=True, **how)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert said == []


def drawn(page: Page, selector: str) -> int:
    """How many different colours a chart has."""
    colours: int = page.locator(f"{selector} canvas").first.evaluate(
        """canvas => new Set(new Uint32Array(
               canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    )
    return colours


CHARTS = (
    "#customer-map",
    "#frequency-chart",
    *(f"[data-chart={name}]" for name in ("movement", "history", "money", "monthly", "by_category", "certainty")),
)


@pytest.mark.parametrize(
    ("viewport", "scheme", "language"),
    [(PHONE, "light", "en"), (TABLET, "dark", "en"), (DESK, "light", "en"), (PHONE, "dark", "de")],
    ids=["phone", "tablet", "desk", "phone in German"],
)
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_screen(
    browser: Browser, written: Path, viewport: dict[str, int], scheme: str, language: str
) -> None:
    with opened(browser, written / f"{language}.html", viewport, color_scheme=scheme) as page:
        for chart in CHARTS:
            assert drawn(page, chart) > 10, chart
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def middle_of(page: Page, row: int) -> tuple[float, float]:
    """Where a customer is on the screen."""
    page.locator("#customer-map").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """row => {
            const box = document.getElementById("customer-map"), chart = echarts.getInstanceByDom(box);
            const series = chart.getOption().series, place = series.findIndex((each) => each.rows.includes(row));
            const at = series[place].data[series[place].rows.indexOf(row)];
            const [x, y] = chart.convertToPixel({ seriesIndex: place }, at), frame = box.getBoundingClientRect();
            return [frame.x + x, frame.y + y];
        }""",
        row,
    )
    return float(x), float(y)


def test_pointing_at_a_customer_tells_who_it_is_and_a_click_chooses_it(
    browser: Browser, written: Path, findings: Findings
) -> None:
    with opened(browser, written / "en.html", DESK) as page:
        page.mouse.move(*middle_of(page, 5))
        tip = page.locator("#customer-map .tip")
        tip.wait_for()
        said = tip.inner_text()
        assert "customer-" in said
        assert "Confidence: " in said
        page.mouse.click(*middle_of(page, 5))
        chosen = page.locator("#customer").inner_text()
        assert said.splitlines()[0] in chosen
        names = {segment.name for segment in findings.segments}
        assert any(name in chosen for name in names)


def test_a_customer_is_found_by_its_pseudonym(browser: Browser, written: Path, findings: Findings) -> None:
    with opened(browser, written / "en.html", DESK) as page:
        search, found = page.get_by_label("Find a customer"), page.locator("#found")
        search.fill("nobody")
        assert found.inner_text() == "Nobody found"
        search.fill("customer-")
        assert found.inner_text() == f"{CUSTOMERS} customers found"
        assert page.locator("#results button").count() == 8
        wanted = findings.customers.ids[17]
        search.fill(f"  {wanted.upper()} ")
        assert found.inner_text() == "1 customer found"
        chosen = page.locator("#customer")
        assert wanted in chosen.inner_text()
        [segment] = [each.name for each in findings.segments if each.segment_id == findings.customers.segment_ids[17]]
        assert segment in chosen.inner_text()
        ringed = page.evaluate(
            """echarts.getInstanceByDom(document.getElementById("customer-map")).getOption().series
                      .filter((each) => each.name === "chosen").map((each) => each.rows)"""
        )
        assert ringed == [[17]]
        search.fill("")
        assert chosen.is_hidden()


def test_the_map_is_coloured_by_any_feature_and_zoomed(browser: Browser, written: Path) -> None:
    with opened(browser, written / "en.html", DESK) as page:
        legend = page.locator("#map-legend")
        segments = legend.inner_text()
        select = page.get_by_label("Colour by")
        for option in select.locator("option").all()[1:]:
            select.select_option(label=option.inner_text())
            counts = legend.locator("li").all_inner_texts()
            assert 1 <= len(counts) <= 5
            assert sum(int(text.rpartition("(")[2].rstrip(")")) for text in counts) == CUSTOMERS
        select.select_option(index=0)
        assert legend.inner_text() == segments
        zoom = """echarts.getInstanceByDom(document.getElementById("customer-map")).getOption()
                         .dataZoom.map((each) => Math.round(each.end - each.start))"""
        page.get_by_label("Zoom in").click()
        assert page.evaluate(zoom) == [60, 60]
        page.get_by_label("Zoom out").click()
        page.get_by_text("Show all").click()
        assert page.evaluate(zoom) == [100, 100]


def test_it_can_be_used_by_keyboard_alone(browser: Browser, written: Path) -> None:
    with opened(browser, written / "en.html", DESK) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "report"
        for wanted in ("colour-by", "search"):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.id") == wanted
        page.keyboard.type("000000000001f")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # zoom in
        assert page.locator("#customer").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(browser: Browser, written: Path, scheme: str) -> None:
    # axe is a script of somebody else's, which the policy of the page would not let in
    with opened(browser, written / "en.html", DESK, color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        results = Axe().run(page)
        found = [
            f"{each['id']}: {each['nodes'][0]['html'][:120]} {each['nodes'][0]['failureSummary']}"
            for each in results.response["violations"]
        ]
        assert found == []


def test_without_scripts_every_figure_is_there(browser: Browser, written: Path) -> None:
    with opened(browser, written / "en.html", PHONE, java_script_enabled=False) as page:
        assert page.locator("noscript p").is_visible()
        assert page.locator("data[data-figure]").count() > 150
        assert page.locator(".controls").is_hidden()


def test_what_files_bring_along_is_shown_and_does_nothing(browser: Browser, written: Path) -> None:
    with opened(browser, written / "en.html", DESK) as page:
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        for hostile in HOSTILE:
            assert page.locator("#categories th", has_text=hostile).count() == 1
        assert page.locator("#categories img").count() == 0
        chart = page.locator("[data-chart=by_category]")
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box
        for part in (0.3, 0.5, 0.7):
            page.mouse.move(box["x"] + box["width"] * part, box["y"] + 40)
        page.locator("[data-chart=by_category] .tip").wait_for()


def test_it_prints_on_a4_with_its_charts(browser: Browser, written: Path, tmp_path: Path) -> None:
    with opened(browser, written / "en.html", DESK, color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        widths = page.evaluate(
            """[...document.querySelectorAll(".chart canvas")].map((each) => each.getBoundingClientRect().width)"""
        )
        assert len(widths) == len(CHARTS), "a layer of its own would not be printed"
        assert max(widths) <= 695, "what fits between the margins of the paper"
        content = page.pdf(path=tmp_path / "report.pdf", format="A4", prefer_css_page_size=True)
        assert content.startswith(b"%PDF")
        assert 4 <= content.count(b"/Type /Page\n") <= 16
