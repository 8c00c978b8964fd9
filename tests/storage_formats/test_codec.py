"""Columns: what is encoded comes back in every bit, what is damaged never comes back."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage_formats.values import bits, columns, every_flip_is_found, int64s, kinds
from tsdb.errors import DataCorrupted
from tsdb.storage import bitmaps, codec, decimals
from tsdb.storage.codec import (
    Encoding,
    StoredColumn,
    decode_column,
    decode_integers,
    encode_column,
    encode_integers,
)
from tsdb.storage.pages import PAGE_NUMBERS, Spans
from tsdb.types import Kind


def encoding_of(data: bytes) -> Encoding:
    return Encoding(data[3])


@given(st.data(), kinds)
@settings(max_examples=400)
def test_a_column_comes_back_in_every_bit(data: st.DataObject, kind: Kind) -> None:
    values = data.draw(columns(kind))
    found = decode_column(encode_column(values, kind), kind, len(values))
    found.validate(full=True)
    assert found.type == kind.arrow
    assert found.null_count == values.null_count
    assert bits(found) == bits(values)


@given(st.lists(st.one_of(int64s, st.integers(-5, 5)), max_size=300))
def test_integers_come_back(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert decode_integers(encode_integers(array), len(array)).tolist() == values


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("null_share", [0.0, 0.02, 0.98])
def test_a_large_column_comes_back(kind: Kind, null_share: float) -> None:
    rng = np.random.default_rng(7)
    rows = 70_001
    source = rng.integers(0, 1000, rows)
    plain = {
        Kind.FLOAT8: rng.normal(size=rows),
        Kind.INT8: source,
        Kind.UINT8: source.astype(np.uint64) + np.uint64(2**63),
        Kind.BOOL: source % 3 == 0,
        Kind.TEXT: np.array([f"text {n}" for n in source.tolist()], object),
    }[kind]
    values = pa.array(plain, kind.arrow, mask=rng.random(rows) < null_share)
    assert decode_column(encode_column(values, kind), kind, rows).equals(values)


@pytest.mark.parametrize(
    ("values", "kind", "encoding"),
    [
        ([None, None], Kind.TEXT, Encoding.NULLS),
        ([7, 7, 7], Kind.INT8, Encoding.CONSTANT),
        ([7, None, 7], Kind.INT8, Encoding.CONSTANT),
        ([float("nan")] * 3, Kind.FLOAT8, Encoding.CONSTANT),
        ([0.0, -0.0], Kind.FLOAT8, Encoding.PCODEC),
        ([True, True], Kind.BOOL, Encoding.CONSTANT),
        ([True, False], Kind.BOOL, Encoding.BITMAP),
        (["a"] * 9, Kind.TEXT, Encoding.CONSTANT),
        (["a", "b"] * 9, Kind.TEXT, Encoding.DICTIONARY),
        (["a", "b", "c"], Kind.TEXT, Encoding.PLAIN),
        ([1, 2, 3], Kind.INT8, Encoding.PCODEC),
        ([1.0, 2.0, 3.0], Kind.FLOAT8, Encoding.DECIMAL),
        ([1.25, -17.5, 1e6], Kind.FLOAT8, Encoding.DECIMAL),
        ([1.25, float("inf")], Kind.FLOAT8, Encoding.PCODEC),
        ([1 / 3, 2 / 3], Kind.FLOAT8, Encoding.PCODEC),
        ([1e300, 1.0], Kind.FLOAT8, Encoding.PCODEC),
    ],
)
def test_the_encoding_fits_the_values(values: list[object], kind: Kind, encoding: Encoding) -> None:
    array = pa.array(values, kind.arrow)
    data = encode_column(array, kind)
    assert encoding_of(data) is encoding
    assert bits(decode_column(data, kind, len(array))) == bits(array)


@pytest.mark.parametrize("size", range(60, 140))
def test_texts_about_as_long_as_their_zstd_frame_come_back(size: int) -> None:
    # At some size the frame of random letters is as long as the letters.
    letters = np.random.default_rng(size).integers(32, 127, size).astype(np.uint8).tobytes().decode()
    values = pa.array([letters[:30], letters[30:]])
    assert decode_column(encode_column(values, Kind.TEXT), Kind.TEXT, 2).equals(values)


@given(st.integers(0, decimals.MAX_EXPONENT), st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=200))
def test_decimal_text_is_stored_as_integers(exponent: int, integers: list[int]) -> None:
    values = np.array([float(f"{n}e-{exponent}") for n in integers])
    scaled = decimals.scale(values)
    assert scaled is not None
    found = np.empty(len(values))
    decimals.unscale(scaled[1], scaled[0], found)
    assert found.view(np.int64).tolist() == values.view(np.int64).tolist()


@given(
    st.sampled_from(list(Kind)),
    st.sampled_from([0.0, 0.1, 0.9]),
    st.sampled_from([3, 700, PAGE_NUMBERS, PAGE_NUMBERS + 1, 3 * PAGE_NUMBERS - 5]),
    st.lists(st.floats(0, 1), max_size=12, unique=True),
    st.integers(0, 2**32),
)
@settings(max_examples=300, deadline=None)
def test_some_rows_of_a_column_are_those_of_all(
    kind: Kind, null_share: float, rows: int, cuts: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-2, 3, rows)) + 1000
    plain = {
        Kind.FLOAT8: walk / 4 if seed % 2 else rng.normal(size=rows),
        Kind.INT8: walk,
        Kind.UINT8: walk.astype(np.uint64) + np.uint64(2**63),
        Kind.BOOL: walk % 3 == 0,
        Kind.TEXT: np.array([f"text {n}" for n in walk.tolist()], object),
    }[kind]
    values = pa.array(plain, kind.arrow, mask=rng.random(rows) < null_share if null_share else None)
    borders = np.unique(np.array([int(cut * rows) for cut in cuts], np.int64))
    starts, stops = borders[: len(borders) // 2 * 2 : 2], borders[1::2]
    spans = Spans(starts, stops, int((stops - starts).sum()))
    stored = StoredColumn(encode_column(values, kind), kind, rows)
    expected = values.take(pa.array(np.concatenate([np.arange(0), *map(np.arange, starts, stops)]), pa.int64()))
    for _ in range(2):
        found = stored.values(spans)
        found.validate(full=True)
        assert found.null_count == expected.null_count
        assert bits(found) == bits(expected)
    if kind is Kind.INT8 and not null_share:
        sequence = StoredColumn(encode_integers(walk), codec.INTEGERS, rows)
        assert sequence.integers(spans).tolist() == expected.to_pylist()


def test_numbers_that_were_handed_out_do_not_change_with_the_next() -> None:
    first, second = (np.arange(10_000) * factor + np.arange(10_000) % 7 for factor in (1, 3))
    spans = Spans(np.array([5000]), np.array([5100]), 100)
    one = StoredColumn(encode_integers(first), codec.INTEGERS, 10_000).integers(spans)
    StoredColumn(encode_integers(second), codec.INTEGERS, 10_000).integers(spans)
    assert one.tolist() == first[5000:5100].tolist()


def test_several_threads_read_one_column_at_once() -> None:
    values = np.random.default_rng(5).integers(0, 100, 40_000)
    stored = StoredColumn(codec.encode_integers(values), codec.INTEGERS, len(values))

    def read() -> bool:
        return all(np.array_equal(stored.integers(), values) for _ in range(100))

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(read) for _ in range(4)]
        assert all(done.result() for done in running)


def test_one_value_that_is_no_decimal_is_seen_wherever_it_stands() -> None:
    values = np.arange(1000) / 10
    for position in (0, 1, 500, 998, 999):
        broken = values.copy()
        broken[position] = np.pi
        assert decimals.scale(broken) is None
        assert bits(decode_column(encode_column(pa.array(broken), Kind.FLOAT8), Kind.FLOAT8, 1000)) == bits(
            pa.array(broken)
        )


def test_constant_columns_cost_a_few_bytes() -> None:
    rows = 65_536
    assert len(encode_column(pa.array(np.full(rows, 5)), Kind.INT8)) <= 28
    assert len(encode_column(pa.array([True] * rows), Kind.BOOL)) <= 21
    assert len(encode_column(pa.array(["abc"] * rows), Kind.TEXT)) <= 23
    assert len(encode_integers(np.zeros(rows, np.int64))) <= 28


def test_a_field_that_whole_tag_sets_lack_costs_little() -> None:
    present = np.repeat(np.arange(64) % 8 == 0, 1024)
    values = pa.array(np.full(len(present), 5), mask=~present)
    data = encode_column(values, Kind.INT8)
    assert len(data) < 200
    assert decode_column(data, Kind.INT8, len(values)).equals(values)


@given(st.lists(st.booleans(), max_size=300), st.booleans())
def test_bitmaps_come_back_and_lies_about_them_are_found(values: list[bool], runs: bool) -> None:
    array = pa.array(sorted(values) if runs else values, pa.bool_())
    packed = bitmaps.pack(array)
    assert len(packed) <= (len(array) + 7) // 8
    ones = array.true_count
    bitmap = bitmaps.unpack(memoryview(packed), len(array), ones)
    assert pa.Array.from_buffers(pa.bool_(), len(array), [None, bitmap]).equals(array)
    with pytest.raises(DataCorrupted, match="set bits"):
        bitmaps.unpack(memoryview(packed), len(array), ones + 1)
    with pytest.raises(DataCorrupted):
        bitmaps.unpack(memoryview(packed + bytes(1)), len(array), ones)


def test_a_bitmap_with_bits_beyond_its_rows_is_corrupted() -> None:
    with pytest.raises(DataCorrupted, match="beyond"):
        bitmaps.unpack(memoryview(b"\x0f"), 3)


SAMPLES: list[tuple[list[object], Kind]] = [
    ([1, 2, 3, None, 9] * 20, Kind.INT8),
    ([1.5, 2.25, None] * 20, Kind.FLOAT8),
    ([1 / 3, 1 / 7, 1 / 9] * 20, Kind.FLOAT8),
    ([2**64 - 1, 5], Kind.UINT8),
    ([True, False, None], Kind.BOOL),
    (["a", "b", None, "a", "a"] * 20, Kind.TEXT),
    (["one", "two", "three"], Kind.TEXT),
    ([None, None], Kind.INT8),
    ([4, 4], Kind.INT8),
]
MANY: list[tuple[list[object], Kind]] = [
    ([n * n % 97 for n in range(2 * PAGE_NUMBERS + 9)], Kind.INT8),
    ([n * n % 97 / 4 for n in range(PAGE_NUMBERS + 9)], Kind.FLOAT8),
    ([None, *(n * n % 97 for n in range(PAGE_NUMBERS + 9))], Kind.UINT8),
]


@pytest.mark.parametrize(("values", "kind"), MANY)
def test_wrong_bytes_in_pages_are_an_error_or_the_right_number_of_rows(values: list[object], kind: Kind) -> None:
    data = encode_column(pa.array(values, kind.arrow), kind)
    assert encoding_of(data) in (Encoding.PAGES, Encoding.DECIMAL_PAGES)
    spans = Spans(np.array([10, PAGE_NUMBERS - 1]), np.array([20, PAGE_NUMBERS + 5]), 16)
    rng = np.random.default_rng(1)
    for position in (*range(120), *rng.integers(0, len(data) - 4, 400).tolist()):
        broken = bytearray(data)
        broken[position] ^= int(rng.integers(1, 256))
        for part, rows in ((None, len(values)), (spans, 16)):
            try:
                found = StoredColumn(with_checksum(bytes(broken)), kind, len(values)).values(part)
            except DataCorrupted:
                continue
            assert len(found) == rows


@pytest.mark.parametrize(("values", "kind"), SAMPLES)
def test_any_changed_byte_and_any_cut_is_found(values: list[object], kind: Kind) -> None:
    every_flip_is_found(
        encode_column(pa.array(values, kind.arrow), kind), lambda data: decode_column(data, kind, len(values))
    )


def with_checksum(data: bytes) -> bytes:
    """A damaged value whose checksum holds: what a bug or an attacker could write."""
    return data[:-4] + struct.pack(">I", zlib.crc32(data[:-4]))


@pytest.mark.parametrize(("values", "kind"), SAMPLES)
def test_wrong_bytes_behind_a_right_checksum_are_an_error_or_the_right_number_of_rows(
    values: list[object], kind: Kind
) -> None:
    data = encode_column(pa.array(values, kind.arrow), kind)
    for position in range(len(data) - 4):
        for value in (0, 1, 0x7F, 0xFF):
            broken = bytearray(data)
            broken[position] = value
            try:
                found = decode_column(with_checksum(bytes(broken)), kind, len(values))
            except DataCorrupted:
                continue
            assert len(found) == len(values)


@pytest.mark.parametrize("rows", [0, 4, 6, 2**32 - 1])
def test_the_blocks_number_of_rows_rules(rows: int) -> None:
    data = encode_column(pa.array([1, 2, 3, 4, 5]), Kind.INT8)
    with pytest.raises(DataCorrupted, match="rows"):
        decode_column(data, Kind.INT8, rows)
    huge = bytearray(data)
    huge[4:8] = b"\xff\xff\xff\xff"
    with pytest.raises(DataCorrupted, match="rows"):
        decode_column(with_checksum(bytes(huge)), Kind.INT8, 2**32 - 1)


def test_a_column_is_not_read_as_another_kind() -> None:
    data = encode_column(pa.array([1, 2, 3]), Kind.INT8)
    with pytest.raises(DataCorrupted, match="kind"):
        decode_column(data, Kind.UINT8, 3)
    with pytest.raises(DataCorrupted, match="kind"):
        decode_integers(data, 3)


def test_an_array_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="FLOAT8"):
        encode_column(pa.array([1, 2]), Kind.FLOAT8)


def test_encoding_numbers_are_those_on_disk() -> None:
    assert {e.name: e.value for e in Encoding} == {
        "NULLS": 0, "CONSTANT": 1, "PCODEC": 2, "DECIMAL": 3, "BITMAP": 4, "DICTIONARY": 5, "PLAIN": 6,
        "PAGES": 7, "DECIMAL_PAGES": 8,
    }  # fmt: skip
    assert {k.name: k.value for k in Kind} == {"FLOAT8": 1, "INT8": 2, "UINT8": 3, "BOOL": 4, "TEXT": 5}
    assert codec.INTEGERS == 0


def test_numbers_that_lie_askew_in_memory_are_encoded_as_others_are() -> None:
    """As those of a message from another node do."""
    values = np.arange(1000, dtype=np.int64) ** 2
    askew = np.frombuffer(b"\0" + values.tobytes(), np.int64, offset=1)
    assert not askew.flags.aligned
    assert encode_integers(askew) == encode_integers(values)
