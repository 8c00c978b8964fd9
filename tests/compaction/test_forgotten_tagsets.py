"""Tag sets of which no row is left are forgotten, whoever writes or reads meanwhile, and whenever the process dies."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.cluster.model import scan
from tests.cluster.setting import SECOND, START, Setting
from tests.cluster.test_histories import copy_at_one_moment
from tests.compaction.test_interrupted import Crashes
from tests.fixtures.waiting import until
from tsdb.model.schema import SetRetention
from tsdb.model.store import RangeDeletion, TagIn, TimeRange
from tsdb.storage import keys
from tsdb.storage.apply import rows_of
from tsdb.storage.compaction import forget
from tsdb.storage.tagsets import decode_tagset_record

QUIET: dict[str, Any] = {"compaction": False, "compaction_quiet": 0}


def delete_hosts(setting: Setting, *hosts: str) -> None:
    tags = (TagIn(setting.series.column("host").number, frozenset(hosts)),)
    setting.node.delete(setting.database, RangeDeletion(setting.series, tags=tags)).result(10)


def rows(setting: Setting) -> dict[str, list[int]]:
    """The values of each host."""
    found: dict[str, list[int]] = {}
    for seen in setting.seen():
        found.setdefault(dict(seen.tags)[setting.series.column("host").number], []).append(seen.fields[0])
    return found


def known(setting: Setting) -> list[str]:
    """The hosts of all tag sets there are, in memory; their records on disk are the same after a flush."""
    shard, series = setting.node.engine._shard, setting.series
    tagsets = shard.version.tagsets[series.number]
    codes, values = tagsets.column(series.column("host").number)
    found = sorted(values[code] for code in codes[tagsets.present()].tolist())
    assert sorted(values.arrow().to_pylist()) == found, "a value that no tag set has"
    assert setting.node.statistics(series).tagsets == len(found) == setting.metric("tagsets")
    records = {
        keys.unpack_tagset_key(key)[1]: decode_tagset_record(value) for key, value in shard.rocks.scan("tagsets")
    }
    index = shard.indexes[series.number]
    assert records == {i: tagsets.by_value(i) for i in range(index.durable) if tagsets.present()[i]}
    for number, tagset in records.items():
        assert tagsets.find(tagset) == number
    return found


def test_after_a_delete_tag_sets_without_rows_are_known_no_more(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        for host in "abcde":
            setting.write([1, 2], host=host)
        setting.node.flush()
        before = setting.node.statistics(setting.series).tagsets
        delete_hosts(setting, "a", "c", "e")
        assert known(setting) == list("abcde"), "their rows are still in blocks"
        setting.node.compact([setting.series])
        assert (before, known(setting), setting.metric("tagsets_forgotten")) == (5, ["b", "d"], 3)
        setting.write([7], host="c")
        setting.write([8], host="f")
        assert rows(setting) == {"b": [1, 2], "d": [1, 2], "c": [7], "f": [8]}
        setting.reopen()
        assert rows(setting) == {"b": [1, 2], "d": [1, 2], "c": [7], "f": [8]}
        setting.node.compact([setting.series])
        assert known(setting) == ["b", "c", "d", "f"]


def test_what_retention_outlives_is_forgotten(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        setting.write([1], host="old")
        setting.write([2], host="new", start=START + 86_400 * SECOND)
        setting.node.flush()
        setting.node.change(SetRetention("tsdb", "cpu", None, START + 3600 * SECOND))
        setting.node.compact([setting.series])
        assert known(setting) == ["new"]


def test_it_happens_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the series is looked at before anything of it is deleted, and then again after a pause.
    monkeypatch.setattr(forget, "PAUSE_SECONDS", 0.0)
    with Setting(tmp_path, compaction_quiet=0) as setting:
        setting.write([1], host="a")
        setting.write([2], host="b")
        delete_hosts(setting, "a")
        setting.node.flush()
        until(lambda: setting.metric("tagsets") == 1)
        assert known(setting) == ["b"]


def test_tag_sets_in_heads_stay_and_those_whose_rows_never_came_to_a_block_go(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        setting.write([1], host="a")
        delete_hosts(setting, "a")
        setting.write([2], host="b")
        engine = setting.node.engine
        engine.compact([setting.series.number], full=False, told=lambda _: None, cancelled=lambda: False).result(10)
        assert setting.metric("tagsets") == 2, "both are in the head"
        setting.node.compact([setting.series])
        assert known(setting) == ["b"]


def test_an_open_view_keeps_its_tag_sets(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        for host in "abc":
            setting.write([1], host=host)
        setting.node.flush()
        with closing(setting.node.view()) as view:
            before = scan(view, setting.series)
            delete_hosts(setting, "a", "b")
            setting.node.compact([setting.series])
            setting.write([5], host="a")
            assert len(before) == 3
            assert scan(view, setting.series) == before
        assert rows(setting) == {"a": [5], "c": [1]}


def test_an_open_view_goes_on_to_hide_what_was_deleted_before_it(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        for host in "ab":
            setting.write([1, 2], host=host)
            setting.node.flush()
        delete_hosts(setting, "a")
        shard, number = setting.node.engine._shard, setting.series.number
        tombstones = shard.version.tombstones[number]
        with closing(setting.node.view()) as view:
            setting.node.compact([setting.series])
            assert known(setting) == ["b"]
            assert shard.version.tombstones[number] is tombstones, "the block of b was not looked through"
            # What they come to is kept for the next scan, whichever view that is of.
            assert rows(setting) == {"b": [1, 2]}
            assert len(scan(view, setting.series)) == 2


def test_more_than_one_batch_deletes_goes_in_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "RANGES_MAX", 2)
    hosts = [f"h{i}" for i in range(20)]
    with Setting(tmp_path, **QUIET) as setting:
        for host in hosts:
            setting.write([1], host=host)
        setting.node.flush()
        delete_hosts(setting, *(h for i, h in enumerate(hosts) if i % 3))
        setting.node.compact([setting.series])
        assert known(setting) == sorted(hosts[::3])


def test_a_tag_set_that_is_written_again_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        for host in "abc":
            setting.write([1], host=host)
        setting.node.flush()
        delete_hosts(setting, "a", "b")
        replace, crossed = forget._replace, [0]

        def crossing(*arguments: Any) -> bool:
            # In the committer's thread: what comes first is applied as a write that was queued before is.
            if not crossed[0]:
                crossed[0] = 1
                points = setting.points([9], host="a")
                shard = setting.node.engine._shard
                index = shard.index_of(setting.series.number)
                sequences = np.array([shard.log.counter + 10**6], np.int64)
                new = rows_of(points.times, points.tagsets, points.tagset, points.fields, sequences, index)
                shard.apply({setting.series.number: [new]}, [])
            return replace(*arguments)

        monkeypatch.setattr(forget, "_replace", crossing)
        setting.node.compact([setting.series])
        assert rows(setting) == {"a": [9], "c": [1]}
        tagsets = setting.node.engine._shard.version.tagsets[setting.series.number]
        assert tagsets.size == 2


def test_after_a_crash_at_any_write_each_host_has_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Setting(tmp_path / "data", **QUIET) as setting:
        for host in "abcdef":
            setting.write([1, 2], host=host)
        setting.node.flush()
        delete_hosts(setting, "a", "b", "e")
        expected = rows(setting)
        with monkeypatch.context() as patched:
            crashes = Crashes(setting, tmp_path, patched)
            setting.node.compact([setting.series])
        setting.write([3], host="a")
        setting.node.flush()
        copy_at_one_moment(setting.path, tmp_path / "after")
    sizes = []
    for copy in crashes.copies:
        with Setting(copy, **QUIET) as again:
            assert rows(again) == expected
            sizes.append(again.metric("tagsets"))
            again.write([4], host="b")
            again.write([5], host="new")
            assert rows(again) == {**expected, "b": [4], "new": [5]}
            again.reopen()
            again.node.compact([again.series])
            assert known(again) == ["b", "c", "d", "f", "new"]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 3 < sizes[0]
    with Setting(tmp_path / "after", **QUIET) as again:
        assert rows(again) == {**expected, "a": [3]}


class Churn:
    """Writers of hosts of their own that come, go and come back, while others forget."""

    def __init__(self, setting: Setting, seed: int, steps: int) -> None:
        self.setting = setting
        self.expected: dict[str, list[int]] = {}
        self.errors: list[BaseException] = []
        self._steps = steps
        self._threads = [threading.Thread(target=self._write, args=(Random(seed + i), i)) for i in range(3)]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        while any(thread.is_alive() for thread in self._threads):
            self.setting.node.compact([self.setting.series])
        for thread in self._threads:
            thread.join()
        assert self.errors == []

    def _write(self, random: Random, number: int) -> None:
        try:
            for step in range(self._steps):
                host = f"{number}-{random.randrange(12)}"
                if random.random() < 0.4:
                    delete_hosts(self.setting, host)
                    self.expected.pop(host, None)
                else:
                    self.setting.write([step], host=host, start=START + step * SECOND)
                    self.expected.setdefault(host, []).append(step)
                self._check(number)
        except BaseException as error:
            self.errors.append(error)

    def _check(self, number: int) -> None:
        mine = {host: values for host, values in rows(self.setting).items() if host.startswith(f"{number}-")}
        assert mine == {host: v for host, v in list(self.expected.items()) if host.startswith(f"{number}-")}


def churn(directory: Path, seeds: Iterable[int], steps: int) -> None:
    for seed in seeds:
        with Setting(directory / str(seed), **QUIET, rows_per_block=8) as setting:
            world = Churn(setting, seed, steps)
            world.run()
            assert rows(setting) == world.expected
            setting.node.compact([setting.series])
            assert known(setting) == sorted(world.expected)
            setting.reopen()
            assert rows(setting) == world.expected
            assert known(setting) == sorted(world.expected)


def test_hosts_that_come_and_go_while_others_forget_have_their_rows(tmp_path: Path) -> None:
    churn(tmp_path, range(2), 60)


@pytest.mark.nightly
def test_hosts_that_come_and_go_for_long_have_their_rows(tmp_path: Path) -> None:
    churn(tmp_path, range(10, 40), 300)


def test_a_range_of_time_leaves_hosts_that_have_others(tmp_path: Path) -> None:
    with Setting(tmp_path, **QUIET) as setting:
        setting.write([1], host="a")
        setting.write([2], host="b")
        setting.write([3], host="a", start=START + 10 * SECOND)
        setting.node.flush()
        setting.node.delete(setting.database, RangeDeletion(setting.series, TimeRange(START, START + SECOND))).result(9)
        setting.node.compact([setting.series])
        assert known(setting) == ["a"]
        assert rows(setting) == {"a": [3]}
