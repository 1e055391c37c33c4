"""What a file would cost to read, found out before it is read.

A small file can ask for any amount of memory: by what it expands to, by one cell in the last corner of a sheet, by rows
that are not those of its header.
"""

from __future__ import annotations

import csv
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from errno import EINVAL
from functools import reduce
from io import TextIOWrapper
from lzma import LZMAError
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import numpy.typing as npt

from clustering_assets.sources.files import UnusableFile, in_short, too_large

MAX_CELLS = 50_000_000
"""Cells of the rectangle that a sheet takes, empty ones included: each takes up to 64 bytes while it is read."""

MAX_MEMBERS = 10_000
"""Files inside a workbook."""

MAX_REJECTS = 1_000_000_000
"""Bytes that the CSV reader may note about rows that are none."""

LONGEST_ROW = 2_000_000
"""Bytes; a longer row is one that cannot be parsed, whatever is in it."""

LONGEST_LINE = 16_000_000
"""Bytes; the reader passes over a line that does not fit into its buffer of 32 MB and says nothing."""

_NOTE = 1_000
_DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, RuntimeError, ValueError)
"""What a zip file may raise; of an OSError, that it seeks before the beginning, or what bzip2 says, without a number.
What is encrypted is a RuntimeError."""

_CHUNK = 1 << 20
_OVERLAP = 64
_PLAIN = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz'\t\r\n", b'ABCDEFGHIJKLMNOPQRSTUVWXYZ"   ')
_COLUMNS, _ROWS = re.compile(rb' R="([A-Z]{1,8})'), re.compile(rb' R="[A-Z]*([0-9]{1,18})')
_SPACED = re.compile(rb" R *= *")


# ----------------------------------------------------------------------------------------------------------- workbooks


def check_workbook(path: Path, max_expanded: int) -> None:
    """Refuse a workbook that expands to too much, or has a cell so far out that its sheet would not fit into memory.

    Raises
    ------
    UnusableFile
        Also if it is damaged: every part is expanded and its checksum compared.
    """
    expanded = 0
    try:
        with zipfile.ZipFile(path) as package:
            members = package.infolist()
            if len(members) > MAX_MEMBERS:
                raise UnusableFile(f"is a workbook of {len(members):,} parts, which none is: export it again")
            for member in members:
                member.file_size = sys.maxsize  # what it says is not what it is: expand to the end
                last_row = last_column = 0
                with package.open(member) as part:
                    for chunk in _overlapping(part):
                        expanded += len(chunk) - _OVERLAP
                        if expanded > max_expanded:
                            raise too_large(max_expanded)
                        chunk = chunk.translate(_PLAIN)
                        if b"<!DOCTYPE" in chunk or b"<!ENTITY" in chunk:
                            raise UnusableFile("is a workbook that declares entities, as none does: export it again")
                        if b" R " in chunk or b" R= " in chunk:
                            chunk = _SPACED.sub(b" R=", chunk)
                        last_column = max(last_column, *map(_column, {b"", *_COLUMNS.findall(chunk)}))
                        last_row = max(last_row, *map(int, {b"0", *_ROWS.findall(chunk)}))
                if last_row * last_column > MAX_CELLS:
                    raise UnusableFile(
                        f"has a sheet with {last_row:,} rows and {last_column:,} columns, most of them surely empty: "
                        "delete what is beyond the table, or export it as CSV"
                    )
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (EINVAL, None):
            raise
        raise UnusableFile(f"is a damaged workbook ({in_short(error)}): export or copy it again") from error


def _overlapping(part: IO[bytes]) -> Iterator[bytes]:
    """Chunks that each begin with the end of the one before, so that nothing hides between two."""
    end = b" " * _OVERLAP
    while chunk := part.read(_CHUNK):
        yield end + chunk
        end = (end + chunk)[-_OVERLAP:]


def _column(letters: bytes) -> int:
    return reduce(lambda number, letter: number * 26 + letter - 64, letters.upper(), 0)


# ---------------------------------------------------------------------------------------------------------------- CSV


def check_rows(stream: BinaryIO, separator: str, width: int) -> int:
    """Refuse a CSV file in UTF-8 whose rows with too few or too many fields the reader could not note in memory.

    It notes the whole row once per missing or superfluous field. First the lines are counted, which is fast and takes
    quoted separators for fields; only if that is too much, the rows are.

    Returns
    -------
    int
        Lines that are not blank.

    Raises
    ------
    UnusableFile
        If there are too many.
    """
    lines, noted = _by_line(stream, separator, width)
    if noted <= MAX_REJECTS:
        return lines
    stream.seek(0)
    if _by_row(stream, separator, width) > MAX_REJECTS:
        raise UnusableFile(
            f"has too many rows that have not the {width:,} fields of its header: check its separator and quotes, and "
            "export it again"
        )
    return lines


def _by_line(stream: BinaryIO, separator: str, width: int) -> tuple[int, int]:
    lines = noted = open_fields = open_length = 0  # of the line that the chunk before ended in
    while chunk := stream.read(_CHUNK):
        codes = np.frombuffer(chunk, np.uint8)
        starts = np.concatenate([[0], np.flatnonzero((codes == ord("\n")) | (codes == ord("\r")))])
        separators = np.add.reduceat(codes == ord(separator), starts, dtype=np.int64)
        lengths = np.diff(starts, append=len(codes))
        separators[0] += open_fields
        lengths[0] += open_length
        if lengths.max() > LONGEST_LINE:
            raise UnusableFile(
                f"has a line of more than {LONGEST_LINE / 1e6:,.0f} MB, which would be lost without a trace: check its "
                "line ends, and export it again"
            )
        open_fields, open_length = int(separators[-1]), int(lengths[-1])
        lines += int(np.count_nonzero(lengths[:-1] > 1))
        noted += _noted(separators[:-1], lengths[:-1], width)
    return lines + (open_length > 1), noted + _noted(np.array([open_fields]), np.array([open_length]), width)


def _noted(separators: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], width: int) -> int:
    notes = np.where(lengths > 1, np.abs(separators + 1 - width), 0)  # a blank line is no row
    return int((notes * (np.minimum(lengths, LONGEST_ROW) + _NOTE)).sum())


def _by_row(stream: BinaryIO, separator: str, width: int) -> int:
    text = TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    noted = 0
    rows = csv.reader(iter(lambda: text.readline(LONGEST_ROW), ""), delimiter=separator)
    while noted <= MAX_REJECTS:
        try:
            row = next(rows, None)
        except csv.Error:  # a field that is too long is noted once
            continue
        if row is None:
            break
        if row:
            noted += abs(len(row) - width) * (sum(map(len, row)) + len(row) + _NOTE)
    text.detach()
    return noted
