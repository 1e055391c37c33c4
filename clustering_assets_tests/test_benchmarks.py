"""What the benchmarks make of raw figures: growth, bounds, and what became worse."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.page import DOCS, page_of
from benchmarks.run import RESULTS, main
from benchmarks.sections import PROMISES, SECTIONS, Promise, exponent
from clustering_assets.contracts import CUSTOMER_FEATURES, CUSTOMER_SEGMENTS
from clustering_assets.run_config import GoldConfig
from clustering_assets.warehouse import Warehouse
from clustering_assets_tests.conftest import QUICK, Shop


@pytest.mark.parametrize("growth", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found_whatever_its_factor(growth: float) -> None:
    times = {f"time, {lines:,} lines": 3e-6 * lines**growth for lines in (500_000, 1_000_000, 16_000_000)}
    assert exponent({**times, "times, 7 lines": 1.0, "memory, 5 lines": 2.0}, "time") == pytest.approx(growth)


def promise(**bounds: float) -> Promise:
    return Promise("tables", "something", lambda figures: figures["one"], "x", **bounds)


@pytest.mark.parametrize(("bounds", "value", "kept"), [
    ({"at_most": 1.25}, 1.25, True),
    ({"at_most": 1.25}, 1.26, False),
    ({"at_most": 0}, 1.0, False),
    ({"at_most": 0}, 0.0, True),
    ({"at_least": 30}, 30.0, True),
    ({"at_least": 30}, 29.9, False),
    ({}, 7.0, None),
])  # fmt: skip
def test_a_promise_is_kept_up_to_its_bound(bounds: dict[str, float], value: float, kept: bool | None) -> None:
    assert promise(**bounds).is_kept(value) is kept


def test_worse_is_more_of_what_has_to_be_little_and_less_of_what_has_to_be_much() -> None:
    little, much = promise(at_most=1.25), promise(at_least=30)
    assert little.got_worse(1.0, 1.25) == pytest.approx(0.25)
    assert little.got_worse(1.25, 1.0) < 0
    assert much.got_worse(50, 40) == pytest.approx(0.25)
    assert much.got_worse(40, 50) < 0


def test_every_promise_is_measured_by_a_section() -> None:
    assert {each.section for each in PROMISES} <= {*SECTIONS}


def test_small_figures_are_not_put_on_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = RESULTS.read_text(), (DOCS / "benchmarks.md").read_text()
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--size", "small", "--only", "tables", "--repeats", "1", "--save"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "leave --save or --size out" in capsys.readouterr().err
    assert (RESULTS.read_text(), (DOCS / "benchmarks.md").read_text()) == before


def test_the_page_is_what_the_saved_figures_come_to() -> None:
    saved = json.loads(RESULTS.read_text())
    assert page_of(saved) == (DOCS / "benchmarks.md").read_text()
    for section, found in saved.items():
        for each in PROMISES:
            if each.section == section:
                assert found["measured"][each.what] == statistics.median(map(each.value, found["rounds"]))
                assert f"| {each.what} |" in page_of({section: found})


_BARE = """
import json, sys
from pathlib import Path
from benchmarks.bare import run
run(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
assert "dagster" not in sys.modules
"""


def test_a_bare_run_makes_what_a_run_through_dagster_makes_and_never_loads_it(finished: Shop, tmp_path: Path) -> None:
    bare = Shop(finished.source, tmp_path)
    settings = json.dumps(GoldConfig(**QUICK["ops"]["gold"]["config"]).arguments())
    subprocess.run([sys.executable, "-c", _BARE, str(bare.source), str(bare.home), settings], check=True)
    assert _made(bare) == _made(finished)
    assert _customers(bare.warehouse) == _customers(finished.warehouse)


def _made(shop: Shop) -> tuple[list[str], list[str]]:
    with shop.warehouse.read() as backend:
        tables = [str(name) for layer in ("bronze", "silver", "gold") for name in backend.list_tables(database=layer)]
    exports = [re.sub(r"\d", "", path.name) for path in (shop.home / "exports").iterdir()]
    return sorted(tables), sorted(exports)


def _customers(warehouse: Warehouse) -> list[tuple[object, ...]]:
    """Features and segment of each customer, without what tells of the run."""
    query = f"""
        select f.* exclude computed_at, s.* exclude (customer_id, model_run_id, assigned_at)
        from {CUSTOMER_FEATURES.qualified_name} f join {CUSTOMER_SEGMENTS.qualified_name} s using (customer_id)
        order by all"""
    with warehouse.read() as backend:
        return backend.con.execute(query).fetchall()
