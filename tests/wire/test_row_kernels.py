"""DataRows by the kernels against rows formatted by plain Python: any mix of columns, any slice, any size of pieces."""

from __future__ import annotations

import datetime as dt
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.columns import split_rows
from tsdb.types import FLOAT8, INT2, INT4, INT8, JSONB, TEXT, TIMESTAMPTZ, SqlType
from tsdb.wire.rows import RowEncoder

EPOCH = dt.datetime(1970, 1, 1)
Column = tuple[SqlType, int, Any, list[bytes | None]]


def integer(value: int) -> bytes:
    return b"%d" % value


def timestamptz(us: int) -> bytes:
    if us in (2**63 - 1, -(2**63)):
        return b"infinity" if us > 0 else b"-infinity"
    moment = EPOCH + dt.timedelta(microseconds=us)
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    return f"{moment.year:04}-{moment:%m-%d %H:%M:%S}{fraction}+00".encode()


def float8(value: float) -> bytes:
    """The digits of repr, laid out as C's %g does with 15."""
    if not math.isfinite(value):
        return b"NaN" if value != value else b"Infinity" if value > 0 else b"-Infinity"
    digits, _, shift = repr(abs(value)).partition("e")
    whole, _, rest = digits.partition(".")
    figures = (whole + rest).lstrip("0").rstrip("0") or "0"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0".encode()
    # Of the first figure.
    power = int(shift or 0) + (len(whole) - 1 if whole != "0" else -1 - (len(rest) - len(rest.lstrip("0"))))
    if power < -4 or power >= 15:
        dot = "." if len(figures) > 1 else ""
        return f"{sign}{figures[0]}{dot}{figures[1:]}e{'-' if power < 0 else '+'}{abs(power):02}".encode()
    if power < 0:
        return f"{sign}0.{'0' * (-1 - power)}{figures}".encode()
    figures = figures.ljust(power + 1, "0")
    dot = "." if len(figures) > power + 1 else ""
    return f"{sign}{figures[: power + 1]}{dot}{figures[power + 1 :]}".encode()


MOST_US = int((dt.datetime(9999, 12, 31) - EPOCH).total_seconds()) * 10**6
LEAST_US = int((dt.datetime(1, 1, 1) - EPOCH).total_seconds()) * 10**6
INT8S = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 9, 10, 99, 9999, 10_000, 10**8 - 1, 10**8, 10**16])
TIMES = (
    st.integers(LEAST_US, MOST_US)
    | st.integers(-5, 5).map(lambda s: s * 86_400_000_000 - 1)
    | st.sampled_from([2**63 - 1, -(2**63), 0, -1, 999_999, 1_451_606_400_000_000])
)
# Not those whose shortest decimal lies on the border of what reads as the value: there repr and PostgreSQL differ.
FLOATS = (
    st.builds(lambda n, e: n / 10**e, st.integers(-(10**15), 10**15), st.integers(0, 12))
    | st.sampled_from(
        [0.0, -0.0, math.nan, math.inf, -math.inf, 1e15, 1e-5, 0.0001, 123456789012345.6, 2.5e-300, 1e300]
    )
    | st.integers(-(10**9), 10**9).map(float)
)
WORDS = st.sampled_from(["", "a", "host_17", "é", "日本語", "x" * 15, "y" * 16, "z" * 17, "\\N", "0" * 200])


def values(item: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """With runs, as rows that are sorted by tag set have them."""
    runs = st.lists(st.tuples(st.none() | item, st.integers(1, 4)), min_size=1, max_size=12)
    return runs.map(lambda found: [value for value, times in found for _ in range(times)])


def filled(found: list[Any], rows: int) -> list[Any]:
    return (found * rows)[:rows]


def shown(found: list[Any], form: Callable[[Any], bytes]) -> list[bytes | None]:
    return [None if value is None else form(value) for value in found]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Column:
    """A column's type, format, array and expected values."""
    kind = draw(
        st.sampled_from(["int8", "int4", "int2", "time", "float", "text", "tag", "tag", "tag", "json", "binary"])
    )
    if kind in ("text", "tag", "json"):
        found = filled(draw(values(WORDS)), rows)
        array = pa.array(found, pa.string())
        if kind == "tag":
            array = array.dictionary_encode()
        texts = shown(found, str.encode)
        if kind == "json":
            return JSONB, 1, array, [None if text is None else b"\1" + text for text in texts]
        return TEXT, draw(st.integers(0, 1)), array, texts
    if kind == "time":
        found = filled(draw(values(TIMES)), rows)
        return TIMESTAMPTZ, 0, pa.array(found, pa.int64()).cast(TIMESTAMPTZ.arrow), shown(found, timestamptz)
    if kind == "float":
        found = filled(draw(values(FLOATS)), rows)
        return FLOAT8, 0, pa.array(found, pa.float64()), shown(found, float8)
    if kind == "binary":
        found = filled(draw(values(INT8S)), rows)
        return INT8, 1, pa.array(found, pa.int64()), shown(found, struct.Struct(">q").pack)
    type_, limit = {"int8": (INT8, 2**63), "int4": (INT4, 2**31), "int2": (INT2, 2**15)}[kind]
    found = filled(draw(values(INT8S.filter(lambda n: -limit <= n < limit))), rows)
    return type_, 0, pa.array(found, type_.arrow), shown(found, integer)


@st.composite
def results(draw: st.DrawFn) -> list[Column]:
    rows = draw(st.integers(1, 40))
    return draw(st.lists(columns(rows), max_size=9))


@given(results(), st.integers(0, 12), st.sampled_from([1, 7, 64, 300, 1 << 19]))
@settings(deadline=None, max_examples=300)
def test_rows_are_those_of_plain_python(found: list[Column], start: int, piece_bytes: int) -> None:
    if not found:
        return
    batch = pa.RecordBatch.from_arrays([array for _, _, array, _ in found], [str(i) for i in range(len(found))])
    encoder = RowEncoder([(kind, code) for kind, code, _, _ in found], piece_bytes=piece_bytes)
    expected = [list(row) for row in zip(*(texts for _, _, _, texts in found), strict=True)][start:]
    for _ in range(2):  # what an encoder keeps of a batch is no other's
        pieces = list(encoder.encode_chunks(batch.slice(start)))
        assert all(len(piece) <= piece_bytes or len(split_rows(piece)) == 1 for piece in pieces)
        assert split_rows(b"".join(pieces)) == expected
        other = batch.slice(0, 1)
        assert split_rows(encoder.encode(other)) == [[texts[0] for _, _, _, texts in found]]


def test_a_dictionary_that_comes_where_another_was_is_not_mistaken_for_it() -> None:
    encoder = RowEncoder([(TEXT, 0)])
    for number in range(200):
        texts = [f"v{number}", f"w{number}"]
        array = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1], pa.int32()), pa.array(texts))
        batch = pa.RecordBatch.from_arrays([array], ["v"])
        assert split_rows(encoder.encode(batch)) == [[texts[i].encode()] for i in (0, 1, 1)]


@pytest.mark.nightly
def test_no_kernel_reads_or_writes_beyond_an_array() -> None:
    """The same tests with checked bounds, whose kernels are compiled and cached apart."""
    here = [sys.executable, "-m", "pytest", "-q", __file__, "tests/wire/test_rows.py"]
    subprocess.run(here, env={**os.environ, "TSDB_BOUNDSCHECK": "1"}, check=True, timeout=900)
