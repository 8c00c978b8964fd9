"""Frames: a checksum around every small value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import every_flip_is_found
from tsdb.errors import DataCorrupted
from tsdb.storage.frame import OVERHEAD, seal, unseal


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_unseal_gives_what_was_sealed(parts: list[bytes]) -> None:
    data = seal(b"XY", 3, *parts)
    assert len(data) == OVERHEAD + sum(map(len, parts))
    assert bytes(unseal(data, b"XY", 3, "value")) == b"".join(parts)


def test_any_changed_byte_and_any_cut_is_found() -> None:
    every_flip_is_found(seal(b"XY", 1, b"some payload"), lambda data: unseal(data, b"XY", 1, "value"))


def test_another_kind_or_version_is_named() -> None:
    data = seal(b"XY", 2, b"payload")
    with pytest.raises(DataCorrupted, match="not a frame of its kind"):
        unseal(data, b"XZ", 2, "value")
    with pytest.raises(DataCorrupted, match="format version 2, known is 1"):
        unseal(data, b"XY", 1, "value")
