"""The state machine as a whole: a function of its log, from a snapshot or a disk as well, and each command once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.metadata.draws import CLUSTER, SECOND, commands, uuid
from tests.metadata.model import Location, Model
from tests.sim.disk import Disk
from tsdb.cluster.metadata import clients
from tsdb.cluster.metadata.commands import (
    Activate,
    AddMember,
    Assign,
    ChangeMember,
    ChangeSchema,
    CloseClient,
    Command,
    Count,
    Expected,
    Found,
    KeepClients,
    NewMember,
    OpenClient,
    OpenProducer,
    PassTime,
    RemoveMember,
    SetLearners,
    encode,
)
from tsdb.cluster.metadata.durable import StoredMetadata
from tsdb.cluster.metadata.machine import FAMILY, Machine, Outcome
from tsdb.cluster.metadata.records import NO_ID, ClientSession, Counted, Group, LocationRecord, Member
from tsdb.errors import DataCorrupted, TsdbError
from tsdb.model.relations import SequenceOptions
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    AddColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateEnum,
    CreateSequence,
    CreateSeries,
    DropDatabase,
    DropSequence,
    DropType,
    Role,
    SchemaChange,
)

SEEDS = range(16)
COUNT = 80
MODELLED = (AddMember, ChangeMember, RemoveMember, Assign, SetLearners, Activate, OpenClient, KeepClients, CloseClient)


def run(log: list[Command], machine: Machine | None = None, first: int = 1) -> tuple[Machine, list[Outcome]]:
    machine = machine or Machine()
    outcomes = [machine.apply(index, encode(each)) for index, each in enumerate(log, first)]
    assert all(outcome is not None for outcome in outcomes)
    return machine, [outcome for outcome in outcomes if outcome is not None]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_log_gives_the_same_state_answers_and_digests(seed: int) -> None:
    log = commands(seed, COUNT)
    (one, said), (two, said_again) = run(log), run(log)
    assert one.snapshot() == two.snapshot()
    assert [o.answer for o in said] == [o.answer for o in said_again]
    assert [o.writes for o in said] == [o.writes for o in said_again]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_snapshot_at_any_index_and_the_rest_of_the_log_are_the_whole_log(seed: int) -> None:
    log = commands(seed, COUNT)
    whole, said = run(log)
    machine = Machine()
    for index, each in enumerate(log, 1):
        copy = Machine()
        copy.restore(machine.snapshot())
        assert copy.state == machine.state
        machine.apply(index, encode(each))
        if index % 8 == seed % 8:
            _, rest = run(log[index - 1 :], copy, index)
            assert [o.answer for o in rest] == [o.answer for o in said[index - 1 :]]
            assert copy.snapshot() == whole.snapshot()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_on_disk_is_the_state_at_the_last_batch_that_survived(seed: int) -> None:
    """Batches are lost from some point on; the log is applied again from there, or from before."""
    log, chance, disk = commands(seed, COUNT), random.Random(seed), Disk()
    whole, _ = run(log)
    index = 1
    metadata = StoredMetadata(disk)
    while index <= len(log):
        batch = disk.batch()
        metadata.stage(batch, index, encode(log[index - 1]))
        disk.write(batch, sync=chance.random() < 0.2)
        index += 1
        if chance.random() < 0.1:
            disk.crash(chance)
            metadata = StoredMetadata(disk)
            # What is there already is not applied again.
            index = max(1, metadata.machine.state.group.applied + 1 - chance.randrange(3))
    assert metadata.snapshot() == StoredMetadata(disk).snapshot() == whole.snapshot()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_snapshot_on_a_disk_leaves_nothing_of_what_was_there(seed: int) -> None:
    disk = Disk()
    metadata = StoredMetadata(disk)
    for index, each in enumerate(commands(seed, COUNT), 1):
        batch = disk.batch()
        metadata.stage(batch, index, encode(each))
        disk.write(batch, sync=True)
    other, _ = run(commands(seed + 1_000, COUNT + 20))
    batch = disk.batch()
    metadata.stage_install(batch, COUNT + 20, other.snapshot())
    disk.write(batch, sync=True)
    assert StoredMetadata(disk).snapshot() == metadata.snapshot() == other.snapshot()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_machine_does_what_the_model_does(seed: int) -> None:
    machine, model = Machine(), Model()
    compared = 0
    for index, each in enumerate(commands(seed, 4 * COUNT), 1):
        wanted = model.begin(index, each)
        outcome = machine.apply(index, encode(each))
        assert outcome is not None
        got: object = "refused" if outcome.answer.error else outcome.answer.values
        if wanted is None and isinstance(each.action, MODELLED) and not each.expected:
            wanted = model.expected(index, each.action)
            compared += 1
        if wanted is not None:
            assert got == wanted, (index, each, outcome.answer)
        _learn(model, machine, each, got)
        _compare(machine, model)
    assert compared > 50


def _learn(model: Model, machine: Machine, each: Command, got: object) -> None:
    """What the model does not decide: expectations, the founding, rings; and who was answered what."""
    state = machine.state
    if isinstance(each.action, Found) or each.expected:
        members = list(state.all(Member))
        model.nodes = {m.node: m.uuid for m in members if not m.gone}
        model.gone = {m.node: m.uuid for m in members if m.gone}
        model.draining = {m.node for m in members if m.draining}
        model.founded = state.group.cluster != NO_ID
        model.heard = {s.client: (s.heard_ns, s.ttl_ns) for s in state.all(ClientSession)}
    if each.expected:
        model.locations = {}
    for record in state.all(LocationRecord):
        if record.location not in model.locations or model.locations[record.location].epoch == 0:
            model.locations[record.location] = Location(
                record.epoch,
                frozenset((*record.voters, *record.learners)),
                record.voters,
                (record.active_epoch, record.active_voters),
            )
    model.locations = {n: each for n, each in model.locations.items() if state.get(LocationRecord, n)}
    if isinstance(each.action, OpenProducer | ChangeSchema):
        # Databases are not of the model.
        producers = {s.client: (s.heard_ns, s.ttl_ns) for s in state.all(ClientSession) if s.database}
        model.heard = {c: at for c, at in model.heard.items() if state.get(ClientSession, c)} | producers
    if each.client in model.heard and each.number > model.acknowledged.get(each.client, 0):
        model.answers.setdefault((each.client, each.number), got)
        model.listen(each)


def _compare(machine: Machine, model: Model) -> None:
    state = machine.state
    assert {m.node: m.uuid for m in state.all(Member) if not m.gone} == model.nodes
    for record in state.all(LocationRecord):
        at = model.locations[record.location]
        assert (record.epoch, record.voters) == (at.epoch, at.voters)
        assert (record.active_epoch, record.active_voters) == at.active
    assert {s.client for s in state.all(ClientSession)} == set(model.heard)


# Duplicates and retries


@pytest.mark.parametrize("seed", range(30))
def test_commands_of_clients_count_once_in_any_interleaving_of_retries(seed: int) -> None:
    """Each client has databases of its own to make and drop by turns: a command that counts twice is seen."""
    chance = random.Random(seed)
    machine = Machine()
    index = 0

    def put(each: Command) -> Outcome:
        nonlocal index
        index += 1
        outcome = machine.apply(index, encode(each))
        assert outcome is not None
        return outcome

    clients = [put(Command(OpenClient(f"c{n}", 50 * SECOND))).answer.values[0] for n in range(3)]
    first: dict[tuple[int, int], Any] = {}
    sent: list[Command] = []
    for number in range(1, 16):
        for client in clients:
            name = f"d{client}-{number // 2}"
            change = CreateDatabase(name) if number % 2 == 0 else CreateDatabase(f"x{client}-{number}")
            acknowledged = chance.randrange(number)
            sent.append(Command(ChangeSchema.of([change]), 0, (), client, number, acknowledged))
    # An order of a client's commands is kept for the first time that each comes; copies come at any later time.
    for each in sent:
        copies = [each, *chance.choices(sent[: sent.index(each) + 1], k=chance.randrange(4))]
        for copy in copies:
            said = put(copy)
            key = copy.client, copy.number
            if key not in first:
                assert not said.repeated
                assert not said.answer.error
                first[key] = said.answer
            else:
                # Or it was acknowledged, and then nobody asks any more.
                assert said.changes == () or {c.name for c in said.changes} == {"client"}
                assert said.answer == first[key] or said.answer.error == "ObjectNotInPrerequisiteState"
    # Eight made by even numbers and eight by odd ones, for each client; twice would have been refused or more.
    assert len(machine.state.catalog.databases) == 3 * 15
    assert machine.state.catalog.version == 3 * 15


def test_a_retry_after_the_session_ended_is_refused_and_never_applied_again() -> None:
    machine, _ = run([Command(OpenClient("c", 10 * SECOND), time_ns=SECOND)])
    create = Command(ChangeSchema.of([CreateDatabase("d")]), SECOND, (), 1, 1)
    drop = Command(ChangeSchema.of([DropDatabase("d")]), SECOND)
    late = Command(create.action, 12 * SECOND, (), 1, 1)
    _, said = run([create, drop, late], machine, 2)
    assert [o.answer.error for o in said] == ["", "", "ObjectNotInPrerequisiteState"]
    assert not machine.state.catalog.databases


def test_sessions_end_by_the_time_that_commands_bring_and_it_never_goes_back() -> None:
    machine, _ = run([Command(OpenClient("c", 10 * SECOND), time_ns=5 * SECOND)])
    run([Command(PassTime(), 15 * SECOND), Command(PassTime(), 0), Command(PassTime(), 15 * SECOND)], machine, 2)
    assert machine.state.group.time_ns == 15 * SECOND
    assert machine.state.get(ClientSession, 1) is not None
    run([Command(KeepClients((1,)), 14 * SECOND), Command(PassTime(), 25 * SECOND)], machine, 5)
    assert machine.state.get(ClientSession, 1) is not None
    run([Command(PassTime(), 25 * SECOND + 1)], machine, 7)
    assert machine.state.get(ClientSession, 1) is None


def test_a_producer_has_one_session_by_its_name_in_a_database() -> None:
    databases = Command(ChangeSchema.of([CreateDatabase("d"), CreateDatabase("e")]))
    machine, _ = run([databases])
    d, e = (machine.state.catalog.databases[name].number for name in "de")
    opened = [
        Command(OpenProducer(*of, 10 * SECOND)) for of in ((d, "p"), (d, "q"), (e, "p"), (d, "p"), (9, "p"), (d, ""))
    ]
    _, said = run(opened, machine, 2)
    assert [o.answer.values for o in said] == [(2,), (3,), (4,), (2,), (), ()]
    assert [o.answer.error for o in said[4:]] == ["InvalidCatalogName", "InvalidParameterValue"]
    # It is heard of by being asked for, and ends like any other; then the name is a new one.
    times = [
        Command(OpenProducer(d, "p", 10 * SECOND), 8 * SECOND),
        Command(OpenProducer(d, "q", 10 * SECOND), 15 * SECOND),
    ]
    _, said = run(times, machine, 8)
    assert [o.answer.values for o in said] == [(2,), (9,)]
    assert {s.client for s in machine.state.all(ClientSession)} == {2, 9}
    run([Command(ChangeSchema.of([DropDatabase("d")]), 15 * SECOND)], machine, 10)
    assert not list(machine.state.all(ClientSession))


def test_a_sequence_counts_for_who_has_seen_how_far_it_is() -> None:
    sequence = CreateSequence("d", "public", "s", SequenceOptions())
    machine, _ = run([Command(ChangeSchema.of([CreateDatabase("d"), sequence]))])
    database = machine.state.catalog.databases["d"]
    number = database.sequences["s"].number

    def count(following: str, seen: int | None) -> Command:
        expected = () if seen is None else (Expected("values", number, seen),)
        return Command(Count(database.number, number, following, True), 0, expected)

    _, said = run([count("33", 0), count("33", 0), count("65", 2), count("x", 4), count("9", None)], machine, 2)
    assert [o.answer.values for o in said] == [(2,), (), (4,), (), (6,)]
    assert [o.answer.error for o in said if o.error] == ["SerializationFailure", "InvalidParameterValue"]
    assert list(machine.state.all(Counted)) == [Counted(number, database.number, "9", True, 6)]
    _, said = run([Command(ChangeSchema.of([DropSequence("d", "s")])), count("1", None)], machine, 7)
    assert said[1].answer.error == "UndefinedTable"
    assert not list(machine.state.all(Counted))


def test_producers_leave_room_for_the_sessions_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PRODUCERS_MAX", 2)
    monkeypatch.setattr(clients, "CLIENTS_MAX", 1)
    machine, _ = run([Command(ChangeSchema.of([CreateDatabase("d")]))])
    producers = [Command(OpenProducer(machine.state.catalog.databases["d"].number, name, SECOND)) for name in "abca"]
    _, said = run([*producers, Command(OpenClient("node", SECOND)), Command(OpenClient("other", SECOND))], machine, 2)
    full = "ConfigurationLimitExceeded"
    assert [o.answer.error for o in said] == ["", "", full, "", "", full]


def test_a_client_has_a_window_of_commands_without_an_acknowledgement() -> None:
    machine, _ = run([Command(OpenClient("c", 10 * SECOND))])
    _, said = run([Command(PassTime(), 0, (), 1, number) for number in (64, 65, 1)], machine, 2)
    assert [o.answer.error for o in said] == ["", "ObjectNotInPrerequisiteState", ""]
    _, said = run([Command(PassTime(), 0, (), 1, n, a) for n, a in ((2, 1), (65, 1), (1, 0))], machine, 5)
    assert [o.answer.error for o in said] == ["", "", "ObjectNotInPrerequisiteState"]


# Expectations and refusals


@pytest.mark.parametrize("seed", SEEDS)
def test_a_refused_command_changes_nothing_but_the_groups_time(seed: int) -> None:
    machine = Machine()
    refused = 0
    for index, each in enumerate(commands(seed, COUNT), 1):
        before = machine.state
        outcome = machine.apply(index, encode(Command(each.action, 0, each.expected)))
        assert outcome is not None
        if outcome.answer.error:
            refused += 1
            assert outcome.changes == ()
            tables = {k: v for k, v in machine.state.tables.items() if k is not Group}
            assert tables == {k: v for k, v in before.tables.items() if k is not Group}
            assert machine.state.catalog is before.catalog
    assert refused > 5


def test_a_decision_on_what_a_record_was_is_refused_when_it_has_changed() -> None:
    machine, _ = run([Command(Found(CLUSTER, NewMember(uuid(1)))), Command(ChangeMember(1, zone="z"))])
    drain = ChangeMember(1, draining=True)
    for seen, error in ((1, "SerializationFailure"), (0, "SerializationFailure"), (2, "")):
        index = machine.state.group.applied + 1
        _, (said,) = run([Command(drain, 0, (Expected("member", 1, seen),))], machine, index)
        assert said.answer.error == error
    assert "decision was taken" in said.answer.message or not said.answer.error
    _, (said,) = run([Command(PassTime(), 0, (Expected("member", 9, 0),))], machine, 6)
    assert said.answer.error == ""


def test_a_decision_on_an_older_schema_is_refused() -> None:
    machine, _ = run([Command(ChangeSchema.of([CreateDatabase("d")]))])
    version = machine.state.catalog.version
    action = ChangeSchema.of([DropDatabase("d")])
    _, (said,) = run([Command(action, 0, (Expected("catalog", 0, version - 1),))], machine, 2)
    assert said.answer.error == "SerializationFailure"
    _, (said,) = run([Command(action, 0, (Expected("catalog", 0, version),))], machine, 3)
    assert said.answer.error == ""


def test_a_change_with_a_type_that_was_dropped_meanwhile_is_refused_and_stops_nobody() -> None:
    made: list[SchemaChange] = [CreateDatabase("d"), CreateEnum("d", "public", "mood", ("sad",))]
    machine, _ = run([Command(ChangeSchema.of([*made, CreateSeries("d", "s", (LINE_PROTOCOL_TIME,), keyed=True)]))])
    mood = machine.state.catalog.find("d").types["mood"]
    decided = ChangeSchema.of([AddColumn("d", "s", ColumnDefinition("m", Role.FIELD, mood.sql_type))])
    _, (dropped, said) = run([Command(ChangeSchema.of([DropType("d", "mood")])), Command(decided)], machine, 2)
    assert (dropped.answer.error, said.answer.error) == ("", "UndefinedObject")


def test_what_cannot_be_read_stops_the_node_and_changes_nothing() -> None:
    machine, _ = run([Command(OpenClient("c", SECOND))])
    before = machine.snapshot()
    for body in (b"", b"rubbish", encode(Command(ChangeSchema(b"\xc1"), client=1, number=1))):
        with pytest.raises(DataCorrupted):
            machine.apply(2, body)
        assert machine.snapshot() == before


def test_an_index_that_is_applied_is_not_applied_again() -> None:
    machine, _ = run([Command(ChangeSchema.of([CreateDatabase("d")]))])
    before = machine.snapshot()
    assert machine.apply(1, encode(Command(ChangeSchema.of([CreateDatabase("e")])))) is None
    assert machine.snapshot() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_any_changed_byte_of_a_stored_record_is_found(seed: int) -> None:
    disk, chance = Disk(), random.Random(seed)
    metadata = StoredMetadata(disk)
    for index, each in enumerate(commands(seed, 20), 1):
        batch = disk.batch()
        metadata.stage(batch, index, encode(each))
        disk.write(batch, sync=True)
    key, value = chance.choice(list(disk.scan(FAMILY)))
    broken = bytearray(value)
    broken[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    batch = disk.batch()
    batch.put(FAMILY, key, bytes(broken))
    disk.write(batch, sync=True)
    with pytest.raises(DataCorrupted):
        StoredMetadata(disk)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_changed_byte_of_a_snapshot_is_found(seed: int) -> None:
    machine, _ = run(commands(seed, 20))
    body, chance = machine.snapshot(), random.Random(seed)
    broken = bytearray(body)
    broken[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    with pytest.raises(DataCorrupted):
        Machine().restore(bytes(broken))


def test_digests_part_at_the_first_difference() -> None:
    log = commands(3, 40)
    other = list(log)
    other[20] = Command(ChangeSchema.of([CreateDatabase("elsewhere")]))
    one, two = Machine(), Machine()
    for index, (each, its) in enumerate(zip(log, other, strict=True), 1):
        one.apply(index, encode(each))
        two.apply(index, encode(its))
        assert (one.state.group.digest == two.state.group.digest) == (index <= 20)


def test_an_answer_tells_others_of_the_refusal() -> None:
    machine, _ = run([Command(OpenClient("c", 10 * SECOND))])
    bad = Command(ChangeSchema.of([DropDatabase("nowhere")]), 0, (), 1, 1)
    _, (first, again) = run([bad, bad], machine, 2)
    assert isinstance(first.error, TsdbError)
    assert type(again.error) is type(first.error)
    assert again.error is not None
    assert (again.error.message, again.repeated) == (first.error.message, True)


def test_draws_do_things() -> None:
    """A property over commands that are all refused says nothing."""
    taken: dict[str, int] = {}
    for seed in SEEDS:
        log = commands(seed, COUNT)
        for each, outcome in zip(log, run(log)[1], strict=True):
            taken[type(each.action).__name__] = taken.get(type(each.action).__name__, 0) + (not outcome.answer.error)
    assert min(taken.values()) > 2, taken
    assert len(taken) == 18
