"""Ops: head and body, and the chain of hashes through a log."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import bits, columns, every_flip_is_found, int64s, intervals, kinds, uint64s
from tsdb.errors import DataCorrupted
from tsdb.model.points import Points, encode_tagset
from tsdb.model.ring import RING_SIZE
from tsdb.model.schema import Series
from tsdb.storage.op import (
    GENESIS,
    OpHeader,
    OpKind,
    WriteBody,
    chain_hash,
    decode_header,
    decode_op,
    decode_write,
    encode_op,
    encode_write,
)
from tsdb.types import Kind

headers = st.builds(
    lambda interval, **rest: OpHeader(low=interval[0], high=interval[1], **rest),
    interval=intervals,
    kind=st.sampled_from(OpKind),
    epoch=uint64s,
    location=uint64s,
    sequence=uint64s,
    first_counter=int64s,
    rows=st.integers(0, 2**32 - 1),
    wall_ns=int64s,
    digest=st.just(0) | st.integers(1, 2**64 - 1),
    producer=st.text(st.characters(codec="utf-8"), max_size=64).filter(lambda name: len(name.encode()) <= 64),
    batch=int64s,
    previous=st.binary(min_size=16, max_size=16),
)
HEADER = OpHeader(OpKind.WRITE, 3, 17, 42, 0, RING_SIZE, 1 << 48, 2, 1_700_000_000_000_000_000, "telegraf", 7)


@given(headers, st.binary(max_size=100))
def test_an_op_comes_back(header: OpHeader, body: bytes) -> None:
    data = encode_op(header, body)
    assert decode_header(data) == header
    found, found_body = decode_op(data)
    assert found == header
    assert bytes(found_body) == body


def test_any_changed_byte_and_any_cut_is_found() -> None:
    every_flip_is_found(encode_op(HEADER, b"the body of an op"), decode_op)


def test_the_body_is_a_view_and_not_a_copy() -> None:
    data = encode_op(HEADER, b"body")
    assert decode_op(data)[1].obj is data


def test_the_chain_hash_covers_head_body_and_the_log_before() -> None:
    first = encode_op(HEADER, b"one")
    chain = chain_hash(first)
    assert len(chain) == len(GENESIS) == 16
    assert chain == chain_hash(bytes(bytearray(first)))
    others = [
        encode_op(HEADER, b"two"),
        encode_op(replace(HEADER, wall_ns=1), b"one"),
        encode_op(replace(HEADER, previous=chain), b"one"),
    ]
    assert len({chain, *map(chain_hash, others)}) == 4


@pytest.mark.parametrize(
    "header",
    [replace(HEADER, producer="x" * 65), replace(HEADER, low=5, high=5), replace(HEADER, high=RING_SIZE + 1)],
)
def test_a_head_that_cannot_be_is_refused(header: OpHeader) -> None:
    with pytest.raises(ValueError):
        encode_op(header, b"")


def test_an_unknown_kind_or_version_is_corrupted() -> None:
    data = bytearray(encode_op(replace(HEADER, producer=""), b""))
    for position, value, text in ((5, 99, "99"), (4, 3, "version 3")):
        broken = data.copy()
        broken[position] = value
        broken[-4:] = struct.pack(">I", zlib.crc32(broken[:-4]))
        with pytest.raises(DataCorrupted, match=text):
            decode_op(bytes(broken))


def series(number: int) -> Series:
    return Series(number, f"s{number}", (), True)


@st.composite
def batches(draw: st.DrawFn) -> Points:
    tagsets = draw(st.lists(st.text("abc", max_size=3), min_size=1, max_size=4, unique=True))
    rows = draw(st.integers(0, 20))
    fields = {
        number: draw(columns(draw(kinds), rows))
        for number in draw(st.lists(st.integers(1, 2**32 - 2), max_size=4, unique=True))
    }
    return Points(
        series(draw(st.integers(1, 2**64 - 1))),
        np.array(draw(st.lists(int64s, min_size=rows, max_size=rows)), np.int64),
        [encode_tagset([(1, text)]) for text in tagsets],
        np.array(draw(st.lists(st.integers(0, len(tagsets) - 1), min_size=rows, max_size=rows)), np.int32),
        fields,
    )


def assert_same(found: WriteBody, points: Points) -> None:
    assert found.series == points.series.number
    assert found.times.tolist() == points.times.tolist()
    assert found.tagsets == list(points.tagsets)
    assert found.tagset.dtype == np.int32
    assert found.tagset.tolist() == points.tagset.tolist()
    assert list(found.fields) == list(points.fields)
    for number, values in points.fields.items():
        found.fields[number].validate(full=True)
        assert found.fields[number].type == values.type
        assert bits(found.fields[number]) == bits(values)


@given(st.lists(batches(), max_size=4))
def test_a_write_comes_back(points: list[Points]) -> None:
    found = decode_write(encode_write(points))
    assert len(found) == len(points)
    for body, batch in zip(found, points, strict=True):
        assert_same(body, batch)


def large(rows: int) -> Points:
    rng = np.random.default_rng(3)
    return Points(
        series(9),
        np.arange(rows, dtype=np.int64),
        [encode_tagset([(1, f"host {i}"), (2, "")]) for i in range(50)],
        rng.integers(0, 50, rows).astype(np.int32),
        {
            3: pa.array(rng.integers(0, 100, rows)),
            4: pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            5: pa.array([f"{n}" for n in range(rows)]),
            6: pa.array(rng.random(rows) < 0.5),
        },
    )


def numbers(rows: int, high: int) -> Points:
    """Without absent values."""
    rng = np.random.default_rng(4)
    fields = {
        3: pa.array(rng.integers(0, high, rows)),
        4: pa.array(rng.integers(2**64 - high, 2**64 - 1, rows, np.uint64)),
        5: pa.array(np.full(rows, 0.25)),
        6: pa.array(rng.integers(0, high, rows + 3)).slice(3),
    }
    points = large(rows)
    return Points(points.series, points.times, points.tagsets, points.tagset, fields)


@pytest.mark.parametrize("rows", [1, 255, 256, 5000])
@pytest.mark.parametrize("high", [100, 2**62])
def test_numbers_come_back_packed_or_compressed(rows: int, high: int) -> None:
    points = numbers(rows, high)
    body = encode_write([points])
    (found,) = decode_write(body)
    assert_same(found, points)
    if high == 100:
        # Octets of a row: time, place of the tag set, three columns whose values are apart.
        assert len(body) < (2 + 1 + 1 + 1 + 1) * rows + 2000
    else:
        assert len(body) < 8 * 6 * rows + 2000


@pytest.mark.parametrize("rows", [255, 256, 5000])
def test_compressed_and_plain_bodies_come_back(rows: int) -> None:
    points = large(rows)
    (found,) = decode_write(encode_write([points]))
    assert_same(found, points)


def test_a_small_write_has_no_arrow_schema_in_it() -> None:
    assert len(encode_write([large(1)])) < 2000


def test_a_damaged_body_that_nobody_checked_is_an_error_or_has_its_rows() -> None:
    body = encode_write([large(20), large(300), numbers(40, 100), numbers(300, 100)])
    for position in range(0, len(body), max(1, len(body) // 600)):
        for value in (0, 0xFF):
            broken = bytearray(body)
            broken[position] = value
            try:
                found = decode_write(bytes(broken))
            except DataCorrupted:
                continue
            for part in found:
                assert all(len(values) == len(part.times) for values in part.fields.values())
    for size in range(0, len(body), 97):
        with pytest.raises(DataCorrupted):
            decode_write(body[:size])
    with pytest.raises(DataCorrupted, match="too many"):
        decode_write(body + b"\0")


def test_kinds_of_ops_are_those_on_disk() -> None:
    assert [(kind.name, kind.value) for kind in OpKind] == [
        ("WRITE", 1), ("DELETE", 2), ("BARRIER", 3), ("MARKER", 4), ("SPLIT", 5), ("MERGE_SEAL", 6),
        ("FORGET_CLIENT", 7), ("LEASE", 8), ("CHANGE", 9),
    ]  # fmt: skip
    assert Kind.INT8.arrow == pa.int64()
