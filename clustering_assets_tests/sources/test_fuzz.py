"""Damaged files: whatever is in them, the load ends, says what it did, and leaves the files beside them alone.

A file that fails here is written by ``python -m clustering_assets_tests.sources.mutations SEED FOLDER``.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustering_assets.sources.ingestion import NoUsableRows
from clustering_assets.sources.mapping import BadMapping, layouts_for
from clustering_assets_tests.sources.apart import Outcome, load_apart
from clustering_assets_tests.sources.bronze import csv_text, opened
from clustering_assets_tests.sources.mutations import MARK, Mutant, mutant, originals

AT_A_TIME = 100
"""Files in one folder."""

SECONDS_ALONE, SECONDS_TOGETHER = 20, 120
"""Of processor time, in which one file and all of them have to be read."""


def good_files() -> dict[str, bytes]:
    """Whole files that come before and after the damaged ones, whose keys nobody else has."""
    mark = MARK.encode()
    return {
        "a_good.csv": originals()["order_lines", "csv"].replace(mark, b"good"),
        "z_good.csv": originals()["online_retail", "csv"].replace(mark, b"good.too"),
        "source.yaml": originals()["mapped", "yaml"],
    }


@cache
def alone() -> dict[str, list[list[str]]]:
    """What the good files give without the others."""
    outcome = load_apart(good_files())
    assert outcome.problem == outcome.refused == ""
    assert {account["status"] for account in outcome.accounts} == {"loaded"}
    return outcome.good_rows


def faults(outcome: Outcome) -> list[str]:
    """Everything that is wrong about a load of damaged and good files."""
    found = [outcome.problem] if outcome.problem else [*outcome.faults]
    if outcome.problem:
        return found
    if outcome.good_rows != alone():
        found.append("the good files have other rows than alone")
    accounted = {account["source_file"].partition("#")[0] for account in outcome.accounts}
    found += [f"{name} is not accounted for" for name in set(outcome.files) - accounted - {"source.yaml"}]
    for account in outcome.accounts:
        if account["status"] != "loaded" and not account["reason"]:
            found.append(f"{account['source_file']} is {account['status']} for no reason")
        if account["reason"].startswith("could not be read"):
            found.append(f"{account['source_file']} {account['reason']}")
    said = [*outcome.rejections, outcome.said, *(account["reason"] for account in outcome.accounts)]
    return found + [f"a customer is shown: {text[:500]}" for text in said if MARK in text]


def try_all(mutants: Sequence[Mutant]) -> Counter[str]:
    """Load damaged files together; if that goes wrong, each by itself, to know which it is. Return their fates."""
    together = load_apart({**good_files(), **{made.name: made.content for made in mutants}}, SECONDS_TOGETHER)
    if wrong := faults(together):
        for made in mutants:
            single = faults(load_apart({**good_files(), made.name: made.content}, SECONDS_ALONE))
            wrong += [f"{made.name} ({made.how}): {fault}" for fault in single]
        pytest.fail("\n".join(wrong))
    fates = {account["source_file"].partition("#")[0]: account["status"] for account in together.accounts}
    return Counter(fates[made.name] for made in mutants)


@pytest.mark.parametrize("first", range(0, 200, AT_A_TIME))
def test_damaged_files_are_read_or_refused(first: int) -> None:
    fates = try_all([mutant(seed) for seed in range(first, first + AT_A_TIME)])
    assert fates["loaded"] > 10, "the damage is so great that little is tested"
    assert fates["unusable"] > 10, "the damage is so small that little is tested"


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 3000, AT_A_TIME))
def test_more_damaged_files_are_read_or_refused(first: int) -> None:
    print(f"seeds from {first}:", dict(try_all([mutant(seed) for seed in range(first, first + AT_A_TIME)])))


@pytest.mark.long
@pytest.mark.skipif("CLUSTERING_UCI_DIR" not in os.environ, reason="CLUSTERING_UCI_DIR names no folder")
def test_damaged_files_of_real_data_are_read_or_refused() -> None:
    with gzip.open(next(Path(os.environ["CLUSTERING_UCI_DIR"]).glob("*.csv.gz"))) as stream:
        real = b"".join(stream.readline() for _ in range(3000))
    print(dict(try_all([mutant(seed, {"csv": real, "csv.gz": gzip.compress(real)}) for seed in range(200)])))


text = st.text(alphabet=st.one_of(st.sampled_from('a1,;"\n\r\t\0 .@='), st.characters(codec="utf-8")), max_size=12)
rows = st.lists(st.lists(text, min_size=1, max_size=8), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=st.lists(st.tuples(rows, st.sampled_from(",;\t|"), st.booleans()), min_size=1, max_size=6))
def test_any_rows_below_a_header_are_accounted_for(
    files: list[tuple[list[list[str]], str, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("any")
    header = ["order_id", "customer_id", "sku", "quantity"]
    with opened(place / "source", place / "home") as bronze:
        for number, (found, separator, is_quoted) in enumerate(files):
            content = csv_text(header, found, separator)
            if not is_quoted:
                content = content.replace('"', "")
            bronze.write({f"{number}.csv": content})
        with suppress(NoUsableRows):
            bronze.load()
            bronze.assert_sound()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), at=st.integers(0, 400))
def test_any_mapping_is_used_or_refused(content: bytes, at: int, tmp_path: Path) -> None:
    whole = originals()["mapped", "yaml"]
    (tmp_path / "source.yaml").write_bytes(whole[:at] + content + whole[at + len(content) // 2 :])
    with suppress(BadMapping):
        assert layouts_for(tmp_path)
