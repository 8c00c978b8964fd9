"""A commit on its way to its locations: one op in each, those that lose rows last, one answer; what CHANGE ops hold."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from random import Random
from typing import Any

import pytest

from tsdb.cluster.replicas.asked import Told
from tsdb.cluster.replicas.host import OP_BYTES_MAX
from tsdb.cluster.replicas.turns import Turns
from tsdb.cluster.replicas.writing import Part, Writing, parts_of
from tsdb.cluster.replication.clients import ALL, QUORUM, Answer, NotLeader, Unknown, Write, Written
from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.record import Record
from tsdb.errors import CannotConnectNow, DataCorrupted, QueryCanceled, SerializationFailure, StatementCompletionUnknown
from tsdb.leaving import IsLeft, never
from tsdb.model.ring import Location
from tsdb.storage.append import Delete, DeletePart
from tsdb.storage.change_body import ChangePart, decode_change, encode_change

WRITTEN, MOVED, LOST = Written(0, 1, 1, -1), NotLeader(0, 0, 0), Unknown(0, 1, 1)
RECORD = Record(1, 0, 1, 1, 1, (1, 2, 3), (), 1, (1, 2, 3))


class Replicas:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, Told]] = []
        self.settling: list[tuple[frozenset[int], Callable[[bool], None]]] = []
        self.uncommitted_bytes = self.last_counter = 0
        self.acks: list[int] = []

    def write(
        self, location: int, write: Callable[[int, Record], Write], patience: int, told: Told, is_left: IsLeft
    ) -> None:
        self.asked.append((location, patience, told))
        self.acks.append(write(0, RECORD).acks)

    def when_settled(
        self, locations: Collection[int], patience: int, told: Callable[[bool], None], is_left: IsLeft
    ) -> None:
        self.settling.append((frozenset(locations), told))

    def has_batch(self, location: int, client: int, batch: int) -> bool:
        return False

    def batch_refusal(self, location: int, client: int, batch: int, digest: int) -> Answer | None:
        return None

    def answer(self, *answers: Answer) -> list[int]:
        """To what was asked, in order; which locations that were."""
        asked, self.asked = self.asked, []
        for (_, _, told), answer in zip(asked, answers, strict=True):
            told(answer)
        return [location for location, _, _ in asked]


def part(location: int, *, only_hides: bool = False) -> Part:
    return Part(location, OpKind.DELETE if only_hides else OpKind.CHANGE, b"x", 1, only_hides)


def begun(replicas: Replicas, parts: list[Part], rests_on: Collection[int] = (), turns: Turns | None = None,
          check: Callable[[], None] = lambda: None, acks: int = QUORUM,
          is_left: IsLeft = never) -> Future[Any]:  # fmt: skip
    future: Future[Any] = Future()
    Writing(
        replicas, turns or Turns(), parts, 3, rests_on, lambda _: check(), lambda: 7, 0, acks, future, is_left=is_left
    ).start()
    return future


def test_what_brings_points_is_logged_before_what_only_takes_them_away() -> None:
    replicas = Replicas()
    future = begun(replicas, [part(1, only_hides=True), part(2), part(3)], rests_on={1, 4})
    (locations, told), = replicas.settling  # fmt: skip
    assert locations == {1, 2, 3, 4}
    told(True)
    assert replicas.answer(WRITTEN, WRITTEN) == [2, 3]
    assert not future.done()
    assert replicas.answer(WRITTEN) == [1]
    assert future.result(0).points == 3


@pytest.mark.parametrize("lost", [MOVED, LOST])
def test_nothing_is_taken_away_when_it_is_not_sure_that_it_is_elsewhere(lost: Answer) -> None:
    replicas = Replicas()
    future = begun(replicas, [part(1, only_hides=True), part(2), part(3)], rests_on={1})
    replicas.settling[0][1](True)
    replicas.answer(WRITTEN, lost)
    assert replicas.asked == []
    with pytest.raises(StatementCompletionUnknown, match="not all"):
        future.result(0)


def test_what_was_looked_at_is_not_logged_later() -> None:
    """It holds now: a leader that is none now is not asked again when it is one."""
    replicas = Replicas()
    future = begun(replicas, [part(1)], rests_on={1})
    replicas.settling[0][1](True)
    assert [patience for _, patience, _ in replicas.asked] == [0]
    replicas.answer(MOVED)
    with pytest.raises(CannotConnectNow):
        future.result(0)


def test_a_write_that_is_left_is_cancelled_only_if_nothing_of_it_is_logged() -> None:
    replicas = Replicas()
    refused = begun(replicas, [part(1), part(2)], is_left=lambda: True)
    replicas.answer(MOVED, MOVED)
    with pytest.raises(QueryCanceled):
        refused.result(0)
    unsettled = begun(replicas, [part(1)], rests_on={1}, is_left=lambda: True)
    replicas.settling.pop()[1](False)
    with pytest.raises(QueryCanceled):
        unsettled.result(0)
    for answer in (WRITTEN, LOST):
        partly = begun(replicas, [part(1), part(2)], is_left=lambda: True)
        replicas.answer(answer, MOVED)
        with pytest.raises(StatementCompletionUnknown):
            partly.result(0)
    done = begun(replicas, [part(1)], is_left=lambda: True)
    replicas.answer(WRITTEN)
    assert done.result(0).points == 3


def test_what_is_refused_is_not_logged_and_leaves_its_locations() -> None:
    replicas, turns = Replicas(), Turns()

    def refuse() -> None:
        raise SerializationFailure("no")

    refused = begun(replicas, [part(1)], rests_on={1}, turns=turns, check=refuse)
    late = begun(replicas, [part(1)], turns=turns)
    unsettled = begun(replicas, [part(1)], rests_on={1}, turns=turns)
    assert replicas.asked == []
    replicas.settling.pop()[1](True)
    with pytest.raises(SerializationFailure):
        refused.result(0)
    assert replicas.settling == []
    assert replicas.answer(WRITTEN) == [1]
    assert late.result(0).points == 3
    replicas.settling.pop()[1](False)
    with pytest.raises(CannotConnectNow):
        unsettled.result(0)
    assert turns.waiting == 0


@pytest.mark.parametrize(
    ("acks", "rests_on", "uncommitted", "heeded"),
    [
        (0, (), 0, 0), (1, (), 0, 1), (QUORUM, (), 0, QUORUM), (ALL, (), 0, ALL), (3, (), 0, 3),
        # What was read must be there before what rests on it is done, and nobody writes faster than others follow.
        (1, (1,), 0, QUORUM), (ALL, (1,), 0, ALL), (0, (), 1 << 30, QUORUM), (2, (), 1 << 30, 2),
    ],
)  # fmt: skip
def test_a_write_waits_for_as_many_as_it_says_and_for_more_where_it_must(
    acks: int, rests_on: Collection[int], uncommitted: int, heeded: int
) -> None:
    replicas = Replicas()
    replicas.uncommitted_bytes = uncommitted
    future = begun(replicas, [part(1)], rests_on, acks=acks)
    for _, told in replicas.settling:
        told(True)
    assert replicas.acks == [heeded]
    replicas.answer(WRITTEN)
    assert future.result(0).fell_short == (acks in (ALL, 3))
    assert future.result(0).token == ((1, 1, 1),)


def test_steps_of_one_location_are_one_op_as_long_as_nodes_send_each_other_such() -> None:
    places = [Location(number, 0, 1) for number in (1, 2)]

    def step(at: int, size: int) -> Delete:
        return Delete([DeletePart(places[at], [])], [b"y" * size])

    parts = parts_of([step(0, 10), step(1, 20), step(0, 30)])
    assert [(each.location, each.kind, each.counters) for each in parts] == [
        (1, OpKind.CHANGE, 2),
        (2, OpKind.DELETE, 1),
    ]
    assert [len(each.body) for each in decode_change(parts[0].body)] == [10, 30]
    large = parts_of([step(0, OP_BYTES_MAX - 100), step(0, 50), step(0, 50)])
    assert [each.kind for each in large] == [OpKind.CHANGE, OpKind.DELETE]
    assert all(len(each.body) <= OP_BYTES_MAX for each in large)


@pytest.mark.parametrize("seed", range(20))
def test_a_change_is_read_as_it_was_written_and_never_when_it_is_cut(seed: int) -> None:
    chance = Random(seed)
    parts = [
        ChangePart(chance.choice([1, 2]), chance.randrange(1 << 32), chance.randbytes(chance.randrange(40)))
        for _ in range(chance.randint(1, 5))
    ]
    body = encode_change(parts)
    assert [*decode_change(body)] == parts
    ends, at = set(), 0
    for each in parts:
        at += 12 + len(each.body)
        ends.add(at)
    for cut in {*range(1, len(body))} - ends:
        with pytest.raises(DataCorrupted):
            list(decode_change(body[:cut]))
