"""Lines of COPY TO against lines formatted by plain Python, for any columns, signs and NULLs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.types import INT8, TEXT
from tsdb.wire.copy_out import CopyEncoder, CopyFormat

TEXTS = (
    st.none() | st.text(st.sampled_from('a5-,;"\\.\t\n\r\b\vNé|'), max_size=4) | st.sampled_from(["\\.", "", "NULL"])
)
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)
ESCAPES = {"\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r"}


def lines(octets: bytes) -> list[str]:
    """What CopyData messages hold, one line each."""
    found = []
    while octets:
        size = int.from_bytes(octets[1:5], "big") + 1
        assert octets[:1] == b"d"
        found.append(octets[5:size].decode())
        octets = octets[size:]
    return found


def text_line(row: tuple[Any, ...], how: CopyFormat) -> str:
    """COPY's text format (PostgreSQL 15 manual, COPY, File Formats)."""
    signs = {how.delimiter: "\\" + how.delimiter, **ESCAPES}
    shown = [how.null if v is None else "".join(signs.get(c, c) for c in str(v)) for v in row]
    return how.delimiter.join(shown) + "\n"


def csv_line(row: tuple[Any, ...], how: CopyFormat) -> str:
    shown = []
    for i, value in enumerate(row):
        text = how.null if value is None else str(value)
        marked = text == how.null or (len(row) == 1 and text == "\\.")
        marked |= any(c in text for c in (how.delimiter, how.quote, "\n", "\r"))
        if value is not None and (marked or (how.force_quote and how.force_quote[i])):
            inner = "".join(how.escape + c if c in (how.quote, how.escape) else c for c in text)
            text = how.quote + inner + how.quote
        shown.append(text)
    return how.delimiter.join(shown) + "\n"


@st.composite
def formats(draw: st.DrawFn, columns: int) -> CopyFormat:
    if draw(st.booleans()):
        return CopyFormat("text", draw(st.sampled_from("\t-|,")), draw(st.sampled_from(["\\N", "", "5", "-1"])))
    delimiter = draw(st.sampled_from(",;5-"))
    quote = draw(st.sampled_from("\"'1"))
    forced = tuple(draw(st.lists(st.booleans(), min_size=columns, max_size=columns)))
    null = draw(
        st.sampled_from(["", "NULL", "7", "-"]).filter(lambda text: delimiter not in text and quote not in text)
    )
    return CopyFormat(
        "csv", delimiter, null, quote=quote, escape=draw(st.sampled_from([quote, "\\"])), force_quote=forced
    )


@given(st.data(), st.integers(1, 4))
@settings(deadline=None, max_examples=400)
def test_lines_are_those_of_plain_python(data: st.DataObject, count: int) -> None:
    how = data.draw(formats(count))
    kinds = data.draw(st.lists(st.sampled_from(["number", "text", "tag"]), min_size=count, max_size=count))
    items = st.tuples(*(NUMBERS if kind == "number" else TEXTS for kind in kinds))
    runs = data.draw(st.lists(st.tuples(items, st.integers(1, 3)), min_size=1, max_size=8))
    rows = [row for row, times in runs for _ in range(times)]
    arrays = []
    for kind, values in zip(kinds, zip(*rows, strict=True), strict=True):
        array = pa.array(values, pa.int64() if kind == "number" else pa.string())
        arrays.append(array.dictionary_encode() if kind == "tag" else array)
    names = [str(i) for i in range(count)]
    types = [INT8 if kind == "number" else TEXT for kind in kinds]
    encoder = CopyEncoder(list(zip(names, types, strict=True)), how)
    found = lines(b"".join(encoder.encode_chunks(pa.RecordBatch.from_arrays(arrays, names))))
    assert found == [(text_line if how.format == "text" else csv_line)(row, how) for row in rows]
