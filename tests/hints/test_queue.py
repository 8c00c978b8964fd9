"""Which hints are taken, in which order they are tried, and what of them is listed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.hints.lossy import LossyDisk
from tsdb.errors import DataCorrupted, ObjectNotInPrerequisiteState
from tsdb.ingest.hints.disk import Folder
from tsdb.ingest.hints.queue import REST_TICKS, HintQueue, NotQueued
from tsdb.ingest.hints.text import head_of, hint_of
from tsdb.model.hints import Hint

PAGE = 4096
BODY = b"m f=1 1\n"


def hint(batch: int, producer: str = "p", database: int = 1) -> Hint:
    return Hint(0, database, f"d{database}", producer, batch, digest=batch)


@pytest.fixture
def disk() -> LossyDisk:
    return LossyDisk(Random(1))


def tried(queue: HintQueue, tick: int, count: int) -> list[tuple[int, str, int]]:
    """Those that are given one after the other, each delivered at once."""
    found = []
    for _ in range(count):
        given = queue.next(tick)
        assert given is not None
        queue.delivered(given)
        found.append((given.database, given.producer, given.batch))
    return found


def test_the_limit_holds_to_the_byte_and_a_refusal_names_it(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 2 * PAGE)
    queue.take(hint(1), BODY)
    with pytest.raises(NotQueued, match=r"4096 of the 8192 bytes of hints_bytes_max are taken, .* needs 8192"):
        queue.take(hint(2), b"x" * PAGE)
    room = PAGE - len(head_of(queue.take(hint(2), BODY)))
    queue.delivered(queue.next(0) or hint(0))
    queue.delivered(queue.next(0) or hint(0))
    # The size and the checksum of a body are in its head, too.
    queue.take(hint(1), BODY)
    with pytest.raises(NotQueued):
        queue.take(hint(2), b"x" * (room + 20))
    queue.take(hint(2), b"x" * (room - 20))
    with pytest.raises(NotQueued, match="8192 of the 8192 bytes"):
        queue.take(hint(3), BODY)
    assert queue.waiting() == 2
    assert queue.gauges()["hints_not_queued"] == 3
    assert HintQueue(disk, 0).bytes_held() == 2 * PAGE


def test_a_disk_without_room_or_with_errors_takes_nothing_and_keeps_nothing(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20, reserve_bytes=1000)
    disk.free = 1000 + PAGE - 1
    with pytest.raises(NotQueued, match="disk_reserve"):
        queue.take(hint(1), BODY)
    disk.free += 1
    queue.take(hint(1), BODY)
    disk.fails = True
    with pytest.raises(NotQueued, match="Input/output error"):
        queue.take(hint(2), BODY)
    disk.fails = False
    assert queue.waiting() == 1
    assert HintQueue(disk, 1 << 20).waiting() == 1


def test_what_was_not_queued_since_its_name_could_not_be_synced_is_not_there_after_a_crash() -> None:
    for seed in range(20):
        disk = LossyDisk(Random(seed))
        queue = HintQueue(disk, 1 << 20)
        disk.syncs_that_fail = 1
        with pytest.raises(NotQueued, match=r"Input/output error$"):
            queue.take(hint(1), BODY)
        disk.crash()
        assert HintQueue(disk, 1 << 20).waiting() == 0


def test_what_could_not_be_taken_back_for_good_says_that_it_may_come_again(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20)
    disk.syncs_that_fail = 2
    with pytest.raises(NotQueued, match="after a restart of this node it may be there"):
        queue.take(hint(1), BODY)
    assert queue.waiting() == 0
    queue.take(hint(2), BODY)
    assert [each.batch for each in HintQueue(disk, 1 << 20).listing()] == [2]


def test_a_number_waits_once_and_with_other_lines_not_at_all(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20)
    first = queue.take(hint(1), BODY)
    assert queue.take(hint(1), BODY) == first
    assert queue.waiting() == 1
    with pytest.raises(ObjectNotInPrerequisiteState, match="other content"):
        queue.take(Hint(0, 1, "d", "p", 1, digest=9), BODY)
    # Other producers and databases have their own numbers.
    queue.take(hint(1, "q"), BODY)
    queue.take(hint(1, database=2), BODY)
    assert queue.waiting() == 3


def test_producers_have_their_turns_and_each_its_order(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20)
    for batch in (5, 3, 4):
        queue.take(hint(batch, "p"), BODY)
    queue.take(hint(1, "q"), BODY)
    assert tried(queue, 0, 4) == [(1, "p", 5), (1, "q", 1), (1, "p", 3), (1, "p", 4)]
    assert queue.next(0) is None


def test_one_of_a_database_is_out_at_a_time_and_a_failure_gives_it_a_rest(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20)
    for each in (hint(1, "p"), hint(2, "p"), hint(1, "q"), hint(1, "p", database=2)):
        queue.take(each, BODY)
    first, second = queue.next(0), queue.next(0)
    assert first is not None
    assert second is not None
    assert (first.database, second.database, queue.next(0)) == (1, 2, None)
    assert not queue.is_stuck(1)
    queue.failed(first, "nobody leads", 0)
    assert queue.is_stuck(1)
    queue.delivered(second)
    assert queue.next(REST_TICKS - 1) is None
    assert queue.next(REST_TICKS, also_stuck=False) is None
    assert {each.waits_for for each in queue.listing()} == {"nobody leads"}
    # The other producer's turn: what is before it may be for a location without a leader, and its own not.
    again = queue.next(REST_TICKS)
    assert again is not None
    assert again.producer == "q"
    queue.delivered(again)
    assert not queue.is_stuck(1)
    assert tried(queue, REST_TICKS, 2) == [(1, "p", 1), (1, "p", 2)]


def test_what_is_refused_stays_with_its_lines_until_its_file_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "hints"
    queue = HintQueue(Folder(folder), 2 * PAGE)
    queue.take(hint(1), BODY)
    queue.take(hint(2), BODY)
    given = queue.next(0)
    assert given is not None
    refused = queue.refuse(given, 'a "field"\nof another type', 17)
    assert (folder / refused.file).read_bytes().partition(b"\n")[2] == BODY
    assert (folder / refused.file).stat().st_mode & 0o777 == 0o600
    for each in (queue, HintQueue(Folder(folder), 2 * PAGE)):
        assert [(one.batch, one.refused, one.refused_ns) for one in each.listing()] == [
            (1, 'a "field"\nof another type', 17), (2, "", 0)
        ]  # fmt: skip
        with pytest.raises(NotQueued, match="4096 of them by refused batches"):
            each.take(hint(3), BODY)
    (folder / refused.file).unlink()
    queue.take(hint(3), BODY)
    assert [one.batch for one in queue.listing()] == [2, 3]


def test_damage_is_listed_and_what_is_damaged_is_not_stored(disk: LossyDisk) -> None:
    queue = HintQueue(disk, 1 << 20)
    first, second = queue.take(hint(1), BODY), queue.take(hint(2), b"")
    disk.damage(first.file)
    disk.damage(second.file)
    with pytest.raises(DataCorrupted, match="lines are damaged"):
        queue.body(first)
    queue = HintQueue(disk, 1 << 20)
    # Of an empty body the last octet is the newline of the head.
    assert [(each.number, each.refused[:4]) for each in queue.listing()] == [(1, ""), (2, "the ")]
    given = queue.next(0)
    assert given == first
    queue.refuse(given, "its lines are damaged", 1)
    assert queue.waiting() == 0
    assert len(queue.listing()) == 2
    assert queue.take(hint(3), BODY).number == 3


def test_a_head_is_read_as_it_was_written() -> None:
    one = Hint(
        7, 3, 'd"\n', "ä\u2028", 2**63 - 1, 2**64 - 1, "auto", False, -2, 16_384, 9, (("cpu", 4), ("m\n", 5)), 1, 2, 3
    )  # fmt: skip
    head = head_of(one)
    assert head.startswith(b"# ")
    assert head.count(b"\n") == 1
    assert hint_of(head) == one
    for damaged in (head[:-1], head.replace(b"auto", b"autu"), b"m f=1\n"):
        with pytest.raises(DataCorrupted):
            hint_of(damaged)
