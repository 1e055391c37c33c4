"""The examples of docs/sources.md, loaded: each a source folder, and what comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clustering_assets_tests.sources.bronze import Bronze

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
EXAMPLES = dict(
    section.split("\n", 1) for section in re.split(r"^### ", PAGE.partition("## An example of each")[2], flags=re.M)[1:]
)


def block(kind: str, section: str) -> str | None:
    found = re.search(rf"^```{kind}\n(.*?)^```", section, re.M | re.S)
    return found and found[1]


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_gives_the_order_lines_beside_it(title: str, bronze: Bronze) -> None:
    example = EXAMPLES[title]
    files = {"orders.csv": block("csv", example), "source.yaml": block("yaml", example)}
    bronze.load({name: content for name, content in files.items() if content})
    said, *lines = (block("text", example) or "").splitlines()
    found = bronze.rows(f"select {said} from bronze.order_lines order by order_id, sku")
    assert [",".join("" if value is None else str(value) for value in row) for row in found] == lines
    assert bronze.rows("select layout from bronze.source_files where source_file = 'orders.csv'") == [
        (title.partition(",")[0],)
    ]


def test_there_is_an_example_of_every_layout() -> None:
    from clustering_assets.sources.mapping import KNOWN_LAYOUTS, MAPPING_FILE

    assert {title.partition(",")[0] for title in EXAMPLES} == {*KNOWN_LAYOUTS, MAPPING_FILE}
