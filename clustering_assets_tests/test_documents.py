"""What the documents show as code runs, and gives what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_every_block_ends_in_its_section(page: Path) -> None:
    sections = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    assert not [section.splitlines()[0] for section in sections if section.count("```") % 2]


def test_the_example_of_the_segmentation_runs_and_finds_what_it_says() -> None:
    [example] = re.findall(r"```python\n(.*?)```", (DOCS / "segmentation.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102  the project's own document
    segmenter, kind = names["segmenter"], names["kind"]
    assert f"segmenter.n_clusters_  # {segmenter.n_clusters_}" in example  # type: ignore[attr-defined]
    assert segmenter.notes_ == []  # type: ignore[attr-defined]
    labels = segmenter.labels_  # type: ignore[attr-defined]
    table = np.histogram2d(kind[labels >= 0], labels[labels >= 0], bins=3)[0]  # type: ignore[index]
    assert table.max(axis=1).sum() / table.sum() > 0.9
