"""What the site needs beside MkDocs: links that leave docs/ work, and a page can show a section of the README.

A file or folder of the checkout that a page links to becomes a page. A line ``<!-- README: Title -->`` in a page
stands for that section of the README, so that what is said there is said once.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHECKOUT = Path(__file__).parent
_LINK = re.compile(r"\]\(((?:\.\./|docs/)[^)#\s]+)(#[^)\s]*)?\)")
_SECTION = re.compile(r"^<!-- README: (.+) -->$", re.MULTILINE)
_ON_SITE = {"README.md": "index.md", "README.md#settings": "settings.md"}


def _target(path: str, anchor: str, folder: str) -> str:
    """Where on the site a link leads that stands in a text in a folder of the checkout."""
    place = posixpath.normpath(posixpath.join(folder, path))
    if place + anchor in _ON_SITE or place in _ON_SITE:
        return _ON_SITE.get(place + anchor) or _ON_SITE[place]
    return f"{place.removeprefix('docs/')}{anchor}" if place.startswith("docs/") else f"checkout/{place}.md"


def _with_links_of_the_site(text: str, folder: str, page: str) -> str:
    def rewritten(link: re.Match[str]) -> str:
        target = _target(link[1], link[2] or "", folder)
        return f"]({posixpath.relpath(target, posixpath.dirname(page) or '.')})"

    return _LINK.sub(rewritten, text)


def _section(title: str) -> str:
    readme = (CHECKOUT / "README.md").read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no section {title!r}")
    return found[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the checkout that is linked to."""
    for page in list(files.documentation_pages()):
        folder = posixpath.join("docs", posixpath.dirname(page.src_uri))
        for path, anchor in _LINK.findall(page.content_string):
            uri = _target(path, anchor, folder)
            source = CHECKOUT / uri.removeprefix("checkout/").removesuffix(".md")
            if uri.startswith("checkout/") and source.exists() and uri not in files.src_uris:
                files.append(File.generated(config, uri, content=_shown(source)))
    return files


def _shown(source: Path) -> str:
    """A page for a file of the checkout, or for a folder, of which it lists the files."""
    if source.is_dir():
        kind, text = "", "\n".join(sorted(path.name for path in source.iterdir() if path.is_file()))
    else:
        kind, text = source.suffix[1:], source.read_text()
    return f"# {source.relative_to(CHECKOUT)}\n\n````{kind}\n{text}\n````\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Put in the sections of the README, and lead links to the pages of the site."""
    uri = page.file.src_uri
    text = _with_links_of_the_site(markdown, posixpath.join("docs", posixpath.dirname(uri)), uri)
    return _SECTION.sub(lambda found: _with_links_of_the_site(_section(found[1]), "", uri), text)
