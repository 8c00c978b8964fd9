"""Tags of COPY's records as tag sets by value, against the model's own encoding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.model.points import encode_tagset
from tsdb.sql.copy.cut import Cutter, Fields
from tsdb.sql.copy.options import CopyOptions
from tsdb.sql.copy.tags import TagSets

COLUMNS = ["a", "b", "value", "c"]
TAGS, NUMBERS = [0, 1, 3], [300, 2, 7]
VALUES = st.sampled_from(
    ["", "x", "y z", 'quo"ted', "a,b", "ä", "日本" * 50, "line\nend", "\\N", "longer than eight octets"]
)
Row = tuple[str, str, str, str]


def quoted(text: str, always: bool) -> str:
    if always or any(sign in text for sign in '",\n') or not text:
        return '"' + text.replace('"', '""') + '"'
    return text


def cut(options: CopyOptions, octets: bytes) -> list[Fields]:
    cutter = Cutter(options, COLUMNS)
    return [*cutter.feed(octets), *cutter.finish()]


def wanted(row: Sequence[str | None]) -> bytes:
    return encode_tagset((n, text) for at, n in zip(TAGS, NUMBERS, strict=True) if (text := row[at]) is not None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.tuples(VALUES, VALUES, VALUES, VALUES), st.booleans(), st.booleans()), min_size=1))
def test_csv_rows_have_the_tag_sets_of_their_tags_however_they_are_quoted(
    rows: list[tuple[Row, bool, bool]],
) -> None:
    lines = (
        ",".join("" if null and text == "" else quoted(text, always) for text in row) for row, always, null in rows
    )
    (fields,) = cut(CopyOptions("csv", ",", ""), "".join(f"{line}\n" for line in lines).encode())
    (tagsets, tagset), bad = TagSets(TAGS, NUMBERS, binary=False).of(fields)
    expected = [wanted([None if null and text == "" else text for text in row]) for row, _, null in rows]
    assert [tagsets[at] for at in tagset.tolist()] == expected
    assert len(tagsets) == len(set(tagsets)) == len(set(expected))
    assert not bad


def test_tags_that_are_no_text_are_named_by_their_field_and_leave_an_empty_tag_set() -> None:
    text = "a\\200\tb\t1\tc\nx\ty\t1\tz\nx\ty\\000\t1\tz\na\\200\tb\t1\tc\nä\ty\t1\t\\N\n"
    (fields,) = cut(CopyOptions(), text.encode())
    (tagsets, tagset), bad = TagSets(TAGS, NUMBERS, binary=False).of(fields)
    assert {at: rows.tolist() for at, rows in bad.items()} == {0: [0, 3], 1: [2]}
    found = [tagsets[at] for at in tagset.tolist()]
    assert found == [b"", wanted(["x", "y", "", "z"]), b"", b"", wanted(["ä", "y", "", None])]


def test_binary_tags_are_told_apart_by_their_lengths() -> None:
    def row(*texts: bytes | None) -> bytes:
        fields = (b"\xff\xff\xff\xff" if t is None else len(t).to_bytes(4, "big") + t for t in texts)
        return len(texts).to_bytes(2, "big") + b"".join(fields)

    rows = [(b"ab", b"c"), (b"a", b"bc"), (b"ab", b"c"), (b"ab", None), (b"ab", b"")]
    octets = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(row(a, b, b"1", None) for a, b in rows) + b"\xff\xff"
    (fields,) = (fields for fields in cut(CopyOptions("binary"), octets) if fields.rows)
    (tagsets, tagset), bad = TagSets(TAGS, NUMBERS, binary=True).of(fields)
    expected = [wanted([a.decode(), None if b is None else b.decode(), "", None]) for a, b in rows]
    assert [tagsets[at] for at in tagset.tolist()] == expected
    assert np.unique(tagset).tolist() == [0, 1, 2, 3]
    assert not bad
