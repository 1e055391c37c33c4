"""A source folder with the bronze tables made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustering_assets_tests.sources.bronze import Bronze, opened


@pytest.fixture
def bronze(tmp_path: Path) -> Iterator[Bronze]:
    with opened(tmp_path / "source", tmp_path / "home") as made:
        yield made
