"""The durable log of a Raft group, on a real store and on a simulated disk: what is written is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.disk import Disk
from tsdb.errors import DataCorrupted
from tsdb.storage.keys import raft_key
from tsdb.storage.raft_log import RaftLog, Records
from tsdb.storage.rocks import Rocks

GROUP = 7
NOTE = b"configuration"


@pytest.fixture(params=["rocks", "disk"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "disk":
        yield Disk()
        return
    with Rocks.open(tmp_path) as rocks:
        yield rocks


def begun(records: Records) -> RaftLog:
    log = RaftLog(records, GROUP)
    assert log.is_new
    log.bootstrap(1, 1, NOTE)
    return log


def entries(first: int, last: int, term: int) -> list[tuple[int, int, bytes]]:
    return [(index, term, b"%d/%d" % (term, index)) for index in range(first, last + 1)]


def apply(log: RaftLog, records: Records, index: int) -> None:
    batch = records.batch()
    log.stage_applied(batch, index, NOTE)
    records.write(batch, sync=False)
    log.did_apply(index, NOTE)


def seen(log: RaftLog) -> tuple[object, ...]:
    held = log.entries(log.first_index, log.last_index + 1, 1 << 60)
    terms = [log.term(index) for index in range(log.base_index, log.last_index + 1)]
    return log.state, log.base_index, log.base_term, log.applied_index, log.applied_note, held, terms, log.byte_count


def test_what_was_written_is_there_after_a_restart(records: Records) -> None:
    log = begun(records)
    log.write((2, 3, 1), entries(2, 6, 2), sync=True)
    log.write((3, 1, 4), entries(5, 5, 3), sync=True)
    apply(log, records, 4)
    assert log.entries(2, 6, 1 << 60) == [b"2/2", b"2/3", b"2/4", b"3/5"]
    assert log.state == (3, 1, 4)
    assert seen(RaftLog(records, GROUP)) == seen(log)


def test_groups_do_not_see_each_other(records: Records) -> None:
    begun(records).write((2, 3, 1), entries(2, 6, 2), sync=True)
    assert RaftLog(records, GROUP + 1).is_new


def test_entries_are_read_up_to_a_limit_and_at_least_one(records: Records) -> None:
    log = begun(records)
    log.write((2, 0, 1), entries(2, 6, 2), sync=True)
    assert log.entries(2, 7, 7) == [b"2/2", b"2/3"]
    assert log.entries(3, 7, 1) == [b"2/3"]


def test_a_snapshot_takes_the_place_of_the_log(records: Records) -> None:
    log = begun(records)
    log.write((2, 0, 1), entries(2, 6, 2), sync=True)
    batch = records.batch()
    log.stage_install(batch, (5, 0, 20), 20, 4, b"later")
    records.write(batch, sync=True)
    log.did_install((5, 0, 20), 20, 4, b"later")
    assert (log.first_index, log.last_index, log.term(20), log.applied_index) == (21, 20, 4, 20)
    assert seen(RaftLog(records, GROUP)) == seen(log)


def test_only_what_is_applied_and_needed_by_nobody_is_forgotten(records: Records) -> None:
    log = begun(records)
    log.write((2, 0, 9), entries(2, 9, 2), sync=True)
    apply(log, records, 6)
    assert log.truncate(now=0, live=[4, 9], keep_bytes=1000) == 3
    assert log.first_index == 5
    # A slow member is waited for only as long as that takes few bytes.
    assert log.truncate(now=0, live=[4, 9], keep_bytes=0) == 2
    assert log.first_index == 7
    assert log.truncate(now=0, live=[], keep_bytes=0) == 0
    assert seen(RaftLog(records, GROUP)) == seen(log)


def test_a_member_that_needs_a_snapshot_anyway_holds_nothing_back(records: Records) -> None:
    log = begun(records)
    log.write((2, 0, 9), entries(2, 9, 2), sync=True)
    apply(log, records, 9)
    assert log.truncate(now=0, live=[0], keep_bytes=1000) == 8


def test_a_pin_keeps_the_log_until_it_ends_or_expires(records: Records) -> None:
    log = begun(records)
    log.write((2, 0, 9), entries(2, 9, 2), sync=True)
    apply(log, records, 4)
    assert log.begin_snapshot("to node 3", now=10, expires=20) == (4, 2)
    apply(log, records, 9)
    log.truncate(now=15, live=[], keep_bytes=0)
    assert log.first_index == 5
    assert log.end_snapshot("to node 3", ok=True)
    log.truncate(now=15, live=[], keep_bytes=0)
    assert log.first_index == 10
    log.begin_snapshot("to node 2", now=15, expires=20)
    log.write((2, 0, 12), entries(10, 12, 2), sync=True)
    apply(log, records, 12)
    assert log.truncate(now=20, live=[], keep_bytes=0) == 3
    assert not log.end_snapshot("to node 2", ok=True)


def test_a_flipped_bit_in_an_entry_is_found() -> None:
    disk = Disk()
    log = begun(disk)
    log.write((2, 0, 1), entries(2, 6, 2), sync=True)
    key = raft_key(GROUP, 3, 4)
    value = disk.get("raft", key)
    assert value is not None
    batch = disk.batch()
    batch.put("raft", key, value[:-6] + bytes([value[-6] ^ 1]) + value[-5:])
    disk.write(batch, sync=True)
    with pytest.raises(DataCorrupted, match="entry 4 of group 7: checksum mismatch"):
        log.entries(2, 7, 1 << 60)
    with pytest.raises(DataCorrupted, match="entry 4 of group 7"):
        RaftLog(disk, GROUP)


@pytest.mark.parametrize(
    ("part", "index", "message"),
    [(3, 4, "a hole in its log"), (3, 6, "log ends at 5"), (0, 0, "term 0, and its log in 2"), (1, 0, "a hole")],
)
def test_a_log_that_has_lost_something_is_refused(part: int, index: int, message: str) -> None:
    disk = Disk()
    begun(disk).write((2, 0, 6), entries(2, 6, 2), sync=True)
    batch = disk.batch()
    batch.delete("raft", raft_key(GROUP, part, index))
    disk.write(batch, sync=True)
    with pytest.raises(DataCorrupted, match=message):
        RaftLog(disk, GROUP)


def test_after_a_crash_the_log_is_whole_and_has_all_that_was_synced() -> None:
    for seed in range(100):
        chance = random.Random(seed)
        disk = Disk()
        log = begun(disk)
        synced = 1
        for term in range(2, 12):
            first = chance.randint(log.applied_index + 1, log.last_index + 1)
            sync = chance.random() < 0.4
            log.write((term, 0, log.applied_index), entries(first, first + chance.randint(0, 3), term), sync)
            if sync:
                synced = log.last_index
            log.write((term, 0, first), [], sync=False)
            apply(log, disk, first)
            if chance.random() < 0.3:
                log.truncate(0, [], 0)
        state, last = log.state, log.last_index
        disk.crash(chance)
        again = RaftLog(disk, GROUP)
        assert again.applied_index <= again.last_index
        assert state is not None
        assert again.state is not None
        assert again.state[0] <= state[0]
        assert again.last_index in range(again.base_index, max(last, synced) + 4)
