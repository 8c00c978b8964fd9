"""Which parts of which numbered batches are in the log."""

from __future__ import annotations

import msgspec
import pytest

from tsdb.clock import ManualClock
from tsdb.errors import (
    ConfigurationLimitExceeded,
    DataCorrupted,
    InvalidParameterValue,
    ObjectNotInPrerequisiteState,
)
from tsdb.model.store import Producer
from tsdb.storage.producers import WINDOW, Producers, check_producer, database_of, scoped

LOW, HIGH = (0, 2**63), (2**63, 2**64)


def test_a_part_is_new_once_in_the_tail_and_in_the_table() -> None:
    producers = Producers(10)
    assert producers.new_parts(Producer("p", 1), [LOW, HIGH]) == [True, True]
    assert producers.new_parts(Producer("p", 1), [LOW]) == [False]
    producers.commit()
    assert producers.new_parts(Producer("p", 1), [LOW, HIGH]) == [False, False]
    assert producers.new_parts(Producer("p", 2), [LOW]) == [True]
    assert producers.new_parts(Producer("q", 1), [LOW]) == [True]


def test_a_part_of_a_covered_interval_is_not_new() -> None:
    producers = Producers(10)
    producers.new_parts(Producer("p", 1), [LOW])
    producers.commit()
    assert producers.new_parts(Producer("p", 1), [(5, 10), (2**62, 2**64)]) == [False, True]


def test_numbers_below_the_window_are_refused_and_the_window_is_kept_whole() -> None:
    producers = Producers(10)
    for batch in range(1, WINDOW + 2):
        producers.check(Producer("p", batch))
        producers.new_parts(Producer("p", batch), [LOW])
    with pytest.raises(ObjectNotInPrerequisiteState, match="its last one was 1001"):
        producers.check(Producer("p", 1))
    producers.commit()
    with pytest.raises(ObjectNotInPrerequisiteState, match="batch 1 of producer"):
        producers.check(Producer("p", 1))
    producers.check(Producer("p", 2))
    assert producers.new_parts(Producer("p", 2), [LOW]) == [False]
    assert producers.new_parts(Producer("p", WINDOW + 1), [LOW]) == [False]


def test_an_old_number_within_the_window_that_was_never_used_is_new() -> None:
    producers = Producers(10)
    producers.new_parts(Producer("p", 500), [LOW])
    producers.commit()
    producers.check(Producer("p", 3))
    assert producers.new_parts(Producer("p", 3), [LOW]) == [True]


def test_the_table_comes_back_as_it_was_encoded() -> None:
    producers = Producers(10)
    producers.new_parts(Producer("ä", 7), [LOW, HIGH])
    producers.commit()
    changed = producers.take_changed()
    assert list(changed) == ["ä"]
    assert producers.take_changed() == {}
    again = Producers(10)
    for name, value in changed.items():
        again.load(name, value)
    assert again.new_parts(Producer("ä", 7), [LOW, HIGH, (0, 2**64)]) == [False, False, True]
    with pytest.raises(DataCorrupted):
        again.load("x", b"\xff")


@pytest.mark.parametrize("producer", [Producer("", 1), Producer("x" * 65, 1), Producer("x", 0), Producer("x", 2**63)])
def test_names_and_numbers_are_checked(producer: Producer) -> None:
    with pytest.raises(InvalidParameterValue):
        check_producer(producer)


def test_a_producer_of_another_database_is_another_one() -> None:
    producers = Producers(10)
    assert producers.new_parts(scoped(1, Producer("a", 1)), [LOW]) == [True]
    assert producers.new_parts(scoped(2, Producer("a", 1)), [LOW]) == [True]
    assert producers.new_parts(scoped(1, Producer("a", 1)), [LOW]) == [False]
    assert database_of(scoped(17, Producer("a/b", 1)).name) == 17


def test_there_are_only_so_many_producers() -> None:
    producers = Producers(2)
    for name in ("a", "b"):
        producers.check(Producer(name, 1))
        producers.new_parts(Producer(name, 1), [LOW])
    with pytest.raises(ConfigurationLimitExceeded):
        producers.check(Producer("c", 1))
    producers.check(Producer("a", 2))


def test_a_number_with_another_digest_is_no_retry() -> None:
    producers = Producers(10)
    producers.new_parts(Producer("p", 1, digest=7), [LOW])
    for _ in ("in the tail", "in the table"):
        producers.check(Producer("p", 1, digest=7))
        producers.check(Producer("p", 1))
        with pytest.raises(ObjectNotInPrerequisiteState, match="was applied before with other content"):
            producers.check(Producer("p", 1, digest=8))
        producers.commit()
    again = Producers(10)
    for name, value in producers.take_changed().items():
        again.load(name, value)
    with pytest.raises(ObjectNotInPrerequisiteState, match="with other content"):
        again.check(Producer("p", 1, digest=8))


def test_what_was_stored_before_there_were_digests_is_read() -> None:
    producers = Producers(10)
    producers.load("p", msgspec.msgpack.encode((3, {3: [(0, 0)]})))
    producers.check(Producer("p", 3, digest=8))
    assert producers.new_parts(Producer("p", 3, digest=8), [LOW]) == [False]


def test_one_name_too_many_takes_the_place_of_the_longest_idle_one_after_the_window() -> None:
    clock = ManualClock(10**18)
    producers = Producers(2, 1000, clock)
    for name in ("old", "new"):
        producers.new_parts(Producer(name, 1), [LOW])
        producers.commit()
        clock.time_ns += 500
    with pytest.raises(ConfigurationLimitExceeded, match="one more than the 2"):
        producers.check(Producer("third", 1))
    producers.take_changed()
    clock.time_ns += 1
    producers.check(Producer("third", 1))
    assert producers.take_changed() == {"old": b""}
    producers.new_parts(Producer("third", 1), [LOW])
    producers.commit()
    with pytest.raises(ConfigurationLimitExceeded):
        producers.check(Producer("old", 2))


def test_those_of_a_database_are_the_ones_that_have_written_in_the_window() -> None:
    clock = ManualClock(10**18)
    producers = Producers(10, window_ns=1_000, clock=clock)
    for at, name in enumerate(("1/old", "1/new", "2/new")):
        producers.add(name, 3, (0, 2**64), at, clock.now_ns() + (1_000 if name.endswith("new") else 0))
    clock.time_ns += 1_001
    assert list(producers.of(1)) == [("new", 3, {3: [(0, 2**64)]}, {3: 1})]
