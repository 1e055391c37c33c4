"""docs/extending.md, followed to the letter: its patches and files go into a copy of the package, its examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "extending.md").read_text()
SECTIONS = dict(section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
BLOCK = re.compile(r"^```(diff|python)(?: title=\"(.+?)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def patched(text: str, hunk: str) -> str:
    """Put in the lines of a hunk that are new, in the place of those that the text has to have, once."""
    lines = hunk.splitlines()
    before, after = ("\n".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
    assert text.count(f"{before}\n") == 1, f"{before}\n\nis not there, or more than once"
    return text.replace(before, after)


def follow(section: str, folder: Path) -> None:
    """Do what a section says, in a copy of the checkout's packages."""
    for kind, title, text in BLOCK.findall(section):
        if kind == "diff":
            head, *hunks = text.split("@@\n")
            path = folder / head.split("+++ b/")[1].strip()
            for hunk in hunks:
                path.write_text(patched(path.read_text(), hunk))
        elif title:
            (folder / title).write_text(text)
        else:
            done = subprocess.run(
                [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("clustering_assets", "clustering_assets_tests"):
        shutil.copytree(CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_can_be_followed(title: str, copy: Path) -> None:
    follow(SECTIONS[title], copy)


def test_an_example_that_does_not_hold_is_seen(copy: Path) -> None:
    with pytest.raises(AssertionError, match="is not there"):
        follow("```diff\n+++ b/clustering_assets/versions.py\n@@\n-FEATURES = 0\n+FEATURES = 1\n```\n", copy)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        follow("```python\n1 / 0\n```\n", copy)


def test_the_pages_say_how_to_add_a_feature_a_layout_and_an_engine() -> None:
    assert list(SECTIONS) == ["Add a feature", "Add a source layout", "Add an engine"]
