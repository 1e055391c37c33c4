"""The site of the documents: it builds strictly, needs no network, and its links out of docs/ work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from dagster import validate_run_config
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from clustering_assets.definitions import defs

CHECKOUT = Path(__file__).parent.parent
ASKED_FOR_BY_THEMSELVES = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
}
"""What a browser fetches without a click: the element, and the attribute that says from where."""


def built(folder: Path, **settings: object) -> Path:
    config = load_config(str(CHECKOUT / "mkdocs.yml"), site_dir=str(folder), strict=True, **settings)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: a warning of any kind is an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(CHECKOUT)
        return built(tmp_path_factory.mktemp("site"))


class Elements(HTMLParser):
    """Collects what is wanted by itself, what is linked to, and whether there is anything that is drawn by a script."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.classes: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes |= set(given.get("class", "").split())
        if address := given.get(ASKED_FOR_BY_THEMSELVES.get(tag, "")):
            self.fetched.append(address)
        if tag == "a" and (address := given.get("href")):
            self.links.append(address)


def pages(site: Path) -> Iterator[tuple[Path, Elements]]:
    for page in sorted(site.rglob("*.html")):
        yield page, Elements(page)


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(CHECKOUT / "docs").with_suffix("") for path in (CHECKOUT / "docs").rglob("*.md")}
    assert documents <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}


def test_no_page_asks_the_network_for_anything(site: Path) -> None:
    for page, elements in pages(site):
        outside = [address for address in elements.fetched if re.match(r"(https?:)?//", address)]
        assert not outside, f"{page.name} asks for {outside}"
        assert "mermaid" not in elements.classes, f"{page.name}: diagrams would be drawn by a script of a server"
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import\s+[\"']http", style.read_text()), style.name


def test_every_link_within_the_site_leads_to_a_file(site: Path) -> None:
    for page, elements in pages(site):
        if page.name == "404.html":  # its links are of the server's root
            continue
        for address in elements.links + elements.fetched:
            path = address.partition("#")[0].partition("?")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.name} -> {address}"


def test_a_link_out_of_the_documents_shows_the_file(site: Path) -> None:
    [page] = site.glob("checkout/**/vocabulary.yaml.html")
    assert "Serial returners" in page.read_text()
    assert 'href="checkout/clustering_assets/segmentation/vocabulary.yaml.html"' in (site / "segments.html").read_text()


def test_the_settings_of_the_readme_are_on_a_page(site: Path) -> None:
    settings = (site / "settings.html").read_text()
    for name in re.findall(r"^\| `([A-Z_]+)` \|", (CHECKOUT / "README.md").read_text(), re.MULTILINE):
        assert name in settings
    assert 'href="publishing.html"' in settings


def test_the_reference_is_made_of_docstrings(site: Path) -> None:
    assert (
        "Segment rows by K-means after setting outliers aside by density."
        in (site / "api" / "segmentation.html").read_text()
    )


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[there](nowhere.md)\n")
    with pytest.raises(Abort):
        built(tmp_path / "site", docs_dir=str(tmp_path / "docs"), nav=["index.md"], plugins=[])


def test_the_config_of_a_run_is_as_the_page_says() -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```", (CHECKOUT / "docs" / "settings.md").read_text(), re.M | re.S)
    validate_run_config(defs.resolve_job_def("everything"), yaml.safe_load(example))
