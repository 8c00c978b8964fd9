"""Keys: the order of bytes is the order of what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import int64s, uint64s
from tsdb.errors import DataCorrupted
from tsdb.storage import keys
from tsdb.storage.rows import COUNTER_BITS, COUNTER_MASK

uint32s = st.integers(0, 2**32 - 1)
sequences = st.tuples(st.integers(1, 32767), st.integers(0, COUNTER_MASK)).map(lambda p: p[0] << COUNTER_BITS | p[1])
u16 = st.integers(0, 2**16 - 1)

FAMILIES: list[tuple[str, Callable[..., bytes], Callable[[bytes], Any], st.SearchStrategy[Any]]] = [
    ("ops", keys.op_key, keys.unpack_op_key, st.tuples(uint64s, uint64s)),
    ("blocks", keys.block_key, keys.unpack_block_key, st.tuples(uint64s, int64s, uint64s)),
    ("runs", keys.runs_key, keys.unpack_runs_key, st.tuples(uint64s, uint64s)),
    ("columns", keys.column_key, keys.unpack_column_key, st.tuples(uint64s, uint32s, uint64s)),
    ("summaries", keys.summary_key, keys.unpack_summary_key, st.tuples(uint64s, uint32s, uint64s)),
    ("tagsets", keys.tagset_key, keys.unpack_tagset_key, st.tuples(uint64s, uint32s)),
    ("markers", keys.marker_key, keys.unpack_marker_key, st.tuples(uint64s, int64s)),
]


@pytest.mark.parametrize(("family", "pack", "unpack", "parts"), FAMILIES, ids=[f[0] for f in FAMILIES])
def test_keys_sort_like_their_parts_and_unpack_to_them(
    family: str, pack: Callable[..., bytes], unpack: Callable[[bytes], Any], parts: st.SearchStrategy[Any]
) -> None:
    @given(parts, parts)
    def check(a: tuple[int, ...], b: tuple[int, ...]) -> None:
        assert (pack(*a) < pack(*b)) == (a < b)
        assert unpack(pack(*a)) == a

    check()
    for size in (0, 1, 15, 17, 40):
        with pytest.raises(DataCorrupted, match=family):
            unpack(bytes(size))


@given(*[st.tuples(uint64s, sequences, u16)] * 2)
def test_tombstones_sort_by_counter_before_node(a: tuple[int, int, int], b: tuple[int, int, int]) -> None:
    def order(key: tuple[int, int, int]) -> tuple[int, int, int, int]:
        series, sequence, ordinal = key
        return series, sequence & COUNTER_MASK, sequence >> COUNTER_BITS, ordinal

    assert (keys.tombstone_key(*a) < keys.tombstone_key(*b)) == (order(a) < order(b))
    assert keys.unpack_tombstone_key(keys.tombstone_key(*a)) == a


names = st.text("abcdefghijklmnopqrstuvwxyz-_/.", min_size=1, max_size=12)


@given(*[st.tuples(names, st.lists(uint64s, max_size=3).map(tuple))] * 2)
def test_state_keys_sort_by_name_then_numbers(a: tuple[str, tuple[int, ...]], b: tuple[str, tuple[int, ...]]) -> None:
    key_a, key_b = keys.state_key(a[0], *a[1]), keys.state_key(b[0], *b[1])
    assert keys.unpack_state_key(key_a) == a
    assert (key_a < key_b) == (a < b)


@given(st.binary(min_size=1, max_size=6), st.binary(max_size=6))
def test_after_is_the_least_key_above_a_prefix(prefix: bytes, key: bytes) -> None:
    high = keys.after(prefix)
    inside = prefix <= key and (high is None or key < high)
    assert inside == key.startswith(prefix)


def test_a_prefix_of_ones_has_no_key_above_it() -> None:
    assert keys.after(b"\xff\xff") is None
    assert keys.after(b"") is None


@given(uint64s, uint64s)
def test_keys_of_a_series_or_location_share_its_prefix(number: int, other: int) -> None:
    prefix = keys.number_prefix(number)
    for key in (keys.op_key(number, other), keys.block_key(number, 0, other), keys.marker_key(number, 5)):
        assert key.startswith(prefix)
    assert keys.column_key(number, 7, other).startswith(keys.column_prefix(number, 7))


@pytest.mark.parametrize("key", [b"", b"name", b"name\0abc", b"\xc3\xa4\0" + bytes(8)])
def test_a_state_key_that_is_none_is_corrupted(key: bytes) -> None:
    with pytest.raises(DataCorrupted):
        keys.unpack_state_key(key)
