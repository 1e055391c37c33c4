"""Source files that somebody or something has damaged: generated files, mutated by a seed.

``python -m clustering_assets_tests.sources.mutations SEED FOLDER`` writes the file of a seed, to look at it.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from clustering_assets.synthetic import FORMATS, LAYOUTS, generate, write

MARK = "zqxj"
"""Part of every customer id, and of nothing else: where it turns up, a cell was shown."""

_TOKENS = (
    *(
        b"\0",
        b'"',
        b"'",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x1a",
        b"\x0b",
        b"\xa0",
        b"\\",
        b";",
        b"\t",
        b"|",
        b",,,,",
        b"\0" * 64,
    ),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\xc3", b"\xff\xff\xff\xff", "😀é\u202e".encode()),
    *(b"\0" * 64, b'"""', b'",\n"', b"=1+1", b"#", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"<![CDATA[", b"&#0;"),
)
_VALUES = (
    *("", " ", "nan", "inf", "-inf", "1e308", "-1e309", "1e-400", "9223372036854775808", "-0", "0x1F", "1_000"),
    *("1,234,567.89", "1.2.3", "--5", "١٢٣", "½", "10%", "$5", "NULL", "true", "1e5", "99999999999999999999999999"),
    *("0000-00-00", "9999-99-99", "2024-02-30", "292278994-08-17", "-4713-11-24", "infinity", "epoch", "1900-01-01"),
    *("2024-01-01T00:00:00+99:99", "31/12/2024", "12/31/99 11:59 PM", "20240101", "44927", "2024-W01", "24:00"),
    *("'; drop table bronze.order_lines; --", "{}", "[1,2]", "C1", "POST", "a" * 5000, "\u202eabc", "a\u0300" * 40),
)


@dataclass(frozen=True)
class Mutant:
    """A damaged file; ``how`` says in words what was done to it."""

    name: str
    content: bytes
    how: str


@cache
def originals() -> dict[tuple[str, str], bytes]:
    """Undamaged files by layout and format, with a marked customer in every row."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for layout in LAYOUTS:
            for number, file_format in enumerate(FORMATS):
                orders = generate(12, 60, seed=number)
                written = write(orders, Path(place), layout, file_format, dirty_share=0.1)
                found[layout, file_format] = _marked(written.files[0].read_bytes(), file_format)
        mapping = Path(place, "source.yaml").read_bytes()
    return {**found, ("mapped", "yaml"): mapping}


def _marked(content: bytes, file_format: str) -> bytes:
    if file_format == "csv.gz":
        return gzip.compress(_marked(gzip.decompress(content), "csv"), mtime=0)
    if file_format == "csv":
        return content.replace(b"@", f".{MARK}@".encode())
    if file_format == "xlsx":
        return _repacked({name: _marked(part, "csv") for name, part in _parts(content).items()})
    table = pq.read_table(io.BytesIO(content))
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema[place].type):
            texts = [text and text.replace("@", f".{MARK}@") for text in table.column(place).to_pylist()]
            table = table.set_column(place, name, pa.array(texts, pa.string()))
    return _parquet(table)


def mutant(seed: int, instead: dict[str, bytes] | None = None) -> Mutant:
    """Make the damaged file of a seed: layouts and formats take turns, the damage is drawn.

    ``instead`` are other files than the generated ones, by format.
    """
    random = Random(seed)  # noqa: S311
    whole = {("other", name): file for name, file in instead.items()} if instead else originals()
    known = [key for key in sorted(whole) if key[1] != "yaml"]
    layout, file_format = known[seed % len(known)]
    content, said = whole[layout, file_format], []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        mutation = random.choice((*_OF_BYTES, *_OF_FORMAT[file_format], *_OF_FORMAT[file_format]))
        said.append(mutation.__name__.strip("_"))
        try:
            content = mutation(content, random)
        except Exception as error:  # the damage before it was too great
            said[-1] += f" was not possible any more ({type(error).__name__})"
    ending = file_format
    if random.random() < 0.03:
        ending = random.choice(FORMATS)
        said.append(f"called .{ending}")
    return Mutant(f"m{seed:06d}_{layout}.{ending}", content, f"{layout}.{file_format}: {', '.join(said)}")


# -------------------------------------------------------------------------------------------------------------- bytes


def _flip_bits(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 3, 10, 100))):
        if damaged:
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _behead(content: bytes, random: Random) -> bytes:
    return content[random.randrange(min(len(content), 2000) + 1) :]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 7, 100, 5000)))


def _cut_out(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + content[end:]


def _repeat_block(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:end] + content[start:end] * random.choice((1, 2, 50)) + content[end:]


def _blank_block(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + bytes([random.choice((0, 255, 32, 10))]) * (end - start) + content[end:]


def _insert_tokens(content: bytes, random: Random) -> bytes:
    for _ in range(random.choice((1, 1, 2, 20))):
        place = random.choice((0, len(content), random.randrange(len(content) + 1)))
        content = content[:place] + random.choice(_TOKENS) + content[place:]
    return content


def _insert_noise(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(random.choice((1, 50, 3000))) + content[place:]


def _join_another(content: bytes, random: Random) -> bytes:
    return content + originals()[random.choice(sorted(originals()))]


# --------------------------------------------------------------------------------------------------------------- text


def _rows(text: bytes) -> tuple[bytes, list[list[bytes]]]:
    separator = max((b",", b";", b"\t", b"|"), key=text.split(b"\n", 1)[0].count)
    return separator, [line.split(separator) for line in text.split(b"\n")]


def _joined(separator: bytes, rows: Sequence[Sequence[bytes]]) -> bytes:
    return b"\n".join(separator.join(row) for row in rows)


def _change_columns(text: bytes, random: Random) -> bytes:
    separator, rows = _rows(text)
    width = len(rows[0])
    one, other = random.randrange(width), random.randrange(width)
    order = list(range(width))
    how = random.randrange(6)
    if how == 0:
        order[one], order[other] = order[other], order[one]
    elif how == 1:
        order.append(one)
    elif how == 2:
        order.remove(one)
    elif how == 3:
        order = order * 150
    only_the_header = random.random() < 0.4
    changed = [
        [row[place] if place < len(row) else b"" for place in order] if number == 0 or not only_the_header else row
        for number, row in enumerate(rows)
    ]
    if how == 4:
        changed[0][one] = random.choice(_TOKENS) + changed[0][one].swapcase() + b" "
    if how == 5:
        changed = changed[1:]
    return _joined(separator, changed)


def _absurd_values(text: bytes, random: Random) -> bytes:
    separator, rows = _rows(text)
    column = random.randrange(len(rows[0]))
    for row in rows[1:]:
        if random.random() < 0.5:
            place = column if random.random() < 0.7 else random.randrange(len(row))
            if place < len(row):
                row[place] = random.choice(_VALUES).encode()
    return _joined(separator, rows)


def _ragged(text: bytes, random: Random) -> bytes:
    separator, rows = _rows(text)
    for _ in range(random.choice((1, 5, 30))):
        row = random.choice(rows)
        if random.random() < 0.5:
            del row[random.randrange(len(row) + 1) :]
        else:
            row += [b"more"] * random.choice((1, 3, 400))
    return _joined(separator, rows)


def _quotes(text: bytes, random: Random) -> bytes:
    separator, rows = _rows(text)
    for _ in range(random.choice((1, 2, 10))):
        row = random.choice(rows)
        if row:
            place = random.randrange(len(row))
            value = row[place]
            row[place] = random.choice(
                (b'"' + value, value + b'"', b'"' + value + b'\n"', b'"a""' + value, b'""', b'"')
            )
    return _joined(separator, rows)


def _huge_field(text: bytes, random: Random) -> bytes:
    separator, rows = _rows(text)
    row = random.choice(rows)
    row[random.randrange(len(row))] = random.choice((b"x", b'"x\n,"', b"\xe4")) * random.choice((140_000, 2_100_000))
    return _joined(separator, rows)


def _line_ends(text: bytes, random: Random) -> bytes:
    ends = random.choice(((b"\r",), (b"\r\n",), (b"\n", b"\r\n"), (b"\n", b"\r", b"\r\n"), (b"\n\r",), (b"\n\n",)))
    return b"".join(line + random.choice(ends) for line in text.split(b"\n"))


def _mixed_encodings(text: bytes, random: Random) -> bytes:
    codecs = ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "cp437", "utf-8-sig", "utf-7")
    lines = text.decode("latin-1").split("\n")
    for _ in range(random.choice((1, 3))):
        place = random.randrange(len(lines))
        lines[place] = ("é€ß" + lines[place]).encode(random.choice(codecs), "replace").decode("latin-1")
    return "\n".join(lines).encode("latin-1")


def _other_encoding(text: bytes, random: Random) -> bytes:
    codecs = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500", "utf-7", "shift_jis", "utf-8-sig", "cp1251")
    encoded = text.decode("utf-8", "replace").replace("e", random.choice("eéя"), 40)
    return encoded.encode(random.choice(codecs), "replace")


def _other_separator(text: bytes, random: Random) -> bytes:
    old, new = _rows(text)[0], random.choice((b",", b";", b"\t", b"|", b":", b"\x01", b" ", b"||"))
    return text.replace(old, new, random.choice((-1, 3, 200)))


def _of_text(mutation: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    def of_packed(content: bytes, random: Random) -> bytes:
        return gzip.compress(mutation(gzip.decompress(content), random), 1, mtime=0)

    of_packed.__name__ = f"{mutation.__name__} before packing"
    return of_packed


def _gzip_oddity(content: bytes, random: Random) -> bytes:
    text = gzip.decompress(content)
    half = random.randrange(len(text) + 1)
    return random.choice(
        (
            lambda: gzip.compress(content, mtime=0),
            lambda: gzip.compress(text[:half], mtime=0) + gzip.compress(text[half:], mtime=0),
            lambda: gzip.compress(text[:half], mtime=0) + text[half:],
            lambda: content + b"\0" * random.choice((1, 512)),
            lambda: content[:3] + bytes([random.randrange(256)]) + content[4:],
            lambda: content[:-8] + random.randbytes(8),
            lambda: text,
            lambda: _repacked({"a.csv": text}),
        )
    )()


# ------------------------------------------------------------------------------------------------------------ Parquet


def _parquet(table: pa.Table, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def _footer(content: bytes, random: Random) -> bytes:
    """Only what is at the end: the metadata, their length, the magic bytes."""
    length = int.from_bytes(content[-8:-4], "little") + 8
    body, footer = content[:-length], content[-length:]
    how = random.randrange(4)
    if how == 0:
        claimed = random.choice((0, 1, 2**31 - 1, 2**32 - 1, length * 2))
        return content[:-8] + claimed.to_bytes(4, "little") + content[-4:]
    return body + (_flip_bits, _insert_noise, _blank_block)[how - 1](footer[:-8], random) + footer[-8:]


def _odd_types(content: bytes, random: Random) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    for _ in range(random.choice((1, 3))):
        place = random.randrange(table.num_columns)
        table = table.set_column(place, table.column_names[place], _odd_column(table.num_rows, random))
    return _parquet(table)


def _odd_column(rows: int, random: Random) -> pa.Array:
    numbers = range(rows)
    make = random.choice(
        (
            lambda: pa.nulls(rows),
            lambda: pa.array([None] * rows, pa.string()),
            lambda: pa.array([f"{i}.{MARK}@example.com".encode() + b"\xff" for i in numbers], pa.binary()),
            lambda: pa.array([{"a": MARK, "b": [i]} for i in numbers]),
            lambda: pa.array([[MARK] * (i % 3) for i in numbers]),
            lambda: pa.array([[float("nan"), float("inf"), -0.0, 1e308][i % 4] for i in numbers]),
            lambda: pa.array([2**64 - 1 - i for i in numbers], pa.uint64()),
            lambda: pa.array([date(1, 1, 1), date(9999, 12, 31)] * rows, pa.date32())[:rows],
            lambda: pa.array([2**62, -(2**62)] * rows, pa.timestamp("ns"))[:rows],
            lambda: pa.array([i % 2 == 0 for i in numbers]),
            lambda: pa.array([str(i) for i in numbers]).dictionary_encode(),
            lambda: pa.array(random.choices(_VALUES, k=rows)),
            lambda: pa.array([i * 1_000_000 for i in numbers], pa.time64("us")),
            lambda: pa.array(numbers, pa.duration("us")),
            lambda: pa.array([[(MARK, i)] for i in numbers], pa.map_(pa.string(), pa.int64())),
            lambda: pa.array([b"\0" * 16] * rows, pa.binary(16)),
            lambda: pa.array(numbers).cast(pa.decimal128(38, 10)),
            lambda: pa.array(["x" * 100_000] * rows),
        )
    )
    return make()


def _odd_schema(content: bytes, random: Random) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    order = list(range(table.num_columns))
    random.shuffle(order)
    how = random.randrange(5)
    if how == 0:
        table = table.select(order[1:])
    elif how == 1:
        table = table.select(order)
    elif how == 2:
        table = pa.Table.from_arrays([table.column(place) for place in order], [table.column_names[0]] * len(order))
    elif how == 3:
        names = [
            random.choice(('a"b', "", "c\0d", "e;--", name, name.upper(), name + " ")) for name in table.column_names
        ]
        table = table.rename_columns(names)
    else:
        table = pa.table({f"column {place}": table.column(0) for place in range(2000)})
    return _parquet(table.slice(0, random.choice((0, 1, table.num_rows))))


def _odd_pages(content: bytes, random: Random) -> bytes:
    return _parquet(
        pq.read_table(io.BytesIO(content)),
        row_group_size=random.choice((1, 7, 10**6)),
        compression=random.choice(("none", "snappy", "gzip", "brotli", "lz4", "zstd")),
        data_page_version=random.choice(("1.0", "2.0")),
        use_dictionary=random.random() < 0.5,
        data_page_size=random.choice((1, 100, 10**6)),
        version=random.choice(("1.0", "2.6")),
    )


# ---------------------------------------------------------------------------------------------------------- workbooks


def _parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return {name: package.read(name) for name in package.namelist()}


def _repacked(parts: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as package:
        for name, part in parts.items():
            package.writestr(zipfile.ZipInfo(name), part, compress_type=compression)
    return out.getvalue()


def _sheet(parts: dict[str, bytes]) -> str:
    return next(name for name in parts if name.startswith("xl/worksheets/sheet"))


def _zip_surgery(content: bytes, random: Random) -> bytes:
    parts = _parts(content)
    name = random.choice(sorted(parts))
    how = random.randrange(8)
    if how == 0:
        del parts[name]
    elif how == 1:
        parts[random.choice(("../../evil.xml", "/etc/passwd", name.upper(), "xl\\worksheets\\x"))] = parts.pop(name)
    elif how == 2:
        parts[name] = parts[random.choice(sorted(parts))]
    elif how == 3:
        parts[name] = b""
    elif how == 4:
        return _repacked(parts, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    elif how == 5:
        packed = bytearray(_repacked(parts))
        for place in [found.start() for found in re.finditer(rb"PK\x01\x02", packed)]:
            packed[place + 8] |= random.choice((1, 8, 64))
        return bytes(packed)
    elif how == 6:
        packed = bytearray(_repacked(parts))
        place = random.choice([found.start() for found in re.finditer(rb"PK\x01\x02", packed)])
        packed[place + 16 + random.randrange(30)] = random.choice((0, 255, random.randrange(256)))
        return bytes(packed)
    else:
        parts |= {f"xl/extra/{number}.xml": b"<a/>" for number in range(300)}
    return _repacked(parts)


def _xml_bytes(content: bytes, random: Random) -> bytes:
    """Damage that is in order for the zip file and is not for its XML."""
    parts = _parts(content)
    name = random.choice((_sheet(parts), _sheet(parts), *sorted(parts)))
    parts[name] = random.choice((_flip_bits, _truncate, _cut_out, _repeat_block, _insert_tokens))(parts[name], random)
    return _repacked(parts)


_XML = (
    (rb'<c r="[A-Z]+\d+"', rb'<c r="XFD1048576"'),
    (rb'<c r="[A-Z]+\d+"', rb'<c r="ZZZZZZZ99999999999"'),
    (rb'<c r="[A-Z]+\d+"', rb'<c r="A0"'),
    (rb'<c r="[A-Z]+\d+"', rb"<c"),
    (rb'<c r="[A-Z]+\d+"', rb'<c r=""'),
    (rb'<row r="\d+"', rb'<row r="4294967296"'),
    (rb'<row r="\d+"', rb'<row r="-1"'),
    (rb'<row r="\d+"', rb"<row"),
    (rb'<dimension ref="[^"]*"', rb'<dimension ref="A1:XFD1048576"'),
    (rb'<dimension ref="[^"]*"', rb'<dimension ref="B9:A1"'),
    (rb"<v>[^<]*</v>", rb"<v>99999999</v>"),
    (rb"<v>[^<]*</v>", rb"<v>1e400</v>"),
    (rb"<v>[^<]*</v>", rb"<v>NaN</v>"),
    (rb"<v>[^<]*</v>", rb"<v></v>"),
    (rb"<v>[^<]*</v>", rb"<f>1+1</f><v>#REF!</v>"),
    (rb't="s"', rb't="e"'),
    (rb't="s"', rb't="b"'),
    (rb't="s"', rb't="inlineStr"'),
    (rb't="s"', rb't="d"'),
    (rb't="s"', rb't="?"'),
    (rb' s="\d+"', rb' s="4294967296"'),
    (rb"<sheetData>", rb"<sheetData><sheetData>"),
    (rb"</row>", rb""),
    (rb"<worksheet", rb'<!DOCTYPE x [<!ENTITY a "zqxj"><!ENTITY b "&a;&a;&a;">]><worksheet'),
)


def _xml_values(content: bytes, random: Random) -> bytes:
    parts = _parts(content)
    pattern, replacement = random.choice(_XML)
    # one of the first places: where columns and types are guessed
    before, found, after = _split_at(parts[_sheet(parts)], pattern, random)
    count = random.choice((0, 0, 1, 5))
    parts[_sheet(parts)] = before + (re.sub(pattern, replacement, found + after, count=count) if found else after)
    return _repacked(parts)


def _split_at(text: bytes, pattern: bytes, random: Random) -> tuple[bytes, bytes, bytes]:
    matches = list(re.finditer(pattern, text))
    if not matches:
        raise ValueError("nothing to replace")
    match = random.choice(matches)
    return text[: match.start()], match.group(), text[match.end() :]


_OF_BYTES = (
    *(
        _flip_bits,
        _truncate,
        _behead,
        _cut_out,
        _repeat_block,
        _blank_block,
        _insert_tokens,
        _insert_noise,
        _join_another,
    ),
)
_OF_TEXT = (
    *(_change_columns, _absurd_values, _ragged, _quotes, _huge_field, _line_ends, _mixed_encodings, _other_encoding),
    *(_other_separator, _insert_tokens),
)
_OF_FORMAT: dict[str, tuple[Callable[[bytes, Random], bytes], ...]] = {
    "csv": _OF_TEXT,
    "csv.gz": (*map(_of_text, _OF_TEXT), _gzip_oddity, _gzip_oddity, _gzip_oddity),
    "parquet": (_footer, _footer, _odd_types, _odd_types, _odd_schema, _odd_pages),
    "xlsx": (_zip_surgery, _zip_surgery, _xml_bytes, _xml_bytes, _xml_values, _xml_values),
}


if __name__ == "__main__":
    made = mutant(int(sys.argv[1]))
    Path(sys.argv[2], made.name).write_bytes(made.content)
    print(made.name, made.how)
