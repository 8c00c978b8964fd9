"""Compaction on a node: what becomes of blocks, tombstones and versions, and who may still read what."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.cluster.model import scan
from tests.cluster.setting import SECOND, START, Setting
from tests.compaction.disk import NO_STRAYS, strays
from tsdb.cluster.node import Node
from tsdb.errors import DiskFull
from tsdb.model.schema import AddColumn, ColumnDefinition, DropColumn, DropSeries, Role, SetRetention
from tsdb.model.store import Compaction, RangeDeletion, ScanRequest, TagIn, TimeRange
from tsdb.model.time import WINDOW_NS
from tsdb.storage.compaction import compactor
from tsdb.storage.compaction.merge import Merge
from tsdb.storage.options import Options
from tsdb.types import FLOAT8

DAY_NS = 12 * WINDOW_NS


def quiet(**options: Any) -> dict[str, Any]:
    """Nothing happens in the background."""
    return {"compaction": False, "compaction_quiet": 0, **options}


def compact(setting: Setting, *, full: bool = False) -> list[Compaction]:
    done: list[Compaction] = []
    setting.node.compact([setting.series], full=full, told=done.append)
    return done


def write_blocks(setting: Setting, *flushes: list[int], **where: Any) -> None:
    for values in flushes:
        setting.write(values, **where)
        setting.node.flush()


def test_blocks_that_overlap_become_one_and_versions_of_a_point_one(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1, 2, 3], [4, 5], [6])
        (done,) = compact(setting)
        assert (done.reason, done.blocks_in, done.blocks_out, done.rows_in, done.rows_out) == ("overlap", 3, 1, 6, 3)
        assert setting.values() == [6, 5, 3]
        assert [block.rows for block in setting.node.blocks(setting.series)] == [3]
        assert strays(setting.node) == NO_STRAYS
        setting.reopen()
        assert setting.values() == [6, 5, 3]
        assert compact(setting) == []


def test_it_happens_by_itself(tmp_path: Path) -> None:
    with Setting(tmp_path, compaction_quiet=0) as setting:
        write_blocks(setting, [1, 2, 3], [4, 5])
        deadline = time.monotonic() + 60
        while setting.metric("compactions") == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert setting.metric("blocks") == 1
        assert setting.values() == [4, 5, 3]


def test_a_deletion_between_two_versions_is_carried_out_before_they_are_merged(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        setting.node.change(AddColumn("tsdb", "cpu", ColumnDefinition("w", Role.FIELD, FLOAT8)))
        write_blocks(setting, [1, 2])
        setting.node.delete(setting.database, RangeDeletion(setting.series)).result(10)
        points = setting.points([0])
        other = {setting.series.column("w").number: pa.array([0.5])}
        setting.node.write(setting.database, [replace(points, fields=other)]).result(10)
        compact(setting)
        assert [seen.fields for seen in setting.seen()] == [(None, 0.5)]
        assert setting.metric("tombstones") == 0
        setting.reopen()
        assert [seen.fields for seen in setting.seen()] == [(None, 0.5)]


def test_a_tombstone_stays_until_every_block_was_looked_through(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        host = setting.series.column("host").number
        for name in ("a", "b", "c"):
            setting.write([1, 2, 3], host=name)
        setting.node.flush()
        setting.node.delete(setting.database, RangeDeletion(setting.series, tags=(TagIn(host, frozenset("b")),)))
        setting.node.flush()
        assert setting.metric("tombstones") == 32, "one for each location"
        setting.reopen()
        assert len(setting.seen()) == 6
        (done,) = compact(setting)
        assert (done.reason, done.rows_in, done.rows_out) == ("tombstones", 9, 6)
        assert setting.metric("tombstones") == 0
        assert list(setting.node.engine._shard.rocks.scan("tombstones")) == []
        setting.reopen()
        assert len(setting.seen()) == 6
        assert setting.metric("tombstones") == 0


@pytest.mark.parametrize("news_bytes", [0, compactor.NEWS_BYTES])
def test_the_log_names_the_tables_and_says_nothing_of_little_work(
    news_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compactor, "NEWS_BYTES", news_bytes)
    caplog.set_level(logging.INFO, "tsdb.storage")
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1], [2])
        assert compact(setting)
        named = f'in "{setting.series.name}" of "{setting.database.name}")'
    said = [each for each in caplog.messages if each.startswith("compacted ")]
    assert [named in each for each in said] == ([] if news_bytes else [True])


def test_a_block_without_a_hidden_row_is_not_written_again(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1, 2, 3, 4])
        (before,) = setting.node.blocks(setting.series)
        # Of the rest of the window, in which no point is.
        deletion = RangeDeletion(setting.series, TimeRange(START + 1, START + SECOND))
        setting.node.delete(setting.database, deletion).result(10)
        setting.node.flush()
        assert compact(setting) == []
        assert list(setting.node.blocks(setting.series)) == [before]
        assert setting.metric("tombstones") == 0


def test_what_is_deleted_as_a_whole_goes_unread_and_gives_its_space_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Setting(tmp_path, **quiet(rows_per_block=100)) as setting:
        setting.write(list(range(1000)), step=WINDOW_NS // 100)
        setting.node.flush()
        blocks = len(setting.node.blocks(setting.series))
        middle = START // WINDOW_NS * WINDOW_NS + 5 * WINDOW_NS
        setting.node.delete(setting.database, RangeDeletion(setting.series, TimeRange(high=middle))).result(10)
        left = setting.values()
        setting.node.flush()
        monkeypatch.setattr(compactor, "Merge", None)
        done = compact(setting)
        assert {each.reason for each in done} == {"deleted"}
        assert len(setting.node.blocks(setting.series)) == blocks - len(done) == 6
        assert setting.values() == left
        assert strays(setting.node) == NO_STRAYS
        assert setting.metric("tombstones") == 0


def test_retention_drops_blocks_and_cuts_those_that_are_merged(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        setting.write(list(range(100)), step=WINDOW_NS // 10)
        setting.node.flush()
        setting.write([1000], start=START + 50 * (WINDOW_NS // 10))
        setting.node.flush()
        floor = START + 50 * (WINDOW_NS // 10) + 1
        setting.node.change(SetRetention("tsdb", "cpu", None, floor))
        done = compact(setting)
        assert "retention" in {each.reason for each in done}
        assert setting.values() == list(range(51, 100))
        assert sum(block.rows for block in setting.node.blocks(setting.series)) == 49
        assert strays(setting.node) == NO_STRAYS


def test_a_dropped_column_gives_its_space_back(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        setting.node.change(AddColumn("tsdb", "cpu", ColumnDefinition("w", Role.FIELD, FLOAT8)))
        write_blocks(setting, [1, 2])
        setting.node.change(DropColumn("tsdb", "cpu", "v"))
        (done,) = compact(setting)
        assert done.reason == "columns"
        assert [block.columns for block in setting.node.blocks(setting.series)] == [0]
        assert strays(setting.node) == NO_STRAYS


def test_little_data_of_many_windows_becomes_one_block_that_is_read_once(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        start = START // DAY_NS * DAY_NS
        for window in range(12):
            write_blocks(setting, [window], start=start + window * WINDOW_NS)
        (done,) = compact(setting)
        assert (done.reason, done.blocks_in, done.blocks_out) == ("small", 12, 1)
        view = setting.node.view()
        found = view.scan(ScanRequest(setting.series, ("time_ns", setting.series.column("v").number)))
        assert sum(batch.num_rows for batch in found.batches) == 12
        assert found.statistics.blocks_read == 1
        assert found.statistics.bytes_read <= setting.node.blocks(setting.series)[0].bytes
        view.close()
        late = start + 5 * WINDOW_NS
        setting.write([100], start=late)
        setting.node.flush()
        assert setting.values() == [*range(5), 100, *range(6, 12)]
        assert [seen.fields for seen in setting.seen(range=TimeRange(late, late + WINDOW_NS))] == [(100,)]
        assert [each.reason for each in compact(setting)] == ["small"]
        assert setting.values() == [*range(5), 100, *range(6, 12)]


def test_a_view_reads_what_it_saw_and_the_values_go_when_it_is_closed(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1, 2, 3], [4])
        view = setting.node.view()
        half_read = view.scan(ScanRequest(setting.series, (setting.series.column("v").number,))).batches
        compact(setting)
        assert setting.metric("retired_bytes") > 0
        assert sorted(seen.fields[0] for seen in scan(view, setting.series)) == [2, 3, 4]
        view.close()
        time.sleep(1.5)
        assert setting.metric("retired_bytes") > 0, "a scan that is still read keeps what it reads"
        assert sorted(v for batch in half_read for v in batch.column(0).to_pylist()) == [2, 3, 4]
        del half_read
        deadline = time.monotonic() + 60
        while setting.metric("retired_bytes") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert strays(setting.node) == NO_STRAYS


def test_versions_are_not_merged_across_a_held_moment_and_are_when_it_is_gone(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1, 2])
        view = setting.node.view()
        write_blocks(setting, [3])
        (done,) = compact(setting)
        assert (done.rows_in, done.rows_out) == (3, 3)
        assert [block.unique for block in setting.node.blocks(setting.series)] == [False]
        assert setting.values() == [3, 2]
        assert compact(setting) == []
        view.close()
        (done,) = compact(setting)
        assert (done.reason, done.rows_in, done.rows_out) == ("versions", 3, 2)
        assert setting.values() == [3, 2]


def test_a_series_that_is_dropped_while_it_is_compacted_leaves_nothing(tmp_path: Path) -> None:
    with Setting(tmp_path, **quiet()) as setting:
        write_blocks(setting, [1, 2], [3])
        engine, series = setting.node.engine, setting.series
        call = engine._compactor._call

        def drop_before(function: Any) -> Any:
            setting.node.change(DropSeries("tsdb", "cpu"))
            return call(function)

        engine._compactor._call = drop_before
        setting.node.compact([series])
        engine._compactor._call = call
        engine._committer.call(engine._delete_deferred).result(10)
        assert strays(setting.node) == NO_STRAYS
        assert setting.metric("compactions") == 0


def test_on_a_disk_that_is_nearly_full_only_what_frees_some_is_done(tmp_path: Path) -> None:
    free = [10**9]
    with Setting(tmp_path, **quiet(disk_reserve=10**6, free_bytes=lambda _: free[0])) as setting:
        write_blocks(setting, [1, 2], [3])
        write_blocks(setting, [4], start=START + DAY_NS)
        setting.node.delete(setting.database, RangeDeletion(setting.series, TimeRange(low=START + WINDOW_NS))).result(
            10
        )
        free[0] = 0
        assert {each.reason for each in compact(setting)} == {"deleted"}
        free[0] = 10**9
        assert {each.reason for each in compact(setting)} == {"overlap"}


def test_a_full_vacuum_is_refused_where_the_table_does_not_fit_beside_itself(tmp_path: Path) -> None:
    free = [10**9]
    with Setting(tmp_path, **quiet(disk_reserve=10**6, free_bytes=lambda _: free[0])) as setting:
        write_blocks(setting, [*range(5000)])
        stored = setting.node.engine._shard.version.blocks[setting.series.number].headers
        size = sum(header.value_bytes for header in stored)
        free[0] = 10**6 + size - 1
        with pytest.raises(DiskFull, match="no room for a full VACUUM") as refused:
            compact(setting, full=True)
        assert f"it takes up to {size} bytes" in str(refused.value.detail)
        free[0] += 1
        compact(setting, full=True)


def test_compaction_stops_between_two_rounds_when_the_disk_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor, "ROUND_BLOCKS", 2)
    free = [10**9]
    options = quiet(disk_reserve=10**6, free_bytes=lambda _: free[0], rows_per_block=2)
    with Setting(tmp_path, **options) as setting:
        for day in range(3):
            write_blocks(setting, [1, 2], [3, 4], start=START + day * DAY_NS)
        done = compactor.Compactor._round

        def filled(*given: Any) -> Any:
            found = done(*given)
            free[0] = 0
            return found

        with monkeypatch.context() as patch:
            patch.setattr(compactor.Compactor, "_round", filled)
            assert len(compact(setting)) == 1
        free[0] = 10**9
        assert len(compact(setting)) == 2


def test_a_huge_window_passes_through_tile_by_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = [0]
    merged = Merge._blocks

    def measured(self: Any, parts: Any, next_block: Any) -> Any:
        largest[0] = max(largest[0], sum(map(len, parts)))
        return merged(self, parts, next_block)

    monkeypatch.setattr(Merge, "_blocks", measured)
    with Setting(tmp_path, **quiet(rows_per_block=50)) as setting:
        for flush in range(3):
            for host in range(40):
                setting.write(list(range(30)), host=f"h{host}", start=START + flush * 30 * SECOND)
            setting.node.flush()
        write_blocks(setting, list(range(3000)), host="h7", step=SECOND // 10)
        before = setting.values()
        compact(setting)
        assert setting.values() == before
        assert all(block.rows <= 50 for block in setting.node.blocks(setting.series))
        assert largest[0] <= 12 * 50


def test_the_rows_of_a_full_vacuum_are_the_same(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False, **quiet(rows_per_block=20)) as setting:
        for host in ("a", "b"):
            write_blocks(setting, list(range(100)), [5, 6], host=host, step=WINDOW_NS // 30)
        before = setting.seen()
        assert all(each.reason in ("full", "small") for each in compact(setting, full=True)[:3])
        assert setting.seen() == before
        assert strays(setting.node) == NO_STRAYS
        setting.reopen()
        assert setting.seen() == before


def test_blocks_of_a_node_that_is_opened_again_are_not_written_again(tmp_path: Path) -> None:
    options = Options(disk_reserve=0, compaction=False, compaction_quiet=0, rows_per_block=10)
    with Setting(tmp_path, keyed=False, rows_per_block=10, compaction=False, compaction_quiet=0) as setting:
        # More rows of one time than a block holds: they can never lie better.
        write_blocks(setting, [1] * 35, [2] * 17, step=0)
        compact(setting)
        ids = [block.number for block in setting.node.blocks(setting.series)]
        setting.node.close()
        setting.node = Node.open(tmp_path, options)
        assert compact(setting) == []
        assert [block.number for block in setting.node.blocks(setting.series)] == ids
