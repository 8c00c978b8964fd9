"""Copies of locations: what a view shows of them is what another node has of them afterwards, or nothing is."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.cluster.model import Seen
from tests.cluster.setting import SECOND, START, Setting
from tests.fixtures.waiting import until
from tests.model.test_places import place
from tsdb.errors import DataCorrupted, DiskFull
from tsdb.model.ring import Slots, location_of
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.model.time import BUCKET_NS
from tsdb.storage.copies.arriving import Arriving
from tsdb.storage.copies.sending import Tally, chunks_of
from tsdb.storage.rows import COUNTER_MASK

HOUR = 3600 * SECOND
# Buckets of the fourth hour and of those from the eighth on.
SLOTS = tuple(Slots((START + hour * HOUR) // BUCKET_NS, bits) for hour, bits in ((3, 3), (4, 0), (7, 2)))


@pytest.fixture(params=[True, False], ids=["keyed", "keyless"])
def keyed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def fill(setting: Setting, random: Random, steps: int = 25) -> None:
    """Points of a few hosts over hours, some of them twice; deletions; flushes."""
    for _ in range(steps):
        what = random.random()
        start = START + random.randrange(20) * HOUR // 2
        if what < 0.7:
            host = random.choice("abcdefgh")
            setting.write([random.randrange(1000) for _ in range(random.choice([1, 40, 700]))], start=start, host=host)
        elif what < 0.85:
            span = TimeRange(start, start + random.randrange(1, 5) * HOUR // 4)
            setting.node.delete(setting.database, RangeDeletion(setting.series, span)).result(10)
        else:
            setting.node.flush()


def begin(source: Setting, target: Setting, wanted: set[int]) -> tuple[Arriving, Tally]:
    """A copy that has come, and is not installed."""
    arriving, tally = target.node.engine.arriving(), Tally()
    view = source.node.engine.view()
    for chunk in chunks_of(view, source.database, wanted, tally):
        arriving.take(chunk)
    return arriving, tally


def install(target: Setting, arriving: Arriving) -> None:
    engine = target.node.engine

    def work() -> None:
        arriving.check_tagsets()
        batch = engine.records.batch()
        arriving.put(batch)
        engine.records.write(batch, sync=True)
        arriving.installed()

    engine.call(work)


def copy(source: Setting, target: Setting, wanted: set[int]) -> None:
    arriving, tally = begin(source, target, wanted)
    arriving.check(tally.chunks, tally.rows, tally.digest)
    install(target, arriving)


def everywhere(setting: Setting) -> set[int]:
    return {each.number for each in setting.database.locations}


def in_locations(setting: Setting, seen: list[Seen], wanted: set[int]) -> list[Seen]:
    def location(each: Seen) -> int:
        at = place(setting.database.number, setting.series.number, setting.series.slots, each.time)
        return location_of(setting.database.locations, at).number

    return [each for each in seen if location(each) in wanted]


@pytest.mark.parametrize("seed", range(6))
def test_a_copy_is_what_its_source_shows_of_its_locations(tmp_path: Path, keyed: bool, seed: int) -> None:
    random, slots = Random(seed), SLOTS if seed % 2 else ()
    with (
        Setting(tmp_path / "a", keyed=keyed, slots=slots) as source,
        Setting(tmp_path / "b", keyed=keyed, slots=slots) as target,
    ):
        fill(source, random)
        one = {each for each in everywhere(source) if random.random() < 0.5}
        copy(source, target, one)
        assert target.seen() == in_locations(source, source.seen(), one)
        # The rest comes later, and what was written meanwhile there: it all fits together.
        copy(source, target, everywhere(source) - one)
        assert target.seen() == source.seen()
        last = target.node.engine.call(lambda: target.node.engine.last_counter)
        assert last >= max((each.sequence & COUNTER_MASK for each in source.seen()), default=0)
        target.reopen()
        assert target.seen() == source.seen()
        target.node.compact([target.series], full=True)
        assert target.seen() == source.seen()


def test_a_chunk_may_begin_anywhere_in_memory(tmp_path: Path) -> None:
    """Of points that need neither to be sorted nor to be cut nothing is copied on the way to their blocks."""
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        # Neither plain numbers nor so many that they are compressed.
        random, start = Random(1), START
        for number in range(30):
            start += random.randrange(SECOND)
            source.write([random.randrange(2**40) if number % 3 else None], start=start)
        arriving, tally = target.node.engine.arriving(), Tally()
        for chunk in chunks_of(source.node.engine.view(), source.database, everywhere(source), tally):
            arriving.take(memoryview(b"." + chunk)[1:])
        arriving.check(tally.chunks, tally.rows, tally.digest)
        install(target, arriving)
        assert target.seen() == source.seen()


def test_nothing_of_a_copy_shows_before_all_of_it_is_installed_and_a_crash_leaves_nothing(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        fill(source, Random(1))
        arriving, tally = begin(source, target, everywhere(source))
        arriving.check(tally.chunks, tally.rows, tally.digest)
        assert target.seen() == []
        assert stored(target) > 0
        # As a crash does: the record of unfinished work is all that is left of it.
        target.reopen()
        assert target.seen() == []
        assert stored(target) == 0
        copy(source, target, everywhere(source))
        target.reopen()
        assert target.seen() == source.seen()


def test_a_copy_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        fill(source, Random(2))
        arriving, _ = begin(source, target, everywhere(source))
        arriving.discard()
        assert stored(target) == 0
        copy(source, target, everywhere(source))
        assert target.seen() == source.seen()


def test_a_copy_that_is_not_what_was_sent_is_not_installed(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        fill(source, Random(3))
        arriving, tally = begin(source, target, everywhere(source))
        for chunks, rows, digest in (
            (tally.chunks + 1, tally.rows, tally.digest),
            (tally.chunks, tally.rows - 1, tally.digest),
            (tally.chunks, tally.rows, bytes(32)),
        ):
            with pytest.raises(DataCorrupted, match="digest"):
                arriving.check(chunks, rows, digest)
        with pytest.raises(DataCorrupted):
            arriving.take(b"TC\x01" + bytes(100))


def test_a_copy_takes_nothing_of_the_disks_reserve(tmp_path: Path) -> None:
    free = [1 << 40]
    with (
        Setting(tmp_path / "a") as source,
        Setting(tmp_path / "b", disk_reserve=1 << 20, free_bytes=lambda _: free[0]) as target,
    ):
        fill(source, Random(5))
        free[0] = 1 << 10
        with pytest.raises(DiskFull):
            begin(source, target, everywhere(source))
        assert stored(target) == 0


def test_a_database_leaves_a_node_and_may_come_again(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        fill(source, Random(4))
        copy(source, target, everywhere(source))
        target.write([1, 2, 3], start=START + 900 * HOUR)
        target.node.delete(target.database, RangeDeletion(target.series, TimeRange(START, START + HOUR))).result(10)
        engine = target.node.engine
        said: list[object] = []
        assert not engine.call(lambda: engine.forget_points(target.database.number, said.append))
        assert not said, "points in the head would come back with their flush"
        target.node.flush()
        view = engine.view()
        assert engine.call(lambda: engine.forget_points(target.database.number, said.append))
        assert len(said) == 1
        assert target.seen() == []
        # Whoever reads goes on to see it, and then it is gone.
        assert stored(target) > 0
        view.close()
        del view
        until(lambda: stored(target) == 0)
        copy(source, target, everywhere(source))
        assert target.seen() == source.seen()
        target.reopen()
        assert target.seen() == source.seen()


def stored(setting: Setting) -> int:
    """Values of blocks on disk, whatever their headers."""
    records = setting.node.engine.records
    return sum(1 for _ in records.scan("columns")) + sum(1 for _ in records.scan("runs"))


@pytest.mark.parametrize("again", ["crash", "discard"])
def test_a_piece_that_is_installed_stays_when_the_next_one_is_interrupted(tmp_path: Path, again: str) -> None:
    with Setting(tmp_path / "a") as source, Setting(tmp_path / "b") as target:
        fill(source, Random(5))
        first = {each.number for each in source.database.locations[:7]}
        rest = everywhere(source) - first
        copy(source, target, first)
        expected = in_locations(source, source.seen(), first)
        # The sender goes on meanwhile: each piece is of its own moment.
        fill(source, Random(6), 5)
        arriving, _ = begin(source, target, rest)
        if again == "discard":
            arriving.discard()
        else:
            target.reopen()
        assert target.seen() == expected
        copy(source, target, rest)
        assert in_locations(target, target.seen(), first) == expected
        assert in_locations(target, target.seen(), rest) == in_locations(source, source.seen(), rest)
