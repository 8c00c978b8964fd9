"""Tombstones come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import every_flip_is_found, int64s, intervals, texts
from tsdb.errors import DataCorrupted
from tsdb.model.ring import RING_SIZE
from tsdb.model.store import TagIn
from tsdb.storage.frame import seal
from tsdb.storage.tombstone import (
    MAGIC,
    VERSION,
    AnyTombstone,
    KeyTombstone,
    Tombstone,
    decode_tombstone,
    decode_tombstones,
    encode_tombstone,
    encode_tombstones,
)

numbers = st.integers(1, 2**63)
tags = st.builds(TagIn, st.integers(1, 2**32 - 2), st.frozensets(st.none() | texts, max_size=4), st.booleans())


@st.composite
def ranges(draw: st.DrawFn) -> Tombstone:
    low, high = draw(intervals)
    conjuncts = tuple(draw(st.lists(tags, max_size=3)))
    return Tombstone(draw(numbers), low, high, draw(int64s), draw(int64s), draw(int64s), conjuncts)


@st.composite
def keys(draw: st.DrawFn) -> KeyTombstone:
    rows = draw(st.integers(0, 10))
    tagsets = draw(st.lists(st.binary(max_size=8), min_size=1, max_size=3))
    sized = st.lists(int64s, min_size=rows, max_size=rows).map(lambda values: np.array(values, np.int64))
    tagset = draw(st.lists(st.integers(0, len(tagsets) - 1), min_size=rows, max_size=rows))
    return KeyTombstone(
        draw(numbers),
        *draw(intervals),
        draw(int64s),
        tuple(tagsets),
        np.array(tagset, np.int32),
        draw(sized),
        draw(st.none() | sized),
    )


tombstones: st.SearchStrategy[AnyTombstone] = st.one_of(ranges(), keys())


@given(tombstones)
def test_a_tombstone_comes_back(tombstone: AnyTombstone) -> None:
    found = decode_tombstone(encode_tombstone(tombstone))
    assert found == tombstone
    if isinstance(tombstone, KeyTombstone):
        assert isinstance(found, KeyTombstone)
        assert found.tagsets == tombstone.tagsets
        assert found.times.tolist() == tombstone.times.tolist()
        assert found.tagset.tolist() == tombstone.tagset.tolist()
        assert (found.sequences is None) == (tombstone.sequences is None)


@given(st.lists(tombstones, max_size=4))
def test_the_body_of_a_delete_comes_back(body: list[AnyTombstone]) -> None:
    assert decode_tombstones(encode_tombstones(body)) == body


def test_any_changed_byte_and_any_cut_is_found() -> None:
    two: list[AnyTombstone] = [
        Tombstone(1, 0, RING_SIZE, 5, -7, 9, (TagIn(3, frozenset(["a", None]), True),)),
        KeyTombstone(1, 0, 5, 5, (b"ab",), np.zeros(2, np.int32), np.array([1, 2])),
    ]
    every_flip_is_found(encode_tombstones(two), decode_tombstones)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc0", b"\x91\x92\x03\x01", b"\x91\x98\x01\x01\x05\x04\x00\x00\x00\x90", b"\x91\x01"],
    ids=["empty", "nil", "unknown form", "interval", "number"],
)
def test_a_payload_that_is_no_tombstone_is_corrupted(payload: bytes) -> None:
    with pytest.raises(DataCorrupted):
        decode_tombstones(seal(MAGIC, VERSION, payload))


def test_one_value_holds_one_tombstone() -> None:
    with pytest.raises(DataCorrupted, match="0 in one value"):
        decode_tombstone(encode_tombstones([]))
