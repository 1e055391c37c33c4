"""The committed sample is what its README says."""

from __future__ import annotations

import gzip
import hashlib
import shlex
from pathlib import Path

import pytest

from clustering_assets.synthetic.__main__ import main

DATA = Path(__file__).parents[2] / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in sorted(folder.glob("*.csv.gz"))
    }


def test_the_command_in_the_readme_makes_the_sample_and_what_it_says_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = next(line for line in README.splitlines() if line.startswith("python -m clustering_assets.synthetic"))
    arguments = shlex.split(command)[3:]
    arguments[arguments.index("--out") + 1] = str(tmp_path / "data")
    main([*arguments, "--truth", str(tmp_path / "truth.csv")])

    assert len(contents(DATA)) == 3
    assert contents(DATA) == contents(tmp_path / "data")
    kinds = [line.split(",")[1] for line in (tmp_path / "truth.csv").read_text().splitlines()[1:]]
    for kind in set(kinds):
        assert f"| {kind} | {kinds.count(kind)} |" in README
    dirt = [line.split(",")[1] for line in (tmp_path / "truth_dirt.csv").read_text().splitlines()[1:]]
    assert set(dirt) == {"86"}
    assert "121,118 rows: 120,430 kept, 430 rejected, 172 superseded, 86 merged" in capsys.readouterr().out
    assert "121,118 rows are 120,430 lines kept, 430 rows rejected, 172 superseded and 86 merged" in README


def test_the_sample_stays_under_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000


@pytest.mark.parametrize(
    "arguments",
    [["--lines", "100"], ["--mix", "nobody=1"], ["--mix", "high_value"], ["--layout", "sap"], ["--dirty-share", "2"]],
)
def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path)])
    assert "error:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
