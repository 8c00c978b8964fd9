"""Texts come back in every format; input cut anywhere is the same input; garbage is an error and never a crash."""

from __future__ import annotations

import csv
import io
import itertools
import struct

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tsdb.errors import TsdbError
from tsdb.sql.copy.cut import Cutter
from tsdb.sql.copy.options import CopyOptions, resolve
from tsdb.types import TEXT
from tsdb.wire.copy_out import CopyEncoder, CopyFormat

Row = tuple[str | None, ...]

texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\\\"',;|\t\n\r.N"),
    max_size=12,
)
tables = st.lists(st.tuples(st.none() | texts, st.none() | texts, st.none() | texts), max_size=12)
cuts = st.lists(st.integers(0, 400), max_size=8)
signs = st.sampled_from(["\t", ",", ";", "|", "~", " "])


def cut(options: CopyOptions, data: bytes, at: list[int], columns: int = 3) -> tuple[list[Row], str | None]:
    """The rows that the input is, fed in pieces, and what is wrong with it."""
    cutter = Cutter(options, [f"c{i}" for i in range(columns)])
    bounds = [0, *sorted(each for each in at if each < len(data)), len(data)]
    rows: list[Row] = []
    problem = None
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    for feed in [*(lambda piece=piece: cutter.feed(piece) for piece in pieces), cutter.finish]:
        for fields in feed():
            rows += [tuple(fields.text(i, row) for i in range(columns)) for row in range(fields.rows)]
            problem = problem or (str(fields.problem.error) if fields.problem is not None else None)
    return rows, problem


def encoded(options: CopyOptions, rows: list[Row]) -> bytes:
    """What COPY TO sends for the rows, without the messages around it."""
    how = CopyFormat(options.format, options.delimiter, options.null, False, options.quote, options.escape)
    encoder = CopyEncoder([(f"c{i}", TEXT) for i in range(3)], how)
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(3)]
    sent = b"".join(encoder.encode_chunks(pa.RecordBatch.from_arrays(columns, ["a", "b", "c"]))) + encoder.finish()
    data = b""
    at = 0
    while at < len(sent):
        assert sent[at : at + 1] == b"d"
        (length,) = struct.unpack_from("!i", sent, at + 1)
        data += sent[at + 5 : at + 1 + length]
        at += 1 + length
    return data


@given(tables, cuts, signs)
def test_text_comes_back(rows: list[Row], at: list[int], delimiter: str) -> None:
    options = resolve({"delimiter": delimiter}, incoming=True)
    assert cut(options, encoded(options, rows), at) == (rows, None)


@given(tables, cuts, signs, st.sampled_from("\"'$"), st.sampled_from("\"'\\"), st.sampled_from(["", "nil", "\\N"]))
def test_csv_comes_back(rows: list[Row], at: list[int], delimiter: str, quote: str, escape: str, null: str) -> None:
    given_options = {"format": "csv", "delimiter": delimiter, "quote": quote, "escape": escape, "null": null}
    options = resolve(given_options, incoming=True)
    assert cut(options, encoded(options, rows), at) == (rows, None)


@given(tables, cuts)
def test_binary_comes_back(rows: list[Row], at: list[int]) -> None:
    options = resolve({"format": "binary"}, incoming=True)
    assert cut(options, encoded(options, rows), at) == (rows, None)


@given(st.lists(st.lists(texts, min_size=3, max_size=3), max_size=12), cuts)
def test_what_pythons_csv_writes_is_read(rows: list[list[str]], at: list[int]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    options = resolve({"format": "csv"}, incoming=True)
    assert cut(options, out.getvalue().encode(), at) == ([tuple(row) for row in rows], None)


@given(
    st.binary(max_size=60) | st.text("ab\\.\n\r\t,\"'N1x", max_size=40).map(str.encode),
    cuts,
    st.sampled_from(["text", "csv", "binary"]),
)
def test_any_bytes_give_the_same_rows_and_error_however_they_are_cut(data: bytes, at: list[int], form: str) -> None:
    options = resolve({"format": form}, incoming=True)
    for columns in (1, 3):
        assert cut(options, data, at, columns) == cut(options, data, [], columns)


@given(st.binary(max_size=60))
def test_a_binary_header_with_garbage_after_it_never_crashes(garbage: bytes) -> None:
    options = resolve({"format": "binary"}, incoming=True)
    data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\3" + garbage
    try:
        cut(options, data, [])
    except (TsdbError, UnicodeDecodeError):
        raise AssertionError("an error must be a problem of the fields") from None


def test_copies_that_follow_each_other_or_run_at_once_do_not_share_their_places() -> None:
    options = CopyOptions("csv", ",", "")

    def lines(count: int, sign: str) -> bytes:
        return "".join(f'{sign}{i},"{sign}""{i}",{sign}\n' for i in range(count)).encode()

    for count in (50, 3000, 7):
        one, other = (Cutter(options, ["a", "b", "c"]) for _ in range(2))
        ones, others = (next(each.feed(lines(count, sign))) for each, sign in ((one, "x"), (other, "y")))
        for fields, sign in ((ones, "x"), (others, "y")):
            assert [fields.text(1, row) for row in range(fields.rows)] == [f'{sign}"{i}' for i in range(count)]
        assert not [*one.finish(), *other.finish()]
