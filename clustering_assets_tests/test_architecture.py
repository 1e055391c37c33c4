"""The walls of the house: which module may import which, and documents that keep step with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clustering_assets.definitions import defs

CHECKOUT = Path(__file__).parent.parent
PACKAGE = CHECKOUT / "clustering_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))

ORCHESTRATION = {
    "alerts",
    "assets",
    "automation",
    "checks",
    "clean_up",
    "cli",
    "definitions",
    "doctor",
    "failures",
    "lost_runs",
    "metadata",
    "resources",
    "run",
    "run_config",
    "watch",
}
"""The parts that may know Dagster."""

BELOW = {
    "config": set(),
    "contracts": set(),
    "versions": set(),
    "lineage": set(),
    "durable": set(),
    "locks": set(),
    "warehouse": {"contracts", "durable", "locks"},
    "features": {"contracts"},
    "imputation": {"contracts", "features"},
    "pseudonyms": {"contracts", "versions", "warehouse"},
    "segmentation": {"contracts", "durable", "versions"},
    "reports": {"comparison", "contracts", "durable", "pseudonyms", "segmentation", "sources", "warehouse"},
    "synthetic": {"contracts"},
    "conformance": {"contracts", "warehouse"},
    "source_changes": {"durable", "sources", "versions"},
    "forgotten": {"durable", "versions"},
    "forgetting": {"contracts", "forgotten", "pseudonyms", "sources", "warehouse"},
    "history": {"contracts", "gold", "pseudonyms", "segmentation", "silver", "warehouse"},
    "integrity": {"contracts", "warehouse"},
    "comparison": {"contracts", "warehouse"},
    "acceptance": {"conformance", "contracts", "comparison", "integrity", "warehouse"},
    "sources": {"acceptance", "contracts", "forgotten", "versions", "warehouse"},
    "silver": {
        "acceptance",
        "contracts",
        "features",
        "imputation",
        "lineage",
        "pseudonyms",
        "sources",
        "versions",
        "warehouse",
    },
    "saved_models": {"acceptance", "contracts", "segmentation", "warehouse"},
    "gold": {"acceptance", "contracts", "pseudonyms", "saved_models", "segmentation", "versions", "warehouse"},
    "spark": {
        "acceptance",
        "contracts",
        "forgotten",
        "gold",
        "pseudonyms",
        "saved_models",
        "segmentation",
        "silver",
        "sources",
        "versions",
        "warehouse",
    },
    "publishing": {"contracts", "versions", "warehouse"},
    "problems": set(),
    "channels": {"problems"},
    "quality": {"comparison"},
    "out_of_time": {"contracts", "features", "segmentation", "silver"},
}
"""Part of the package -> parts that it may import, itself aside."""


def part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from clustering_assets.x import y` may name the module y
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = of(path)
    if own in ORCHESTRATION or own == "__init__":
        return
    modules = imported(path)
    assert not [name for name in modules if name.split(".")[0] == "dagster"], "only the orchestration knows Dagster"
    parts = {part(name) for name in modules if name.startswith("clustering_assets.")} - {own}
    assert parts <= BELOW[own], f"{own} must not import {parts - BELOW[own]}"


def test_questions_of_the_command_line_load_neither_dagster_nor_what_only_publishing_needs() -> None:
    used = "cli", "config", "reports.answers", "reports.findings_tables", "reports.terminal", "warehouse"
    modules = ", ".join(f"clustering_assets.{each}" for each in used)
    code = f"import sys, {modules}; assert not {{'dagster', 'sqlalchemy'}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


def test_nothing_but_the_definitions_imports_the_assets() -> None:
    importers = {of(path) for path in MODULES for name in imported(path) if name.startswith("clustering_assets.assets")}
    assert importers <= {"assets", "definitions"}


@pytest.mark.parametrize(
    "path", [*(PACKAGE / "assets").glob("*.py"), PACKAGE / "checks.py"], ids=lambda path: path.name
)
def test_no_step_lets_an_unexpected_message_into_the_event_log(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and any("dg." in ast.unparse(each) for each in node.decorator_list):
            helpers = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
            assert helpers & {"in_one_sentence", "_workbook", "_report"}, f"{path.name}: {node.name}"


def test_a_reader_finds_every_asset_and_every_setting_in_the_readme() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    for spec in defs.resolve_all_asset_specs():
        assert spec.key.to_user_string() in readme
    settings = set(re.findall(r'environ\.get\("(\w+)"\)', (PACKAGE / "config.py").read_text()))
    table = set(re.findall(r"^\| `([A-Z_]+)` \|", readme, re.MULTILINE))
    assert settings
    assert settings == table - {"DAGSTER_HOME"}


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} -> {target}"


def test_definitions_fit_on_a_page() -> None:
    assert len((PACKAGE / "definitions.py").read_text().splitlines()) <= 60
