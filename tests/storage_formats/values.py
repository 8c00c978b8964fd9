"""Strategies for the values that storage encodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from tsdb.errors import DataCorrupted
from tsdb.model.ring import RING_SIZE
from tsdb.types import Kind

int64s = st.integers(-(2**63), 2**63 - 1)
uint64s = st.integers(0, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
# Special values, short decimals, and any bit pattern at all (NaN payloads too).
floats = st.one_of(
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1e308, 2.0**53, 0.1]),
    st.integers(-(10**6), 10**6).map(lambda n: n / 100),
    uint64s.map(lambda bits: float(np.array([bits], np.uint64).view(np.float64)[0])),
)
elements: dict[Kind, st.SearchStrategy[object]] = {
    Kind.FLOAT8: floats,
    Kind.INT8: st.one_of(int64s, st.integers(0, 100)),
    Kind.UINT8: uint64s,
    Kind.BOOL: st.booleans(),
    Kind.TEXT: st.one_of(texts, st.sampled_from(["", "a", "b", "zürich"])),
}


@st.composite
def columns(draw: st.DrawFn, kind: Kind, rows: int | None = None) -> pa.Array:
    """A column of a kind: constant, without nulls, with some or only nulls; sometimes a slice of a longer array."""
    count = draw(st.integers(0, 40)) if rows is None else rows
    element = draw(st.sampled_from(["any", "nullable", "constant", "null"]))
    strategy = {
        "any": elements[kind],
        "nullable": st.one_of(st.none(), elements[kind]),
        "constant": st.just(draw(elements[kind])),
        "null": st.none(),
    }[element]
    values = draw(st.lists(strategy, min_size=count, max_size=count))
    before = draw(st.integers(0, 3))
    return pa.array([None] * before + values, kind.arrow).slice(before)


kinds = st.sampled_from(list(Kind))
intervals = st.tuples(uint64s, uint64s).map(lambda pair: (min(pair), max(pair) + 1)) | st.just((0, RING_SIZE))


def bits(values: pa.Array) -> list[object]:
    """The values in a form in which every NaN equals itself and −0 is not 0."""
    if values.type != pa.float64():
        return list(values.to_pylist())
    return [None if v is None else np.array([v]).view(np.int64)[0].item() for v in values.to_pylist()]


def every_flip_is_found(data: bytes, decode: Callable[[bytes], object], positions: int = 400) -> None:
    """Flip a bit in every byte (or in ``positions`` of them), and cut the tail: decoding says DataCorrupted."""
    step = max(1, len(data) // positions)
    for position in range(0, len(data), step):
        for bit in (0, 7):
            broken = bytearray(data)
            broken[position] ^= 1 << bit
            with pytest.raises(DataCorrupted):
                decode(bytes(broken))
    for size in range(0, len(data), step):
        with pytest.raises(DataCorrupted):
            decode(data[:size])
    with pytest.raises(DataCorrupted):
        decode(data + b"\0")
