"""What every way to agree keeps to: a node by itself, a group of three, a log in etcd with one node or with three."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.metadata.draws import commands
from tests.metadata.worlds import SECOND, World, alone, group, over_etcd
from tsdb.cluster.group.group import Group
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import (
    Action,
    AddMember,
    ChangeMember,
    ChangeSchema,
    Command,
    Expected,
    Found,
    KeepClients,
    NewMember,
    OpenClient,
    PassTime,
    SetReplication,
    encode,
)
from tsdb.cluster.metadata.machine import Machine, answer_of
from tsdb.cluster.metadata.records import Answer, ClientSession, Member
from tsdb.cluster.metadata.state import Change, State
from tsdb.errors import DuplicateDatabase, ProgramLimitExceeded, SerializationFailure, TsdbError
from tsdb.model.schema import CreateDatabase


@pytest.fixture(params=["alone", "group", "etcd", "etcd of three nodes"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "alone":
        world = alone(tmp_path)
    elif request.param == "group":
        world = group(tmp_path, 3)
    else:
        world = over_etcd(request.getfixturevalue("shared_etcd"), tmp_path, 3 if "three" in request.param else 1)
    with world as found:
        yield found


def create(name: str) -> Action:
    return ChangeSchema.of([CreateDatabase(name)])


def test_what_is_proposed_is_there_when_it_is_answered(world: World) -> None:
    before = world.one.state.group.applied
    answer = world.one.propose(AddMember(NewMember(b"u" * 16)))
    member = world.one.state.get(Member, answer.values[0])
    assert member is not None
    assert member.uuid == b"u" * 16
    assert world.one.state.group.applied > before
    world.one.propose(create("fresh"))
    assert "fresh" in world.one.state.catalog.databases
    assert world.engines[0].catalog is world.one.state.catalog


def test_a_read_sees_what_was_answered_anywhere_before_it(world: World) -> None:
    for number in range(10):
        writer = world.agreements[number % len(world.agreements)]
        writer.propose(create(f"d{number}"))
        for reader in world.agreements:
            reader.wait_readable()
            assert f"d{number}" in reader.state.catalog.databases
    world.wait_until_same()


def test_a_refusal_is_raised_as_it_is_and_changes_nothing(world: World) -> None:
    world.one.propose(create("fresh"))
    catalog = world.one.state.catalog
    world.last.wait_readable()
    with pytest.raises(DuplicateDatabase, match='"fresh" already exists'):
        world.last.propose(create("fresh"))
    world.one.wait_readable()
    assert world.one.state.catalog == catalog


def test_a_decision_on_what_has_changed_since_is_refused(world: World) -> None:
    node = world.one.propose(AddMember(NewMember(b"u" * 16))).values[0]
    member = world.one.state.get(Member, node)
    assert member is not None
    seen = (Expected("member", node, member.changed),)
    world.last.propose(ChangeMember(node, zone="a"), seen)
    with pytest.raises(SerializationFailure, match="was changed at"):
        world.one.propose(ChangeMember(node, zone="b"), seen)
    changed = world.one.state.get(Member, node)
    assert changed is not None
    assert changed.zone == "a"
    missing = (Expected("member", 77, 0),)
    world.one.propose(SetReplication(0, 2), missing)


def test_of_decisions_at_once_on_the_same_record_one_is_taken(world: World) -> None:
    """A counter, by compare and set, from several threads at every node: no step is lost, none counts twice."""
    node = world.one.propose(AddMember(NewMember(b"u" * 16))).values[0]
    steps, failures = 6, []

    def count(agreement: Agreement) -> None:
        done = 0
        while done < steps:
            agreement.wait_readable()
            member = agreement.state.get(Member, node)
            assert member is not None
            seen = (Expected("member", node, member.changed),)
            try:
                agreement.propose(ChangeMember(node, capacity_bytes=member.capacity_bytes + 1), seen)
                done += 1
            except SerializationFailure:
                pass

    def guarded(agreement: Agreement) -> None:
        try:
            count(agreement)
        except BaseException as error:
            failures.append(error)

    counting = [*world.agreements, *world.agreements]
    threads = [threading.Thread(target=guarded, args=[agreement]) for agreement in counting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for agreement in world.agreements:
        agreement.wait_readable()
        member = agreement.state.get(Member, node)
        assert member is not None
        assert member.capacity_bytes == steps * len(counting)


def test_a_watch_is_told_of_every_change_once_and_in_order_on_every_node(world: World) -> None:
    told: list[list[tuple[int, int]]] = []
    for agreement in world.agreements:
        own: list[tuple[int, int]] = []
        told.append(own)

        def hear(state: State, changes: Sequence[Change], own: list[tuple[int, int]] = own) -> None:
            own.extend((each.number, each.value.capacity_bytes) for each in changes if each.name == "member")

        agreement.watch(hear)
    node = world.one.propose(AddMember(NewMember(b"u" * 16))).values[0]
    for number in range(1, 21):
        world.agreements[number % len(world.agreements)].propose(ChangeMember(node, capacity_bytes=number))
    for agreement, own in zip(world.agreements, told, strict=True):
        agreement.wait_readable()
        # The nodes are members, too, and say of themselves what they like.
        assert [each for each in own if each[0] == node] == [(node, number) for number in range(21)]


def test_a_check_holds_of_the_state_that_the_command_is_applied_to(world: World) -> None:
    """Each makes the next database by number, and none makes one that is there."""
    names = [f"n{number}" for number in range(12)]
    made: list[str] = []
    threads_of_checks: set[str] = set()

    class Taken(Exception):
        pass

    # In a group another command may come in between: then the state machine refuses what would be done twice.
    late: type[Exception] = DuplicateDatabase if any(isinstance(each, Group) for each in world.agreements) else Taken

    def make(agreement: Agreement) -> None:
        for name in names:

            def check(name: str = name) -> None:
                threads_of_checks.add(threading.current_thread().name)
                if name in agreement.state.catalog.databases:
                    raise Taken

            with contextlib.suppress(Taken, late):
                agreement.propose(create(name), check=check)
                made.append(name)

    threads = [threading.Thread(target=make, args=[agreement]) for agreement in world.agreements]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(names)
    assert len(threads_of_checks) <= len(world.agreements)
    assert not any(name.startswith("Thread") for name in threads_of_checks)


def test_a_session_ends_by_the_time_that_commands_bring(world: World) -> None:
    client = world.one.propose(OpenClient("c", 5 * SECOND)).values[0]
    world.clock.time_ns += 4 * SECOND
    assert world.last.propose(KeepClients((client, client + 1_000_000))).values == (client,)
    world.clock.time_ns += 4 * SECOND
    world.one.propose(PassTime())
    assert world.one.state.get(ClientSession, client) is not None
    world.clock.time_ns += 2 * SECOND
    world.last.propose(PassTime())
    world.one.wait_readable()
    assert world.one.state.get(ClientSession, client) is None
    assert world.one.propose(KeepClients((client,))).values == ()


def test_long_commands_are_taken_and_too_long_ones_refused(world: World) -> None:
    long = KeepClients(tuple(range(1 << 32, (1 << 32) + 400_000)))
    assert len(encode(Command(long))) > 3 << 20
    assert world.one.propose(long) == Answer()
    with pytest.raises(ProgramLimitExceeded, match="takes"):
        world.one.propose(AddMember(NewMember(b"u" * 16, name="long" * (5 << 20))))
    for agreement in world.agreements:
        agreement.wait_readable()
        assert b"u" * 16 not in [each.uuid for each in agreement.state.all(Member)]
    world.wait_until_same()


@pytest.mark.parametrize("seed", range(2))
def test_the_same_commands_give_the_same_answers_and_the_same_state(world: World, seed: int) -> None:
    """Whoever orders them: what becomes of a command is the state machine's, here fed beside it."""
    if any(isinstance(each, Group) for each in world.agreements):
        pytest.skip("a group's commands have numbers of their senders' sessions")
    model = Machine(world.one.state)

    def follow(own: bytes = b"") -> list[Answer]:
        """The answers to what was agreed on since the last time, if it is ``own``: nodes propose by themselves, too."""
        before = model.state.group.applied
        if world.log is not None:
            bodies = [body for _, body in world.log.after(before, world.log.look().head)]
        else:
            bodies = [own] if own else []
        outcomes = [model.apply(number, body) for number, body in enumerate(bodies, before + 1)]
        return [each.answer for each, body in zip(outcomes, bodies, strict=True) if each is not None and body == own]

    for at, each in enumerate(commands(seed, 60)):
        if isinstance(each.action, Found):
            continue
        agreement = world.agreements[at % len(world.agreements)]
        world.clock.time_ns += SECOND
        try:
            answer = agreement.propose(each.action, each.expected)
        except TsdbError as error:
            answer = answer_of(error)
        assert answer in follow(encode(Command(each.action, world.clock.now_ns(), each.expected)))

    def same() -> bool:
        follow()
        return all(agreement.state == model.state for agreement in world.agreements)

    for agreement in world.agreements:
        agreement.wait_readable()
    until(same)
