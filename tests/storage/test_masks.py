"""Locations that left a node on which others of their database stay: nothing of them shows from then on, all of the
others does, and when their masks are gone a copy of them shows as it would on an empty node."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.cluster.model import key_deletion
from tests.cluster.setting import SECOND, START, Setting
from tests.fixtures.waiting import until
from tests.storage.test_copies import HOUR, SLOTS, begin, copy, in_locations, install, stored
from tests.storage.test_digests import digests
from tsdb.cluster.cutting import cut_deletion
from tsdb.cluster.node import Node
from tsdb.model.places import places_of
from tsdb.model.points import Points
from tsdb.model.ring import Location, Slots
from tsdb.model.store import Deletion, Newest, RangeDeletion, ScanRequest, TimeRange
from tsdb.model.summaries import COUNT, CellRequest
from tsdb.storage import flusher
from tsdb.storage.copies.sending import Tally, chunks_of
from tsdb.storage.flush import write_blocks
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.shard import Shard
from tsdb.storage.tombstone import Tombstone

HOSTS = "abcdefgh"
MINUTE = 60 * SECOND


def nothing(_: object) -> None:
    """Nothing else goes with it."""


def numbers(locations: Sequence[Location]) -> list[int]:
    return [each.number for each in locations]


def mask(setting: Setting, locations: Sequence[Location]) -> None:
    engine, number = setting.node.engine, setting.database.number
    engine.call(lambda: engine.mask_locations(number, numbers(locations)))


def is_masked(setting: Setting, locations: Sequence[Location]) -> bool:
    return setting.node.engine.is_masked(setting.database.number, numbers(locations))


def cleaned(setting: Setting, locations: Sequence[Location]) -> None:
    """Because somebody asks for it."""
    setting.node.compact([setting.series])
    assert not is_masked(setting, locations)


def masks(setting: Setting) -> list[Tombstone]:
    view = setting.node.engine.view()
    try:
        return [each for each in view.tombstones(setting.series.number) if isinstance(each, Tombstone)]
    finally:
        view.close()


def counted(setting: Setting) -> int:
    """Visible points by what an aggregate reads."""
    view = setting.node.engine.view()
    try:
        field = setting.series.column("v").number
        scan = view.scan(ScanRequest(setting.series, (field,), cells=CellRequest(None, 0, {field: (COUNT,)})))
        if scan.groups is not None:
            return int(scan.groups.rows.sum())
        cells = sum(int(each.rows.sum()) for each in scan.cells)
        return cells + sum(int(each.num_rows) for each in scan.batches)
    finally:
        view.close()


def crash(setting: Setting) -> None:
    """What is on disk now is what the next start finds."""
    left = setting.path.with_name(setting.path.name + "'")
    shard = setting.node.engine.records
    assert isinstance(shard, Shard)
    shard.rocks.checkpoint(left)
    setting.node.close()
    shutil.rmtree(setting.path)
    left.rename(setting.path)
    setting.node = Node.open(setting.path, setting.options)


def write_some(setting: Setting, points: Points, locations: Sequence[Location]) -> None:
    """Those of these locations."""
    database = setting.database
    pieces = places_of(database.number, points.series.number, points.series.slots).cut(database.locations, points.times)
    rows = [np.arange(len(points)) if piece is None else piece for where, piece in pieces if where in locations]
    if rows:
        setting.node.write(database, [points.take(np.sort(np.concatenate(rows)))]).result(10)


class Twins:
    """A node that keeps everything and one that has only some of its locations. Both get the same changes with counters
    that rise alike, as replicas do."""

    def __init__(self, path: Path, random: Random, *, keyed: bool, slots: Sequence[Slots] = ()) -> None:
        self.random = random
        rows = random.choice([40, 300, 16_384])
        self.whole, self.part = (
            Setting(path / name, keyed=keyed, slots=slots, compaction=False, rows_per_block=rows)
            for name in ("whole", "part")
        )
        self.held = list(self.whole.database.locations)
        self.gone: list[Location] = []

    def close(self) -> None:
        self.whole.node.close()
        self.part.node.close()

    def step(self) -> None:
        self._keep_counters()
        what = self.random.random()
        if what < 0.45:
            self._write()
        elif what < 0.55:
            self._delete()
        elif what < 0.65:
            self.part.node.flush()
        elif what < 0.75:
            self.part.node.compact([self.part.series], full=self.random.random() < 0.3)
        elif what < 0.82:
            crash(self.part)
        elif what < 0.92 and len(self.held) > 1:
            self._leave()
        else:
            self._come_again()
        self.check()

    def _keep_counters(self) -> None:
        first, second = self.whole.node.engine, self.part.node.engine
        last = max(first.call(lambda: first.last_counter), second.call(lambda: second.last_counter))
        first.call(lambda: first.raise_counter(last))
        second.call(lambda: second.raise_counter(last))

    def _write(self) -> None:
        values = [self.random.randrange(1000) for _ in range(self.random.choice([1, 40, 300]))]
        start = START + self.random.randrange(20) * 30 * MINUTE
        points = self.whole.points(values, start=start, step=10 * SECOND, host=self.random.choice(HOSTS))
        self.whole.node.write(self.whole.database, [points]).result(10)
        write_some(self.part, points, self.held)

    def _delete(self) -> None:
        series, random = self.whole.series, self.random
        deletion: Deletion
        if random.random() < 0.7:
            low = START + random.randrange(20) * 30 * MINUTE
            deletion = RangeDeletion(series, random.choice([TimeRange(), TimeRange(low, low + 20 * MINUTE)]))
        else:
            seen = self.whole.seen()
            keys = [(each.tags, each.time) for each in random.sample(seen, min(20, len(seen)))]
            deletion = key_deletion(series, keys or [(((2, "a"),), START)])
        self.whole.node.delete(self.whole.database, deletion).result(10)
        numbers = {each.number for each in self.held}
        parts = [each for each in cut_deletion(self.part.database, deletion) if each.location.number in numbers]
        self.part.node.engine.delete(parts).result(10)

    def _leave(self) -> None:
        first = self.random.randrange(len(self.held))
        left = self.held[first : first + self.random.choice([1, 4, 8])]
        left = left[: len(self.held) - 1]
        mask(self.part, left)
        self.held = [each for each in self.held if each not in left]
        self.gone += left

    def _come_again(self) -> None:
        clean = [each for each in self.gone if not is_masked(self.part, [each])]
        if clean:
            copy(self.whole, self.part, {each.number for each in clean})
            self.held = sorted((*self.held, *clean), key=lambda each: each.low)
            self.gone = [each for each in self.gone if each not in clean]

    def check(self) -> None:
        held = {each.number for each in self.held}
        expected = sorted(each.row for each in in_locations(self.whole, self.whole.seen(), held))
        assert sorted(each.row for each in self.part.seen()) == expected
        assert counted(self.part) == len(expected)
        newest = self.part.seen(newest=Newest(1, (self.part.series.column("host").number,)))
        last: dict[object, int] = {}
        for tags, time, _ in expected:
            last[tags] = max(last.get(tags, time), time)
        assert {each.tags: each.time for each in newest} == last
        ours, theirs = digests(self.part), digests(self.whole)
        assert {each: ours[each] for each in held} == {each: theirs[each] for each in held}
        view, tally = self.part.node.engine.view(), Tally()
        assert not [*chunks_of(view, self.part.database, {each.number for each in self.gone}, tally)]
        view.close()


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "keyless"])
@pytest.mark.parametrize("seed", range(3))
def test_what_shows_is_what_others_have_of_the_locations_that_stay(tmp_path: Path, seed: int, keyed: bool) -> None:
    twins = Twins(tmp_path, Random(seed), keyed=keyed, slots=SLOTS if seed % 2 else ())
    try:
        for _ in range(25):
            twins.step()
    finally:
        twins.close()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 160))
def test_what_shows_in_long_histories(tmp_path: Path, seed: int) -> None:
    twins = Twins(tmp_path, Random(seed), keyed=seed % 2 == 0, slots=SLOTS if seed % 3 else ())
    try:
        for _ in range(120):
            twins.step()
    finally:
        twins.close()


def fill(setting: Setting, hours: int = 4) -> None:
    """A point a minute of each host."""
    for host in HOSTS:
        setting.write(range(hours * 60), step=MINUTE, host=host)


def test_a_mask_is_not_forgotten_while_a_head_has_what_it_hides(tmp_path: Path) -> None:
    # No head is frozen by itself.
    with Setting(tmp_path / "a", compaction=False, frozen_max=0) as setting:
        fill(setting)
        setting.node.flush()
        fill(setting, 2)
        left = setting.database.locations[:8]
        stay = {each.number for each in setting.database.locations[8:]}
        expected = in_locations(setting, setting.seen(), stay)
        mask(setting, left)
        assert setting.seen() == expected
        series = setting.series.number
        setting.node.engine.compact([series], full=True, told=nothing, cancelled=lambda: False).result(60)
        assert is_masked(setting, left)
        assert setting.seen() == expected
        # As a crash leaves it, too: that the rows were in the head is not known then, and they are gone from the log.
        crash(setting)
        assert setting.seen() == expected
        cleaned(setting, left)
        assert setting.seen() == expected


def test_a_mask_over_a_head_alone_is_gone_with_it_and_after_a_crash(tmp_path: Path) -> None:
    with Setting(tmp_path / "a", compaction=False, frozen_max=0) as setting:
        fill(setting)
        left = setting.database.locations[8:16]
        stay = {each.number for each in setting.database.locations} - {each.number for each in left}
        expected = in_locations(setting, setting.seen(), stay)
        mask(setting, left)
        assert is_masked(setting, left)
        assert not is_masked(setting, setting.database.locations[16:])
        crash(setting)
        assert setting.seen() == expected
        assert not is_masked(setting, left), "no block has anything that it hides"
        mask(setting, left)
        setting.node.flush()
        assert setting.seen() == expected
        assert not is_masked(setting, left)
        assert not list(setting.node.engine.records.scan("tombstones"))


def test_a_mask_waits_for_every_head_that_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_flush = threading.Semaphore(0)

    def waiting(*given: Any) -> None:
        may_flush.acquire()
        write_blocks(*given)

    monkeypatch.setattr(flusher, "write_blocks", waiting)
    with Setting(tmp_path / "a", compaction=False) as setting, ThreadPoolExecutor(1) as pool:
        engine, left = setting.node.engine, setting.database.locations[:8]
        for start in range(3):
            setting.write(range(240), start=START + start * 4 * HOUR, step=MINUTE)
            flush = pool.submit(engine.flush) if start < 2 else None
            if start == 0 and flush is not None:
                may_flush.release()
                flush.result()
            elif flush is not None:
                until(lambda: setting.metric("frozen_heads") == 1)
        try:
            expected = in_locations(setting, setting.seen(), {each.number for each in setting.database.locations[8:]})
            mask(setting, left)
            for heads in (2, 1):
                until(lambda heads=heads: setting.metric("frozen_heads") == heads)  # type: ignore[misc]
                engine.compact([setting.series.number], full=True, told=nothing, cancelled=lambda: False).result(60)
                assert is_masked(setting, left)
                assert setting.seen() == expected
                may_flush.release()
            until(lambda: not setting.metric("frozen_heads"))
            engine.compact([setting.series.number], full=True, told=nothing, cancelled=lambda: False).result(60)
            assert not is_masked(setting, left)
            assert setting.seen() == expected
        finally:
            may_flush.release(10)


def test_masks_are_carried_out_by_themselves(tmp_path: Path) -> None:
    with Setting(tmp_path / "a", compaction_quiet=0.05, compaction_rate=0) as setting:
        fill(setting)
        setting.node.flush()
        fill(setting, 2)
        locations = setting.database.locations
        before, expected = stored(setting), in_locations(setting, setting.seen(), {e.number for e in locations[8:]})
        assert before
        mask(setting, locations[:8])
        assert setting.seen() == expected
        until(lambda: not is_masked(setting, locations[:8]))
        assert setting.seen() == expected
        assert not masks(setting)
        blocks = setting.node.engine.blocks(setting.series)
        assert sum(each.rows for each in blocks) == len(expected)
        mask(setting, locations)
        until(lambda: not is_masked(setting, locations))
        assert not setting.node.engine.blocks(setting.series)


def test_neighbours_are_one_mask_which_is_durable(tmp_path: Path) -> None:
    with Setting(tmp_path / "a", compaction=False) as setting:
        fill(setting)
        setting.node.flush()
        engine, locations = setting.node.engine, setting.database.locations
        wanted = numbers([locations[31], locations[3], locations[1], locations[2]])
        last = engine.call(lambda: engine.last_counter)
        number = setting.database.number
        engine.call(lambda: engine.mask_locations(number, wanted))
        found = [(each.low, each.high) for each in masks(setting)]
        assert found == [(locations[1].low, locations[3].high), (locations[31].low, 2**64)]
        assert {each.counter & COUNTER_MASK for each in masks(setting)} == {last + 1}
        setting.reopen()
        assert {each.counter & COUNTER_MASK for each in masks(setting)} == {last + 1}
        assert setting.node.engine.call(lambda: setting.node.engine.last_counter) == last + 1


@pytest.mark.parametrize("too_early", [False, True])
def test_a_copy_shows_when_the_masks_are_gone_and_not_before(tmp_path: Path, too_early: bool) -> None:
    """Its points have counters of another node's, which are lower than the mask's."""
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b", compaction=False) as target:
        for setting in (source, target):
            fill(setting)
            setting.node.flush()
        locations = target.database.locations
        left, stay = ({each.number for each in some} for some in (locations[:8], locations[8:]))
        others = in_locations(target, target.seen(), stay)
        engine = target.node.engine
        engine.call(lambda: engine.raise_counter(10**6))
        mask(target, locations[:8])
        source.write(range(40), start=START + 30 * HOUR, step=HOUR)
        came = in_locations(source, source.seen(), left)
        assert max(each.sequence & COUNTER_MASK for each in came) < 10**6
        if too_early:
            copy(source, target, left)
            assert target.seen() == others
            return
        cleaned(target, locations[:8])
        # Others go while it comes, and rows of theirs that are not in blocks yet.
        write_some(target, target.points(range(40), start=START + 60 * HOUR, step=HOUR), locations[8:])
        arriving, tally = begin(source, target, left)
        arriving.check(tally.chunks, tally.rows, tally.digest)
        mask(target, locations[8:16])
        install(target, arriving)
        assert in_locations(target, target.seen(), left) == came
        gone = {each.number for each in locations[8:16]}
        assert in_locations(target, target.seen(), gone) == []
        assert [each for each in in_locations(target, target.seen(), stay - gone) if each in others] == in_locations(
            target, others, stay - gone
        )
        crash(target)
        cleaned(target, locations[8:16])
        assert in_locations(target, target.seen(), left) == came


def test_masks_of_what_is_to_come_again_do_not_wait_for_quiet(tmp_path: Path) -> None:
    with Setting(tmp_path / "a", compaction_quiet=3600.0, compaction_rate=0) as setting:
        fill(setting)
        setting.node.flush()
        fill(setting, 2)
        engine, locations = setting.node.engine, setting.database.locations
        left = locations[:8]
        mask(setting, left)
        expected = in_locations(setting, setting.seen(), {each.number for each in locations[8:]})
        engine.call(lambda: engine.hurry_masks(setting.database.number, numbers(left)))
        until(lambda: not is_masked(setting, left))
        assert setting.seen() == expected
