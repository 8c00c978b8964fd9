"""What a node promises: durable and visible, once, bounded, and never less than it had."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.model import key_deletion
from tests.cluster.setting import COLUMNS, SECOND, START, Setting
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    ConfigurationLimitExceeded,
    InvalidParameterValue,
    ObjectNotInPrerequisiteState,
    OutOfMemory,
    PointsBeyondRetention,
    ProgramLimitExceeded,
    StartupError,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.model.places import places_in, places_of
from tsdb.model.points import Points
from tsdb.model.ring import Slots
from tsdb.model.schema import (
    AddColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    DropColumn,
    DropDatabase,
    DropSeries,
    Role,
    SetRetention,
)
from tsdb.model.store import (
    TIME,
    Producer,
    RangeDeletion,
    ScanRequest,
    TagMatch,
    TimeRange,
)
from tsdb.model.time import BUCKET_NS, WINDOW_NS
from tsdb.storage import flusher, keys
from tsdb.storage.flush import Flushed
from tsdb.storage.markers import position_at
from tsdb.storage.op import decode_op, encode_op
from tsdb.storage.options import Options
from tsdb.storage.rocks import Rocks
from tsdb.types import INT8


def test_a_new_node_has_the_two_databases_and_does_not_make_them_again(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        assert set(setting.node.catalog.databases) == {"tsdb", "postgres"}
        setting.node.change(DropDatabase("postgres"))
        setting.reopen()
        assert set(setting.node.catalog.databases) == {"tsdb"}


def test_a_write_is_visible_when_its_future_ends_and_a_view_stays_as_it_was(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2])
        view = setting.node.view()
        setting.write([3], start=START + 5 * SECOND)
        setting.node.delete(setting.database, RangeDeletion(setting.series, TimeRange(START, START + 1))).result(10)
        setting.node.flush()
        column = setting.series.column("v").number
        batches = list(view.scan(ScanRequest(setting.series, (column,))).batches)
        assert [v for batch in batches for v in batch.column(0).to_pylist()] == [1, 2]
        view.close()
        assert setting.values() == [2, 3]


def test_writes_that_waited_for_a_sync_share_the_next_one(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        busy = threading.Event()
        waiting = setting.node.engine._committer.call(lambda: busy.wait(10))
        before = setting.metric("syncs")
        futures = [
            setting.node.write(setting.database, [setting.points([i], start=START + i * SECOND)]) for i in range(100)
        ]
        busy.set()
        assert waiting.result(10)
        assert all(future.result(10).points == 1 for future in futures)
        assert setting.metric("ops_appended") == 100
        assert setting.metric("syncs") - before <= 2
        assert setting.values() == list(range(100))


def test_a_write_of_nothing_is_written(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        assert setting.node.write(setting.database, []).result(1).points == 0
        assert setting.node.write(setting.database, [setting.points([])]).result(1).points == 0
        nothing = RangeDeletion(setting.series, TimeRange(5, 5))
        assert setting.node.delete(setting.database, nothing).result(1) is None


def test_a_full_head_makes_writers_wait_and_then_refuses_them(tmp_path: Path) -> None:
    with Setting(tmp_path, head_bytes=40_000, write_wait=0.2, frozen_max=0) as setting:
        with pytest.raises(OutOfMemory, match="memory for recent points is full"):
            for i in range(100):
                setting.write(list(range(100)), start=START + i * 100 * SECOND)
        assert setting.metric("writers_refused") == 1
        assert setting.metric("head_bytes") <= 60_000
        setting.node.flush()
        setting.write([7], start=START - SECOND)


def test_a_waiting_writer_goes_on_when_a_flush_made_room(tmp_path: Path) -> None:
    with Setting(tmp_path, head_bytes=40_000, write_wait=30) as setting:
        for i in range(100):
            setting.write(list(range(100)), start=START + i * 100 * SECOND)
        assert setting.metric("flushes") >= 2
        assert setting.metric("writers_refused") == 0
        assert len(setting.values()) == 10_000


def test_a_write_larger_than_the_head_goes_alone(tmp_path: Path) -> None:
    with Setting(tmp_path, head_bytes=10_000) as setting:
        for i in range(3):
            setting.write(list(range(2_000)), start=START + i * 2_000 * SECOND)
        assert len(setting.values()) == 6_000


def test_a_write_larger_than_the_queue_is_refused_at_once(tmp_path: Path) -> None:
    with Setting(tmp_path, queue_bytes=10_000) as setting, pytest.raises(ProgramLimitExceeded, match="larger than"):
        setting.write(list(range(10_000)))


def test_a_second_opening_of_a_directory_is_refused(tmp_path: Path) -> None:
    with Setting(tmp_path), pytest.raises(StartupError, match="in use by another process"):
        Node.open(tmp_path, Options(disk_reserve=0))


def test_a_numbered_batch_is_applied_once_even_after_flush_and_restart(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        # Two hours fall into many locations.
        points = setting.points(list(range(24)), step=BUCKET_NS)

        def write(batch: int) -> Any:
            return setting.node.write(setting.database, [points], Producer("p", batch)).result(10)

        assert write(1).duplicate is False
        assert write(1).duplicate is True
        assert write(2).duplicate is False
        setting.node.flush()
        assert write(2).duplicate is True
        assert write(3).duplicate is False
        setting.reopen()
        assert [write(batch).duplicate for batch in (1, 2, 3, 4)] == [True, True, True, False]
        assert len(setting.values()) == 4 * 24
        assert write(2_000).duplicate is False
        with pytest.raises(ObjectNotInPrerequisiteState):
            write(1_000)
        with pytest.raises(InvalidParameterValue):
            write(0)


def test_a_retry_while_the_first_is_under_way_waits_for_it_and_is_a_duplicate(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        points = [setting.points([1, 2, 3])]
        futures = [setting.node.write(setting.database, points, Producer("p", 1)) for _ in range(20)]
        assert [f.result(10).duplicate for f in futures] == [False] + [True] * 19
        assert setting.values() == [1, 2, 3]


def test_the_same_batch_number_in_another_database_is_another_batch(tmp_path: Path) -> None:
    producer = Producer("p", 1)
    with Setting(tmp_path) as setting:
        setting.node.change(CreateSeries("postgres", "cpu", COLUMNS, True))

        def write_to(name: str) -> bool:
            database = setting.node.catalog.find(name)
            series = database.find("cpu")
            number = series.column("v").number
            values = pa.array(list(range(64)), pa.int64())
            times = np.arange(64, dtype=np.int64) * BUCKET_NS + START
            points = Points(series, times, [b""], np.zeros(64, np.int32), {number: values})
            return setting.node.write(database, [points], producer).result(10).duplicate

        assert [write_to("tsdb"), write_to("postgres")] == [False, False]
        setting.reopen()
        assert [write_to("tsdb"), write_to("postgres")] == [True, True]
        setting.node.change(DropDatabase("postgres"), CreateDatabase("postgres"))
        setting.node.change(CreateSeries("postgres", "cpu", COLUMNS, True))
        assert [write_to("tsdb"), write_to("postgres")] == [True, False]
        setting.reopen()
        assert [write_to("tsdb"), write_to("postgres")] == [True, True]
        view = setting.node.view()
        series = view.catalog.find("postgres").find("cpu")
        assert sum(batch.num_rows for batch in view.scan(ScanRequest(series, ())).batches) == 64
        view.close()


def test_a_write_to_a_column_that_was_dropped_meanwhile_is_refused(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.node.change(AddColumn("tsdb", "cpu", ColumnDefinition("w", Role.FIELD, INT8)))
        late = setting.points([1])
        late.fields[setting.series.column("w").number] = pa.array([2], pa.int64())
        setting.node.change(DropColumn("tsdb", "cpu", "w"))
        with pytest.raises(UndefinedColumn, match="was dropped or changed its type"):
            setting.node.write(setting.database, [late]).result(10)
        assert setting.seen() == []


def test_there_are_only_so_many_producers(tmp_path: Path) -> None:
    with Setting(tmp_path, producers_max=1) as setting:
        setting.node.write(setting.database, [setting.points([1])], Producer("a", 1)).result(10)
        with pytest.raises(ConfigurationLimitExceeded):
            setting.node.write(setting.database, [setting.points([1])], Producer("b", 1)).result(10)


def test_there_are_only_so_many_tag_sets(tmp_path: Path) -> None:
    with Setting(tmp_path, tagsets_max=2) as setting:
        setting.write([1], host="a")
        setting.write([1], host="b")
        with pytest.raises(ConfigurationLimitExceeded, match="limit of 2"):
            setting.write([1], host="c")
        setting.write([2], host="a")


def test_a_write_for_a_dropped_series_is_refused_and_says_so(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        points, database = setting.points([1]), setting.database
        deletion = RangeDeletion(setting.series)
        setting.node.change(DropSeries("tsdb", "cpu"))
        with pytest.raises(UndefinedTable, match='"cpu" does not exist any more'):
            setting.node.write(database, [points]).result(10)
        with pytest.raises(UndefinedTable):
            setting.node.delete(database, deletion).result(10)


def test_points_below_the_floor_are_refused_and_older_ones_are_gone(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2, 3])
        setting.node.change(SetRetention("tsdb", "cpu", None, START + SECOND))
        assert setting.values() == [2, 3]
        with pytest.raises(PointsBeyondRetention, match="points beyond retention policy"):
            setting.write([9])
        setting.reopen()
        assert setting.values() == [2, 3]
        assert setting.node.statistics(setting.series).rows == 2


def test_sequences_rise_and_never_repeat_even_when_nothing_is_left_of_them(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        setting.write([1, 2, 3])
        last = setting.seen()[-1].sequence
        assert last >> 48 == 1
        setting.node.delete(setting.database, RangeDeletion(setting.series)).result(10)
        setting.reopen()
        assert setting.values() == []
        assert setting.node.statistics(setting.series).blocks == 0
        setting.write([4])
        assert setting.seen()[0].sequence > last + 1


def test_a_delete_between_two_versions_does_not_resurrect_the_first(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        number = setting.series.column("v").number
        setting.write([1])
        setting.node.flush()
        setting.node.delete(setting.database, RangeDeletion(setting.series)).result(10)
        empty = replace(setting.points([0]), fields={number: pa.nulls(1, pa.int64())})
        setting.node.write(setting.database, [empty]).result(10)
        assert setting.values() == [None]
        for _ in range(2):
            setting.reopen()
            assert setting.values() == [None]


def test_dropped_series_leave_nothing_behind_once_no_view_reads_them(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write(list(range(100)))
        setting.node.flush()
        view, series = setting.node.view(), setting.series
        setting.node.change(DropSeries("tsdb", "cpu"))
        column = series.column("v").number
        assert sum(b.num_rows for b in view.scan(ScanRequest(series, (column,))).batches) == 100
        view.close()
        deadline = time.monotonic() + 60
        while _has_values(setting, series.number) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _has_values(setting, series.number)
        setting.node.change(CreateSeries("tsdb", "cpu", COLUMNS, True))
        assert setting.series.number != series.number
        assert setting.values() == []


def _has_values(setting: Setting, series: int) -> bool:
    prefix = keys.number_prefix(series)
    rocks = setting.node.engine._shard.rocks
    return any(
        next(rocks.scan(family, prefix, keys.after(prefix)), None) is not None
        for family in ("columns", "blocks", "runs", "tagsets", "tombstones")
    )


def test_a_series_dropped_while_a_view_read_it_is_cleaned_up_at_the_next_start(tmp_path: Path) -> None:
    with Setting(tmp_path / "one") as setting:
        setting.write(list(range(100)))
        setting.node.flush()
        number = setting.series.number
        view = setting.node.view()
        setting.node.change(DropSeries("tsdb", "cpu"))
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        view.close()
    with Setting(tmp_path / "two") as setting:
        assert not _has_values(setting, number)


def test_a_dropped_database_takes_its_logs_along(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.node.change(CreateDatabase("other"), CreateSeries("other", "cpu", COLUMNS, True))
        other = setting.node.catalog.find("other")
        points = replace(setting.points([1, 2]), series=other.find("cpu"), fields={}, tagsets=[b""])
        setting.node.write(other, [points]).result(10)
        setting.write([5])
        setting.node.change(DropDatabase("other"))
        setting.reopen()
        assert setting.values() == [5]


def test_flushed_ops_are_dropped_and_as_many_kept_as_asked(tmp_path: Path) -> None:
    for kept in (0, 3):
        with Setting(tmp_path / str(kept), ops_kept=kept) as setting:
            for i in range(10):
                setting.write([i], start=START)
            setting.node.flush()
            assert len(_ops(setting)) == kept
            setting.reopen()
            assert setting.values() == [9]
            setting.write([11], start=START)
            sequences = [decode_op(op)[0].sequence for op in _ops(setting)]
            assert sequences[-1] == 11
            assert sequences == list(range(11 - kept, 12))


def _ops(setting: Setting) -> list[bytes]:
    return [value for _, value in setting.node.engine._shard.rocks.scan("ops")]


def test_markers_find_a_log_position_by_time(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Setting(tmp_path, clock=clock) as setting:
        engine = setting.node.engine
        setting.write([1])
        location = decode_op(_ops(setting)[0])[0].location
        clock.time_ns += 301 * SECOND
        _wait_until(lambda: len(_ops(setting)) == 2)
        setting.write([2])
        clock.time_ns += 301 * SECOND
        _wait_until(lambda: len(_ops(setting)) == 4)
        clock.time_ns += 301 * SECOND
        time.sleep(1.2)
        assert len(_ops(setting)) == 4, "no marker for a location without new ops"
        rocks = engine._shard.rocks
        assert position_at(rocks, location, START) is None
        assert position_at(rocks, location, START + 301 * SECOND) == 2
        assert position_at(rocks, location, START + 10_000 * SECOND) == 4
        setting.node.flush()
        assert list(rocks.scan("markers")) == []
        setting.write([3])
        assert decode_op(_ops(setting)[0])[0].sequence == 5


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_old_head_is_flushed(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Setting(tmp_path, clock=clock, head_age=60) as setting:
        setting.write([1])
        clock.time_ns += 61 * SECOND
        _wait_until(lambda: setting.metric("blocks") == 1)
        assert setting.values() == [1]


def test_a_log_with_a_changed_missing_or_foreign_op_is_not_opened(tmp_path: Path) -> None:
    with Setting(tmp_path / "whole") as setting:
        for i in range(4):
            setting.write([i], start=START)
        shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    with Rocks.open(tmp_path / "copy") as rocks:
        ops = list(rocks.scan("ops"))

    def damaged(name: str, *changes: tuple[bytes, bytes | None]) -> str:
        path = tmp_path / name
        shutil.copytree(tmp_path / "copy", path)
        with Rocks.open(path) as rocks:
            batch = rocks.batch()
            for key, value in changes:
                if value is None:
                    batch.delete("ops", key)
                else:
                    batch.put("ops", key, value)
            rocks.write(batch, sync=True)
        with pytest.raises(StartupError, match="was not opened, so that nothing in it is lost") as refused:
            Node.open(path, Options(disk_reserve=0))
        return str(refused.value)

    flipped = bytearray(ops[1][1])
    flipped[-1] ^= 1
    assert "body" in damaged("flipped", (ops[1][0], bytes(flipped)))
    assert "op 3 is there where 2 is due" in damaged("missing", (ops[1][0], None))
    assert "op" in damaged("swapped", (ops[1][0], ops[2][1]))
    # Without its end the log is a log: only a chain tells that an op was replaced.
    header, body = decode_op(ops[1][1])
    forged = encode_op(replace(header, wall_ns=header.wall_ns + 1), bytes(body))
    assert "chain of hashes" in damaged("forged", (ops[1][0], forged))


def test_values_without_a_header_are_deleted_at_start(tmp_path: Path) -> None:
    with Setting(tmp_path / "one", head_bytes=1 << 20) as setting:
        setting.write(list(range(1000)), step=WINDOW_NS // 500)
        shard = setting.node.engine._shard
        head = setting.node.engine._committer.call(shard.freeze).result(10)
        flusher._write(shard, Flushed(head, shard.version.number), flusher.BlockIds(shard))
        assert _has_values(setting, setting.series.number)
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        setting.node.engine._flusher.flush(head).result(10)
    with Setting(tmp_path / "two") as setting:
        assert not any(setting.node.engine._shard.rocks.scan("columns"))
        assert setting.values() == list(range(1000))


def test_a_log_larger_than_the_head_is_replayed_in_bounded_memory(tmp_path: Path) -> None:
    with Setting(tmp_path / "one", head_bytes=64 << 20) as setting:
        for i in range(10):
            setting.write(list(range(20_000)), start=START + i * 20_000 * SECOND)
        shutil.copytree(tmp_path / "one", tmp_path / "two")
    with Setting(tmp_path / "two", head_bytes=2 << 20) as setting:
        assert setting.metric("blocks") > 4
        assert setting.metric("head_bytes") < 2 << 20
        assert setting.node.statistics(setting.series).rows == 200_000
        assert Counter(setting.values()) == Counter(dict.fromkeys(range(20000), 10))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failed_sync_ends_the_process(tmp_path: Path) -> None:
    reasons: list[str] = []

    def abort(reason: str) -> None:
        reasons.append(reason)

    setting = Setting(tmp_path, abort=abort)
    setting.write([1])
    setting.node.engine._shard.rocks._failure = "the disk is gone"
    future = setting.node.write(setting.database, [setting.points([2])])
    _wait_until(lambda: reasons)
    assert "the disk is gone" in reasons[0]
    assert not future.done(), "nobody is told that it was written"
    # In the place of the end of the process.
    for part in (setting.node.engine._compactor, setting.node.engine._flusher, setting.node.engine._committer):
        part.close()
    setting.node.engine._shard.rocks.close()


def test_a_closed_engine_refuses_writes(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    points = [setting.points([1])]
    setting.node.close()
    setting.node.close()
    with pytest.raises(AdminShutdown):
        setting.node.write(setting.database, points).result(1)


def test_scans_give_the_columns_that_were_asked_for(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        for i, host in enumerate(("a", "b", "c")):
            setting.write(list(range(10 * i, 10 * i + 10)), host=host, start=START - 1)
        tag, value = setting.series.column("host").number, setting.series.column("v").number
        for _ in range(2):
            view = setting.node.view()
            counted = view.scan(ScanRequest(setting.series, ()))
            assert sum(batch.num_rows for batch in counted.batches) == 30
            tags = view.scan(ScanRequest(setting.series, (tag,)))
            assert tags.schema.types == [pa.dictionary(pa.int32(), pa.string())]
            assert sorted(v for b in tags.batches for v in b.column(0).to_pylist()) == sorted("abc" * 10)
            only = view.scan(
                ScanRequest(setting.series, (value, TIME), tags=(TagMatch(tag, lambda v: v == "b"),)),
            )
            rows = [row for batch in only.batches for row in zip(*batch.to_pydict().values(), strict=True)]
            assert [row[0] for row in rows] == list(range(10, 20))
            # Times are floored to microseconds.
            assert pa.array([rows[0][1]], only.schema.field(1).type).cast(pa.int64())[0].as_py() == START // 1000 - 1
            assert only.statistics.rows_returned == 10
            assert only.statistics.tagsets_matched == 1
            with pytest.raises(UndefinedColumn):
                view.scan(ScanRequest(setting.series, (999,)))
            with pytest.raises(UndefinedColumn):
                view.scan(ScanRequest(setting.series, ("ctid",)))
            view.close()
            setting.node.flush()


def test_blocks_out_of_range_or_without_the_tag_set_are_not_read(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=100) as setting:
        for host in ("a", "b", "c"):
            setting.write(list(range(100)), host=host)
            setting.write(list(range(100)), host=host, start=START + 10 * WINDOW_NS)
        setting.node.flush()
        tag, value = setting.series.column("host").number, setting.series.column("v").number
        view = setting.node.view()
        request = ScanRequest(
            setting.series, (value,), TimeRange(START, START + 10 * SECOND), (TagMatch(tag, lambda v: v == "b"),)
        )
        scan = view.scan(request)
        assert sum(batch.num_rows for batch in scan.batches) == 10
        found = scan.statistics
        assert (found.blocks_total, found.blocks_pruned_time, found.blocks_pruned_tags) == (6, 3, 2)
        assert (found.blocks_read, found.rows_read, found.merged_rows) == (1, 10, 0)
        everything = view.scan(replace(request, prune=False))
        assert sum(batch.num_rows for batch in everything.batches) == 30
        view.close()


def test_statistics_count_head_and_blocks(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2])
        setting.node.flush()
        setting.write([3], start=START + 9 * SECOND, host="b")
        found = setting.node.statistics(setting.series)
        assert (found.rows, found.blocks, found.tagsets) == (3, 1, 2)
        assert (found.min_time_ns, found.max_time_ns) == (START, START + 9 * SECOND)
        assert set(found.column_bytes) == {setting.series.column("v").number}
        assert found.bytes > sum(found.column_bytes.values())


def test_keys_that_were_cut_by_other_slots_are_not_deleted_in_part(tmp_path: Path) -> None:
    """Another node sends what lies in some locations here, and may not know the slots yet."""
    begin = START // BUCKET_NS + 1
    with Setting(tmp_path / "a", slots=[Slots(begin, 3)]) as setting:
        setting.write(range(300), start=begin * BUCKET_NS)
        seen, database = setting.seen(), setting.database
        deletion = key_deletion(setting.series, [(each.tags, each.time) for each in seen])
        whole, slots = places_of(database.number, setting.series.number), places_in(database, setting.series.number)
        ((stale, _),) = whole.cut(database.locations, deletion.times)
        with pytest.raises(CannotConnectNow, match="slots"):
            setting.node.commit_here([deletion], frozenset({stale.number}), None, 1).result(10)
        assert setting.seen() == seen
        numbers = frozenset(location.number for location, _ in slots.cut(database.locations, deletion.times))
        setting.node.commit_here([deletion], numbers, None, 1).result(10)
        assert not setting.seen()
