"""A source folder as it comes: good files, and beside them one of each kind of bad file."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

GOOD = "order_id,customer_id,sku,order_date,quantity,line_value,return_quantity\n" + "".join(
    f"G{i},ann{i % 7}@example.com,S{i % 5},2024-01-{1 + i % 28:02d},2,{10 + i}.5,{i % 3 % 2}\n" for i in range(50)
)
HEADER = "order_id,customer_id,sku,order_date,quantity,line_value,return_quantity\n"

LOADED = {
    "good.csv": 50,
    "latin_1.csv": 3,
    "semicolon.csv": 3,
    "crlf_and_quotes.csv": 3,
    "utf_16.csv": 3,
    "utf_16_big_endian.csv": 3,
    "wide.csv": 2,
}
"""Files that load, and their rows."""

UNUSABLE = {
    "empty.csv": "is empty",
    "header_only.csv": "has a header and no rows",
    "unknown_layout.csv": "has no known layout",
    "missing_column.csv": "lacks the required column sku",
    "wide_unknown.csv": "columns: 3,000, known of them: none",
    "truncated.csv.gz": "truncated gzip",
    "not_gzip.csv.gz": "no intact gzip",
    "binary.csv": "is no text",
    "no_workbook.xlsx": "is called .xlsx but is no such file",
    "damaged.xlsx": "damaged workbook",
    "no_parquet.parquet": "is called .parquet but is no such file",
    "damaged.parquet": "damaged Parquet file",
    "leads_nowhere.csv": "cannot be read",
    "outside.csv": "outside the source folder",
    "pipe.csv": "is no regular file",
}
"""Files that do not load, and what their reason has to say."""

DUPLICATES = {"same_content.csv": "has the same content as good.csv"}


def _lines(prefix: str, count: int = 3) -> list[list[str]]:
    return [[f"{prefix}{i}", f"bob{i}@example.com", f"S{i}", "2024-02-01", "1", "9.5", "0"] for i in range(count)]


def _csv(rows: list[list[str]], separator: str = ",", newline: str = "\n") -> str:
    return "".join(separator.join(row) + newline for row in rows)


def write(folder: Path) -> None:
    """Fill a folder with the files of ``LOADED``, ``UNUSABLE`` and ``DUPLICATES``."""
    names = HEADER.strip().split(",")
    text = {
        "good.csv": GOOD,
        "same_content.csv": GOOD,
        "empty.csv": "",
        "header_only.csv": HEADER,
        "unknown_layout.csv": "colour,weight\nred,3\n",
        "missing_column.csv": HEADER.replace(",sku,", ",") + "O1,x@example.com,2024-01-01,1,1,0\n",
        "wide.csv": _csv([names + [f"extra {i}" for i in range(2993)]])
        + _csv([row + ["x"] * 2993 for row in _lines("W", 2)]),
        "wide_unknown.csv": _csv([[f"column {i}" for i in range(3000)], ["1"] * 3000]),
        "semicolon.csv": _csv([names, *[[*row[:5], "1.009,50", row[6]] for row in _lines("D")]], ";"),
    }
    for name, content in text.items():
        (folder / name).write_text(content, newline="")
    (folder / "crlf_and_quotes.csv").write_bytes(
        _csv([names, *[['"C""' + row[0] + '\r\nline"', *row[1:]] for row in _lines("C")]], newline="\r\n").encode()
    )
    umlauts = _csv([names, *[[*row[:2], f"Größe {row[2]}", *row[3:]] for row in _lines("L")]])
    (folder / "latin_1.csv").write_bytes(umlauts.encode("latin-1"))
    (folder / "utf_16.csv").write_bytes(umlauts.replace("L", "U").encode("utf-16"))
    (folder / "utf_16_big_endian.csv").write_bytes(b"\xfe\xff" + umlauts.replace("L", "B").encode("utf-16-be"))
    packed = gzip.compress(_csv([names, *_lines("T", 5000)]).encode())
    (folder / "truncated.csv.gz").write_bytes(packed[: len(packed) * 2 // 3])
    (folder / "not_gzip.csv.gz").write_text(GOOD + "x")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "no_workbook.xlsx").write_text("no workbook")
    (folder / "damaged.xlsx").write_bytes(b"PK\x03\x04" + b"\x07" * 5000)
    (folder / "no_parquet.parquet").write_text("no parquet")
    (folder / "damaged.parquet").write_bytes(b"PAR1" + b"\x07" * 5000)
    (folder / "leads_nowhere.csv").symlink_to(folder / "not_there.csv")
    (folder / "outside.csv").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.csv")
    (folder / "notes.txt").write_text("no data")
    (folder / ".hidden.csv").write_text("no data")
