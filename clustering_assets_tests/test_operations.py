"""The recipes of docs/operations.md, executed: each section in a deployment of its own that has run once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clustering_assets_tests.conftest import make_shop

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "operations.md").read_text()
_LIMIT = 300
"""Seconds; far more than a recipe takes, so that one that hangs is seen."""


def recipes(page: str) -> dict[str, str]:
    """Title of a section -> its ``sh`` blocks, one after the other; sections without any are left out."""
    found = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            found[title.strip()] = "".join(blocks)
    return found


def execute(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )


def variables(deployment: Path, warm_programs: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERING_")}
    return {
        **kept,
        "CLUSTERING_HOME": str(deployment / "home"),
        "CLUSTERING_SOURCE_DIR": str(deployment / "source"),
        "DAGSTER_HOME": str(deployment / "dagster"),
        "PATH": f"{warm_programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
    }


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory, warm_programs: Path) -> Path:
    folder = tmp_path_factory.mktemp("once")
    make_shop(folder, customers=60, lines=1_500)
    (folder / "dagster").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", folder / "dagster")
    first = execute("python -m clustering_assets.run", variables(folder, warm_programs))
    assert first.returncode == 0, first.stderr
    return folder


@pytest.fixture
def deployment(run_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run_once, tmp_path / "deployment")


@pytest.mark.parametrize("title", recipes(PAGE))
def test_a_recipe_works(title: str, deployment: Path, warm_programs: Path) -> None:
    done = execute(recipes(PAGE)[title], variables(deployment, warm_programs))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_a_recipe_that_does_not_work_is_seen(deployment: Path, warm_programs: Path) -> None:
    block = '```sh\ntest -d "$CLUSTERING_HOME"\nfalse | true\n```\n'
    found = recipes(f"# Page\n\n## It fails\n\ntext\n\n{block}\n## None\n\n```console\n$ exit 1\n```\n")
    assert list(found) == ["It fails"]
    assert execute(found["It fails"], variables(deployment, warm_programs)).returncode != 0
