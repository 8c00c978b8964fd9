"""Packed numbers: what comes back, how little they take, and what is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import int64s
from tsdb.storage import packed_numbers as packed

Int64s = npt.NDArray[np.int64]
ENOUGH = 1 << 30


def packed_bytes(columns: list[Int64s], bytes_max: int = ENOUGH) -> bytes | None:
    addresses = np.array([column.ctypes.data for column in columns], np.int64)
    found = packed.pack(addresses, len(columns[0]), bytes_max)
    return None if found is None else bytes(found)


@st.composite
def tables(draw: st.DrawFn) -> list[Int64s]:
    rows = draw(st.integers(1, 30))
    near = st.builds(
        lambda base, apart: (base + apart + 2**63) % 2**64 - 2**63, st.just(draw(int64s)), st.integers(0, 70_000)
    )
    kinds = st.sampled_from([int64s, st.integers(0, 255), st.integers(-300, 300), near, st.just(draw(int64s))])
    return [np.array([draw(of) for _ in range(rows)], np.int64) for of in draw(st.lists(kinds, min_size=1, max_size=9))]


@given(tables())
def test_numbers_come_back(columns: list[Int64s]) -> None:
    data = packed_bytes(columns)
    assert data is not None
    found = packed.unpack(memoryview(data), len(columns[0]), len(columns))
    assert [column.tolist() for column in found] == [column.tolist() for column in columns]


@given(st.integers(1, 10**12), st.lists(st.integers(0, 200), min_size=1, max_size=50), st.integers(-(2**62), 2**61))
def test_times_take_as_much_as_their_steps(step: int, steps: list[int], first: int) -> None:
    """And no other column does."""
    times = np.array([first + step * n for n in steps], np.int64)
    data = packed_bytes([times])
    assert data is not None
    assert len(data) <= 24 + -(-len(steps) // 8) * 8
    assert packed.unpack(memoryview(data), len(steps), 1)[0].tolist() == times.tolist()


@pytest.mark.parametrize(
    ("apart", "octets"),
    [(0, 0), (1, 1), (255, 1), (256, 2), (2**16 - 1, 2), (2**16, 4), (2**32 - 1, 4), (2**32, 8), (2**64 - 1, 8)],
)
def test_a_number_takes_as_many_octets_as_it_needs(apart: int, octets: int) -> None:
    low = -(2**63) if apart >= 2**63 else -5
    column = np.array([low, low + apart] * 4, np.int64)
    data = packed_bytes([np.zeros(8, np.int64), column])
    assert data is not None
    assert len(data) == 8 + 16 + 8 + 8 * octets
    assert packed.unpack(memoryview(data), 8, 2)[1].tolist() == column.tolist()


def test_what_needs_more_room_is_not_packed() -> None:
    columns = [np.arange(100), np.arange(100) * 10**9]
    data = packed_bytes(columns)
    assert data is not None
    numbers = 100 + 4 + 8 * 100  # from a multiple of 8
    assert packed_bytes(columns, numbers) == data
    assert packed_bytes(columns, numbers - 1) is None


def test_damaged_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed_bytes([np.arange(9) * 7, np.arange(9)])
    assert data is not None
    for size in range(len(data)):
        with pytest.raises(ValueError):
            packed.unpack(memoryview(data)[:size], 9, 2)
    for rows, columns in ((8, 1), (17, 2), (9, 3), (1, 2)):
        with pytest.raises(ValueError):
            packed.unpack(memoryview(data), rows, columns)
    with pytest.raises(ValueError):
        packed.unpack(memoryview(data[:24] + b"\3" + data[25:]), 9, 2)
    with pytest.raises(ValueError, match="more than there can be"):
        packed.unpack(memoryview(data), 2**32 - 1, 2)
    monkeypatch.setattr(packed, "NUMBERS_MAX", 17)
    assert packed_bytes([np.arange(9), np.arange(9)]) is None
