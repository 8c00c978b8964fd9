"""Tag sets by value are canonical, and a batch can be taken apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.errors import DataCorrupted
from tsdb.model.points import Points, decode_tagset, encode_tagset
from tsdb.model.schema import LINE_PROTOCOL_TIME, Catalog, CreateDatabase, CreateSeries, apply

TAGS = st.dictionaries(st.integers(1, 100_000), st.text(max_size=300).filter(lambda s: s.isprintable()), max_size=8)


@given(TAGS, st.randoms())
def test_the_same_tags_in_any_order_give_the_same_bytes(tags: dict[int, str], random: object) -> None:
    pairs = list(tags.items())
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert encode_tagset(pairs) == encode_tagset(tags.items())
    assert decode_tagset(encode_tagset(pairs)) == tags


def test_an_absent_tag_is_not_an_empty_one() -> None:
    assert encode_tagset([(1, "")]) != encode_tagset([])


@given(TAGS.filter(bool), st.data())
def test_a_cut_tag_set_is_refused_or_shorter_but_never_another_error(tags: dict[int, str], data: st.DataObject) -> None:
    encoded = encode_tagset(tags.items())
    end = data.draw(st.integers(1, len(encoded) - 1))
    try:
        decoded = decode_tagset(encoded[:end])
    except (DataCorrupted, UnicodeDecodeError):
        return
    assert len(decoded) < len(tags) or decoded != tags


def test_taking_rows_keeps_only_the_tag_sets_they_use() -> None:
    catalog = apply(Catalog(), [CreateDatabase("d"), CreateSeries("d", "m", (LINE_PROTOCOL_TIME,), keyed=True)])
    series = catalog.find("d").find("m")
    points = Points(
        series,
        np.array([1, 2, 3], np.int64),
        [b"a", b"b", b"c"],
        np.array([2, 0, 2], np.int32),
        {9: pa.array([1.0, None, 3.0])},
    )
    taken = points.take(np.array([0, 2]))
    assert taken.times.tolist() == [1, 3]
    assert [taken.tagsets[i] for i in taken.tagset.tolist()] == [b"c", b"c"]
    assert taken.tagsets == [b"c"]
    assert taken.fields[9].to_pylist() == [1.0, 3.0]


def test_a_number_that_never_ends_is_refused() -> None:
    with pytest.raises(DataCorrupted, match="inside a number"):
        decode_tagset(b"\x80\x80")
