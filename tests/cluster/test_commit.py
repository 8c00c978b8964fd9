"""Effects of a transaction: all or none, and only if the rows they are made for are still what was seen."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.setting import SECOND, START, Setting
from tsdb.cluster.cutting import cut_deletion, cut_points
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow, FeatureNotSupported, SerializationFailure, UndefinedTable
from tsdb.model.points import Points
from tsdb.model.ring import intervals_of
from tsdb.model.schema import (
    AddColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    DropSeries,
    RenameDatabase,
    Role,
    SetSlots,
    SettleSlots,
)
from tsdb.model.store import SEQUENCE, TIME_NS, KeyDeletion, Moment, RangeDeletion, ScanRequest, TimeRange, Write
from tsdb.model.time import BUCKET_NS
from tsdb.storage.append import write_step
from tsdb.storage.rocks import Batch, Rocks
from tsdb.types import INT8


def saw(setting: Setting, *, moment: bool = True) -> KeyDeletion:
    """All rows of host a, as a statement that reads now names them."""
    view = setting.node.view()
    batches = list(view.scan(ScanRequest(setting.series, (TIME_NS, SEQUENCE))).batches)
    times = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    sequences = np.concatenate([batch.column(1).to_numpy() for batch in batches])
    held: tuple[Moment, ...] = (view.moment,) if moment else ()
    view.close()
    tagsets = setting.points([0]).tagsets
    return KeyDeletion(setting.series, tagsets, np.zeros(len(times), np.int32), times, sequences, held)


def commit(setting: Setting, *effects: Any) -> None:
    setting.node.commit(effects).result(10)


@pytest.mark.parametrize("moment", [True, False])
@pytest.mark.parametrize("flushed", [0, 1, 2])
@pytest.mark.parametrize("keyed", [False, True])
def test_of_two_changes_of_one_row_the_second_is_refused_with_all_that_came_with_it(
    tmp_path: Path, keyed: bool, flushed: int, moment: bool
) -> None:
    with Setting(tmp_path, keyed=keyed) as setting:
        setting.write([1])
        if flushed == 2:
            setting.node.flush()
        first, second, third = (saw(setting, moment=moment) for _ in range(3))
        commit(setting, Write(setting.points([2]), replaces=first))
        if flushed:
            setting.node.flush()
        before = setting.metric("ops_appended")
        with pytest.raises(SerializationFailure) as refused:
            commit(
                setting,
                Write(setting.points([7], start=START + SECOND)),
                Write(setting.points([3]), replaces=second),
                Write(setting.points([8], start=START + 2 * SECOND)),
            )
        assert refused.value.sqlstate == "40001"
        assert setting.values() == [2]
        if not keyed:
            with pytest.raises(SerializationFailure):
                commit(setting, third)
        assert setting.metric("ops_appended") == before
        setting.reopen()
        assert setting.values() == [2]
        commit(setting, Write(setting.points([4]), replaces=saw(setting)))
        assert setting.values() == [4]


@pytest.mark.parametrize("keyed", [False, True])
def test_a_change_of_a_row_that_was_deleted_is_refused(tmp_path: Path, keyed: bool) -> None:
    with Setting(tmp_path, keyed=keyed) as setting:
        for delete in (saw, lambda s: RangeDeletion(s.series, TimeRange(START, START + 1))):
            setting.write([1])
            replaced, updated = saw(setting), saw(setting)
            commit(setting, delete(setting))
            with pytest.raises(SerializationFailure):
                commit(setting, Write(setting.points([3]), replaces=replaced))
            with pytest.raises(SerializationFailure):
                commit(setting, Write(setting.points([3]), updates=updated))
            assert setting.values() == []


@pytest.mark.parametrize("moment", [True, False])
@pytest.mark.parametrize("flushed", [False, True])
def test_a_row_with_a_key_that_was_written_since_is_not_written_anew(
    tmp_path: Path, flushed: bool, moment: bool
) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2, 3])
        if flushed:
            setting.node.flush()
        seen, other = saw(setting, moment=moment), saw(setting, moment=moment)
        setting.write([5], start=START + SECOND)
        if flushed:
            setting.node.flush()
        with pytest.raises(SerializationFailure):
            commit(setting, Write(setting.points([7, 8, 9]), replaces=seen))
        assert setting.values() == [1, 5, 3]
        # The others are as they were.
        kept = np.array([0, 2])
        tagset, times, sequences = (each[kept] for each in _of(other))
        part = KeyDeletion(other.series, other.tagsets, tagset, times, sequences, other.moments)
        commit(setting, Write(setting.points([7], start=START + 9 * SECOND), replaces=part))
        assert setting.values() == [5, 7]


def test_an_update_of_fields_needs_its_rows_to_be_there_and_not_to_be_untouched(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2, 3])
        seen = saw(setting)
        setting.write([5])
        gone = RangeDeletion(setting.series, TimeRange(START + 10**12, START + 10**13))
        commit(setting, gone)
        commit(setting, Write(setting.points([7, 8, 9]), updates=seen))
        assert setting.values() == [7, 8, 9]


def test_changes_of_other_rows_do_not_stand_in_the_way(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        setting.write([1])
        seen = saw(setting)
        setting.write([2], start=START + SECOND)
        other = saw(setting)
        commit(setting, KeyDeletion(other.series, other.tagsets, *(each[1:] for each in _of(other))))
        setting.write([9])
        setting.node.flush()
        commit(setting, Write(setting.points([3]), replaces=seen))
        assert setting.values() == [9, 3]


def _of(named: KeyDeletion) -> tuple[Any, Any, Any]:
    return named.tagset, named.times, named.sequences


def test_of_many_changes_of_one_row_at_once_one_wins(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        setting.write([0])
        seen = saw(setting)
        held = threading.Event()
        setting.node.engine._committer.call(lambda: held.wait(10))
        futures = [setting.node.commit([Write(setting.points([i]), replaces=seen)]) for i in range(1, 9)]
        held.set()
        failed = [future.exception(10) for future in futures]
        assert [type(error) for error in failed] == [type(None)] + [SerializationFailure] * 7
        assert setting.values() == [1]


def test_a_row_that_is_replaced_twice_in_one_commit_is_refused(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        setting.write([1])
        writes = [Write(setting.points([i]), replaces=saw(setting)) for i in (2, 3)]
        with pytest.raises(FeatureNotSupported, match="changed twice in one transaction"):
            commit(setting, *writes)
        assert setting.values() == [1]


def test_a_commit_finds_its_database_by_number(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        points = setting.points([1])
        setting.node.change(RenameDatabase("tsdb", "renamed"), CreateDatabase("tsdb"))
        commit(setting, Write(points))
        view = setting.node.view()
        series = view.catalog.find("renamed").find("cpu")
        batches = list(view.scan(ScanRequest(series, (series.column("v").number,))).batches)
        assert [v for batch in batches for v in batch.column(0).to_pylist()] == [1]
        view.close()
        setting.node.change(DropSeries("renamed", "cpu"))
        with pytest.raises(UndefinedTable, match='"cpu" does not exist any more'):
            commit(setting, Write(points))
        setting.node.change(CreateSeries("tsdb", "cpu", (ColumnDefinition("v", Role.FIELD, INT8),), False, True))


def test_a_commit_is_in_the_log_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is copied before and after each durable write: it holds all of the commit or nothing of it."""
    with Setting(tmp_path / "data", keyed=False) as setting:
        setting.write(list(range(50)), step=BUCKET_NS)
        seen = saw(setting)
        copies: list[Path] = []
        write = Rocks.write

        def copying(rocks: Rocks, batch: Batch, sync: bool) -> None:
            for _ in range(2):
                copies.append(tmp_path / f"copy{len(copies)}")
                shutil.copytree(tmp_path / "data", copies[-1])
                if len(copies) % 2:
                    write(rocks, batch, sync)

        monkeypatch.setattr(Rocks, "write", copying)
        effects: list[Any] = [Write(setting.points([1000 + i], start=START + i)) for i in range(5)]
        effects += [Write(setting.points(list(range(100, 150)), step=BUCKET_NS), replaces=seen)]
        effects += [RangeDeletion(setting.series, TimeRange(START, START + 2)), Write(setting.points([7]))]
        commit(setting, *effects)
        monkeypatch.undo()
        after = sorted(setting.values())
        assert after == sorted([1002, 1003, 1004, *range(101, 150), 7])
        assert len(copies) == 2
        for copy, expected in zip(copies, (list(range(50)), after), strict=True):
            node = Node.open(copy, setting.options)
            setting.node, node = node, setting.node
            assert sorted(setting.values()) == expected
            setting.node.close()
            setting.node = node


def test_a_commit_larger_than_the_queue_is_done_as_one(tmp_path: Path) -> None:
    with Setting(tmp_path, queue_bytes=10_000) as setting:
        before = setting.metric("syncs")
        commit(setting, *(Write(setting.points(list(range(1000)), start=START + i * 10**12)) for i in range(5)))
        assert setting.metric("syncs") == before + 1
        assert len(setting.values()) == 5000


# ---- what a deletion hides, and what it spares


class TwoFields(Setting):
    """``cpu`` with another field, w."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.node.change(AddColumn("tsdb", "cpu", ColumnDefinition("w", Role.FIELD, INT8)))

    def put(self, at: int, **values: int) -> None:
        one = self.points([0], start=at)
        fields = {self.series.column(name).number: pa.array([value], pa.int64()) for name, value in values.items()}
        points = Points(self.series, one.times, one.tagsets, one.tagset, fields)
        self.node.write(self.database, [points]).result(10)


@pytest.mark.parametrize("frozen_before", [False, True])
def test_a_deletion_hides_what_its_query_saw_and_spares_what_came_later_through_every_flush(
    tmp_path: Path, frozen_before: bool
) -> None:
    with TwoFields(tmp_path) as setting:
        setting.put(START, v=95)
        setting.put(START, w=1)
        if frozen_before:
            setting.node.flush()
        seen = saw(setting)
        setting.put(START, w=2)
        setting.node.flush()
        setting.put(START, w=3)
        setting.node.flush()
        assert [row.fields for row in setting.seen()] == [(95, 3)]
        commit(setting, seen)
        assert [row.fields for row in setting.seen()] == [(None, 3)]
        for _ in range(2):
            setting.node.flush()
            setting.reopen()
            assert [row.fields for row in setting.seen()] == [(None, 3)]


def test_what_nobody_has_seen_is_merged_at_a_flush(tmp_path: Path) -> None:
    with TwoFields(tmp_path) as setting:
        for i in range(4):
            setting.put(START, v=i)
        seen = saw(setting)
        del seen
        setting.put(START, w=1)
        setting.node.flush()
        assert setting.node.statistics(setting.series).rows == 1
        setting.put(START, w=2)
        seen = saw(setting)
        setting.put(START, w=3)
        setting.put(START, w=4)
        setting.node.flush()
        assert setting.node.statistics(setting.series).rows == 3
        assert [row.fields for row in setting.seen()] == [(3, 4)]
        commit(setting, seen)
        assert [row.fields for row in setting.seen()] == [(None, 4)]


def test_a_scan_keeps_its_version_when_its_view_is_closed(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write(list(range(100)), step=10**12)
        setting.node.flush()
        series, view = setting.series, setting.node.view()
        batches = view.scan(ScanRequest(series, (series.column("v").number,))).batches
        first = next(batches)
        view.close()
        setting.node.change(DropSeries("tsdb", "cpu"))
        engine = setting.node.engine
        engine._committer.call(engine._delete_deferred).result(10)
        rest = [v for batch in batches for v in batch.column(0).to_pylist()]
        assert [*first.column(0).to_pylist(), *rest] == list(range(100))
        assert setting.metric("views") == 0
        engine._committer.call(engine._delete_deferred).result(10)
        assert list(engine._shard.rocks.scan("columns")) == []


def test_what_was_cut_before_slots_were_changed_is_not_logged(tmp_path: Path) -> None:
    """It waited in memory, or came from a node that did not know of them."""
    with Setting(tmp_path) as setting:
        points = setting.points([*range(40)])
        step = write_step([points], cut_points(setting.database, [points]))
        begin = START // BUCKET_NS - 1
        setting.node.change(SetSlots("tsdb", "cpu", 16, begin))
        with pytest.raises(CannotConnectNow, match="are being changed"):
            setting.node.engine.commit([step], []).result()
        setting.node.change(SettleSlots("tsdb", "cpu", begin))
        with pytest.raises(CannotConnectNow, match="were changed"):
            setting.node.engine.commit([step], []).result()
        again = write_step([points], cut_points(setting.database, [points]))
        assert len(again.parts) > 4
        setting.node.engine.commit([again], []).result()
        assert setting.values() == [*range(40)]


def test_what_was_deleted_stays_so_when_slots_give_it_other_places(tmp_path: Path) -> None:
    """At a node that has not carried the deletion out, though those have that lead; their counters may be lower
    than those of what was deleted."""
    with Setting(tmp_path, compaction=False) as setting:
        begin = START // BUCKET_NS + 1
        setting.write([*range(100)], start=begin * BUCKET_NS)
        gone = RangeDeletion(setting.series, TimeRange(begin * BUCKET_NS, (begin + 1) * BUCKET_NS))
        assert len(cut_deletion(setting.database, gone)) == 1
        setting.node.delete(setting.database, gone).result(10)
        setting.write([1000], start=(begin - 1) * BUCKET_NS)
        counter = setting.node.engine.last_counter + 1_000
        setting.node.change(SetSlots("tsdb", "cpu", 16, begin), SettleSlots("tsdb", "cpu", begin, counter=counter))
        assert setting.values() == [1000]
        for each in setting.database.locations:
            assert setting.seen(range=gone.range, ring=intervals_of([each])) == []
        setting.write([*range(100, 140)], start=begin * BUCKET_NS)
        expected = [1000, *range(100, 140)]
        assert setting.values() == expected
        setting.node.flush()
        assert setting.values() == expected
        setting.reopen()
        assert setting.values() == expected
        setting.node.compact([setting.series], full=True)
        assert setting.node.engine.view().tombstones(setting.series.number) == ()
        assert setting.values() == expected
        assert setting.node.statistics(setting.series).rows == len(expected)
