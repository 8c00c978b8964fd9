"""Tag sets: ids, snapshots that never change, and predicates on them — against plain dictionaries."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage_formats.values import every_flip_is_found, texts
from tsdb.errors import DataCorrupted
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import decode_tagset, encode_tagset
from tsdb.model.store import TagIn, TagMatch
from tsdb.storage import tagset_columns
from tsdb.storage.tagsets import TagSetIndex, TagSets, decode_tagset_record, encode_tagset_record

values = st.one_of(st.sampled_from(["a", "b", ""]), texts)
tagsets = st.dictionaries(st.sampled_from([1, 2, 300, 2**32 - 2]), values, max_size=4).map(
    lambda tags: encode_tagset(tags.items())
)
calls = st.lists(st.lists(tagsets, max_size=6), max_size=5)


def by_hand(snapshot: TagSets) -> list[dict[int, str]]:
    return [decode_tagset(snapshot.by_value(i)) for i in range(snapshot.count)]


def by_column(snapshot: TagSets, numbers: Sequence[int]) -> list[dict[int, str]]:
    rows: list[dict[int, str]] = [{} for _ in range(snapshot.count)]
    for number in numbers:
        codes, distinct = snapshot.column(number)
        assert len(codes) == snapshot.count
        for row, code in zip(rows, codes.tolist(), strict=True):
            if code >= 0:
                row[number] = distinct[code]
    return rows


NUMBERS = (1, 2, 300, 2**32 - 2)


@given(calls)
@settings(max_examples=200)
def test_ids_are_dense_and_snapshots_stay_as_they_were(calls: list[list[bytes]]) -> None:
    index = TagSetIndex()
    model: dict[bytes, int] = {}
    taken: list[tuple[TagSets, list[dict[int, str]]]] = []
    for call in calls:
        for tagset in call:
            model.setdefault(tagset, len(model))
        assert index.ids(call).tolist() == [model[tagset] for tagset in call]
        snapshot = index.snapshot()
        taken.append((snapshot, by_hand(snapshot)))
    for snapshot, before in taken:
        assert by_hand(snapshot) == before
        assert by_column(snapshot, NUMBERS) == before
        for tagset, tagset_id in model.items():
            assert snapshot.find(tagset) == (tagset_id if tagset_id < snapshot.count else None)
        with pytest.raises(KeyError):
            snapshot.by_value(snapshot.count)


predicates = st.lists(
    st.builds(
        TagIn, st.sampled_from([*NUMBERS, 7]), st.frozensets(st.none() | values, max_size=3), st.booleans()
    ),
    max_size=3,
)  # fmt: skip


@given(st.lists(tagsets, max_size=12), predicates)
@settings(max_examples=200)
def test_matching_is_what_a_look_at_every_tag_set_finds(distinct: list[bytes], tags: list[TagIn]) -> None:
    index = TagSetIndex()
    index.ids(distinct)
    snapshot = index.snapshot()

    def satisfied(row: dict[int, str]) -> bool:
        return all((row.get(tag.column) in tag.values) != tag.negated for tag in tags)

    expected = [satisfied(row) for row in by_hand(snapshot)]
    assert snapshot.matching(tags).tolist() == expected

    def match_of(tag: TagIn) -> TagMatch:
        return TagMatch(tag.column, lambda value: (value in tag.values) != tag.negated)

    tests = [match_of(tag) for tag in tags]
    assert snapshot.matching(tests).tolist() == expected


def test_a_test_is_called_once_for_each_value_that_is_still_possible() -> None:
    index = TagSetIndex()
    index.ids([encode_tagset([(1, f"h{i % 10}"), (2, f"r{i}")]) for i in range(1000)])
    asked: list[str | None] = []

    def test(value: str | None) -> bool:
        asked.append(value)
        return True

    mask = index.snapshot().matching([TagIn(2, frozenset(["r3", "r13", "r4"])), TagMatch(1, test)])
    assert sorted(np.flatnonzero(mask).tolist()) == [3, 4, 13]
    assert asked == ["h3", "h4"]


@given(st.lists(tagsets, min_size=1, max_size=12), st.data())
def test_a_dictionary_column_has_the_rows_values(distinct: list[bytes], data: st.DataObject) -> None:
    index = TagSetIndex()
    index.ids(distinct)
    # Far more values than rows: the dictionary is cut down to those in use.
    if data.draw(st.booleans()):
        index.ids([encode_tagset([(1, f"other {i}")]) for i in range(300)])
    snapshot = index.snapshot()
    ids = data.draw(st.lists(st.integers(0, snapshot.count - 1), max_size=20))
    rows = by_hand(snapshot)
    for number in (*NUMBERS, 7):
        found = snapshot.dictionary(number, np.array(ids, np.int32))
        found.validate(full=True)
        assert found.to_pylist() == [rows[i].get(number) for i in ids]
        assert len(found.dictionary) <= 2 * len(ids) + 64


@given(st.lists(tagsets, max_size=12, unique=True), st.data())
def test_an_index_loads_from_its_records_with_holes(distinct: list[bytes], data: st.DataObject) -> None:
    index = TagSetIndex()
    index.ids(distinct)
    records = index.undurable()
    forgotten = data.draw(st.sets(st.integers(0, max(0, len(records) - 1))))
    kept = [record for record in records if record[0] not in forgotten]
    loaded = TagSetIndex.load(kept)
    assert loaded.undurable() == []
    assert len(loaded) == (kept[-1][0] + 1 if kept else 0)
    snapshot = loaded.snapshot()
    for tagset_id, record in kept:
        assert snapshot.by_value(tagset_id) == decode_tagset_record(record)
        assert snapshot.find(decode_tagset_record(record)) == tagset_id
    new = encode_tagset([(5, "new")])
    assert loaded.ids([new]).tolist() == [len(loaded) - 1]
    assert [tagset_id for tagset_id, _ in loaded.undurable()] == [len(loaded) - 1]


def test_ids_become_durable_from_below() -> None:
    index = TagSetIndex()
    index.ids([b"", encode_tagset([(1, "a")])])
    assert [i for i, _ in index.undurable()] == [0, 1]
    index.mark_durable(2)
    index.mark_durable(1)
    index.ids([encode_tagset([(1, "b")])])
    assert index.durable == 2
    assert [i for i, _ in index.undurable()] == [2]


def test_records_out_of_order_or_twice_are_corrupted() -> None:
    a, b = encode_tagset_record(b""), encode_tagset_record(encode_tagset([(1, "b")]))
    with pytest.raises(DataCorrupted, match="comes after"):
        TagSetIndex.load([(1, a), (1, b)])
    with pytest.raises(DataCorrupted, match="two ids"):
        TagSetIndex.load([(1, a), (2, a)])


def test_any_changed_byte_and_any_cut_is_found() -> None:
    every_flip_is_found(encode_tagset_record(encode_tagset([(1, "host"), (2, "x")])), decode_tagset_record)


@given(st.lists(tagsets, max_size=20))
def test_columns_of_tag_sets_are_what_one_by_one_decoding_finds(distinct: list[bytes]) -> None:
    columns = tagset_columns.decode(ByteStrings.of(distinct))
    rows: list[dict[int, str]] = [{} for _ in distinct]
    for number, (tagged, found) in columns.items():
        for row, value in zip(tagged.tolist(), found, strict=True):
            rows[row][number] = value.decode()
    assert rows == [decode_tagset(tagset) for tagset in distinct]


@pytest.mark.parametrize(
    "tagset",
    [b"\x01", b"\x80", b"\x01\x05ab", b"\x01\x01\xff", b"\x02\x01a\x01\x01b", b"\x80\x80\x80\x80\x80\x80\x01\x00"],
    ids=["no length", "no end of a number", "short value", "not UTF-8", "out of order", "a number without end"],
)
def test_malformed_tag_sets_are_corrupted(tagset: bytes) -> None:
    with pytest.raises(DataCorrupted):
        tagset_columns.decode(ByteStrings.of([encode_tagset([(1, "fine")]), tagset]))


@given(st.binary(max_size=30))
def test_any_bytes_are_a_tag_set_or_corrupted(tagset: bytes) -> None:
    try:
        tagset_columns.decode(ByteStrings.of([tagset]))
    except DataCorrupted:
        return


def test_readers_see_whole_snapshots_while_ids_are_given() -> None:
    index = TagSetIndex()
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            snapshot = index.snapshot()
            codes, distinct = snapshot.column(1)
            hosts = [distinct[code] if code >= 0 else None for code in codes[-50:].tolist()]
            first = snapshot.count - len(hosts)
            expected = [f"h{i}" if i % 3 else None for i in range(first, snapshot.count)]
            found = snapshot.matching([TagIn(1, frozenset([f"h{snapshot.count - 1}"]))])
            if hosts != expected or len(found) != snapshot.count:
                wrong.append(f"{snapshot.count}: {hosts}")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(0, 1500, 3):
        index.ids([encode_tagset([(1, f"h{j}")] if j % 3 else [(2, f"other{j}")]) for j in range(i, i + 3)])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index) == 1500


@pytest.mark.nightly
def test_a_million_tag_sets_are_loaded_in_seconds() -> None:
    distinct = [encode_tagset([(1, f"host_{i}"), (2, f"region {i % 9}")]) for i in range(1_000_000)]
    index = TagSetIndex()
    start = time.perf_counter()
    ids = index.ids(distinct)
    assert time.perf_counter() - start < 20
    start = time.perf_counter()
    index.snapshot().dictionary(1, ids)
    assert time.perf_counter() - start < 2
