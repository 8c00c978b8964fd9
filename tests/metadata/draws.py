"""Random commands for the metadata, from a seed: mostly ones that could be meant, with small numbers that collide."""

from __future__ import annotations

import random

from tsdb.cluster.metadata.commands import (
    Action,
    Activate,
    AddMember,
    Assign,
    Assignment,
    ChangeMember,
    ChangeRing,
    ChangeSchema,
    CloseClient,
    Command,
    Expected,
    Found,
    KeepClients,
    NewMember,
    OpenClient,
    OpenProducer,
    PassTime,
    RemoveMember,
    SetGoals,
    SetIntent,
    SetLearners,
    SetReplication,
    SpreadDatabase,
    encode,
)
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import (
    NAMES,
    ClientSession,
    Group,
    Intent,
    Interval,
    LocationRecord,
    Member,
    Ring,
)
from tsdb.cluster.metadata.state import State
from tsdb.model.role_changes import CreateRole, DropRole
from tsdb.model.roles import Role as UserRole
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    AddColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateEnum,
    CreateSeries,
    DropColumn,
    DropDatabase,
    DropSeries,
    RenameDatabase,
    Role,
    SchemaChange,
    SetRetention,
    SetSlots,
    SettleSlots,
)
from tsdb.types import FLOAT8, INT8, TEXT

CLUSTER = b"cluster-id-bytes"
SECOND = 10**9
RING = 2**64


def uuid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def database(chance: random.Random) -> str:
    return chance.choice("ab")


def schema_change(chance: random.Random) -> SchemaChange:
    name, series = database(chance), chance.choice("stu")
    column = ColumnDefinition(chance.choice("xyz"), Role.FIELD, chance.choice((FLOAT8, INT8, TEXT)))
    return chance.choice(
        (
            CreateDatabase(name, if_not_exists=chance.random() < 0.3),
            DropDatabase(name),
            RenameDatabase(name, database(chance)),
            CreateSeries(name, series, (LINE_PROTOCOL_TIME, column), keyed=True),
            CreateSeries(name, series, (LINE_PROTOCOL_TIME, column), keyed=True),
            DropSeries(name, series),
            AddColumn(name, series, column),
            AddColumn(name, series, column),
            DropColumn(name, series, column.name),
            SetRetention(name, series, chance.choice((None, 10**15)), chance.choice((None, 7, 9))),
            SetSlots(name, series, chance.choice((1, 2, 256)), chance.randint(-3, 3)),
            SettleSlots(name, series, chance.randint(-3, 3), chance.random() < 0.5),
            CreateEnum(name, "public", "mood", ("sad", "happy")),
            CreateRole(UserRole(0, chance.choice(("r1", "r2")), login=True, verifier="v")),
            DropRole(chance.choice(("r1", "r2"))),
        )
    )


def _member(chance: random.Random) -> NewMember:
    number = chance.randint(1, 6)
    return NewMember(uuid(number), (("peer", f"127.0.0.1:{number}"),), chance.choice(("", "z1", "z2")), number)


def _some(chance: random.Random, known: list[int], other: int) -> int:
    """One that is there, mostly."""
    return chance.choice(known) if known and chance.random() < 0.85 else chance.randint(1, other)


def _assignment(chance: random.Random, state: State) -> Assignment:
    nodes = [m.node for m in state.all(Member) if not m.gone]
    location = _some(chance, list(state.tables[LocationRecord])[:6], 6)
    record = state.get(LocationRecord, location) or LocationRecord(location, 0)
    voters = tuple(dict.fromkeys(_some(chance, nodes, 6) for _ in range(chance.randint(1, 3))))
    learners = (_some(chance, nodes, 6),) if chance.random() < 0.3 else ()
    epoch = record.epoch + chance.choice((1, 1, 1, 1, 0, 2))
    return Assignment(location, epoch, chance.choice(voters) if chance.random() < 0.9 else 9, voters, learners)


def _epoch(chance: random.Random, state: State) -> tuple[int, int]:
    location = _some(chance, list(state.tables[LocationRecord])[:6], 6)
    record = state.get(LocationRecord, location) or LocationRecord(location, 0)
    return location, record.epoch - (chance.random() < 0.2)


def _move_away(chance: random.Random, state: State) -> Action:
    """A node gets rid of what it has, in one step; or goes."""
    nodes = [m.node for m in state.all(Member) if not m.gone]
    node = _some(chance, nodes, 6)
    held = [r for r in state.all(LocationRecord) if node in (*r.voters, *r.learners)]
    others = [each for each in nodes if each != node]
    if held and others:
        voters = (chance.choice(others),)
        return Assign(tuple(Assignment(r.location, r.epoch + 1, voters[0], voters) for r in held))
    active = [r for r in state.all(LocationRecord) if node in r.active_voters]
    return Activate(tuple((r.location, r.epoch) for r in active)) if active else RemoveMember(node)


def _ring(chance: random.Random, state: State) -> ChangeRing:
    """Often a real next map: an interval of the last one is cut in two, or two are joined."""
    database = _some(chance, list(state.tables[Ring]), 3)
    ring = state.get(Ring, database)
    if ring is None:
        return ChangeRing(database, 2, 0, (Interval(0, 0, RING - 1),))
    last = ring.maps[-1]
    intervals = list(last.intervals)
    at = chance.randrange(len(intervals) - 1)
    first, second = intervals[at : at + 2]
    if chance.random() < 0.5:
        intervals[at : at + 2] = [Interval(0, first.low, second.last)]
    elif first.last > first.low:
        middle = (first.low + first.last) // 2
        intervals[at : at + 1] = [Interval(0, first.low, middle), Interval(0, middle + 1, first.last)]
    if chance.random() < 0.2:
        del intervals[chance.randrange(len(intervals))]
    version = last.version + chance.choice((1, 1, 1, 0, 2))
    return ChangeRing(database, version, max(last.from_bucket, -1) + chance.randint(0, 3), tuple(intervals))


def _cuts(chance: random.Random, ring: Ring | None, arcs: int) -> tuple[int, ...]:
    """None, for equal arcs; or some that mostly could be."""
    if ring is None or chance.random() < 0.5:
        return ()
    places = [each.low for each in ring.maps[-1].intervals]
    found = sorted(chance.sample(places, min(arcs - 1, len(places))))
    return tuple(found if chance.random() < 0.9 else [each + 1 for each in found])


def action(chance: random.Random, state: State) -> Action:
    kind = chance.randrange(17)
    nodes = [m.node for m in state.all(Member) if not m.gone]
    clients = list(state.tables[ClientSession])
    if kind in (0, 1):
        return AddMember(_member(chance))
    if kind == 2:
        return ChangeMember(
            _some(chance, nodes, 6), zone=chance.choice((None, "z3")), draining=chance.choice((None, True, False))
        )
    if kind == 3:
        return _move_away(chance, state)
    if kind == 4:
        return SetReplication(_some(chance, [0, *state.tables[Ring]], 3), chance.randint(0, 4))
    if kind == 5:
        return _ring(chance, state)
    if kind in (6, 7):
        drawn = [_assignment(chance, state) for _ in range(chance.randint(1, 4))]
        return Assign(tuple({each.location: each for each in drawn}.values() if chance.random() < 0.9 else drawn))
    if kind == 8 and chance.random() < 0.5:
        location, epoch = _epoch(chance, state)
        return SetLearners(location, epoch, tuple(_some(chance, nodes, 6) for _ in range(chance.choice((0, 1, 1, 2)))))
    if kind == 8:
        return Activate(tuple(_epoch(chance, state) for _ in range(chance.randint(1, 4))))
    if kind == 9:
        return SetIntent(_some(chance, list(state.tables[LocationRecord])[:6], 6), Intent(chance.randrange(4)))
    if kind == 10:
        return chance.choice((Found(CLUSTER, _member(chance)), OpenClient("c", chance.randint(0, 20) * SECOND)))
    if kind == 11:
        client = _some(chance, clients, 20)
        return chance.choice((KeepClients((client, chance.randint(1, 20))), CloseClient(client), PassTime()))
    if kind == 12:
        wanted = tuple(_some(chance, nodes, 6) for _ in range(chance.choice((0, 2, 2, 3))))
        return SetGoals(((_some(chance, list(state.tables[Ring]), 3), wanted),))
    if kind == 13 and chance.random() < 0.6:
        return OpenProducer(chance.randint(1, 3), chance.choice("ab"), chance.randint(0, 20) * SECOND)
    if kind == 16 and chance.random() < 0.7:
        database, arcs = _some(chance, list(state.tables[Ring]), 3), chance.choice((1, 2, 4, 8, 3))
        return SpreadDatabase(database, arcs, _cuts(chance, state.get(Ring, database), arcs))
    return ChangeSchema.of(schema_change(chance) for _ in range(chance.choice((1, 1, 1, 2, 3))))


def expected(chance: random.Random, state: State) -> Expected:
    """A record as it is, or nearly."""
    kind = chance.choice((Member, LocationRecord, Ring, ClientSession, Group))
    number = _some(chance, list(state.tables[kind]), 5) if kind is not Group else 0
    record = state.tables[kind].get(number)
    seen = (record.changed if record else 0) - (chance.random() < 0.3)
    if chance.random() < 0.2:
        return Expected("catalog", 0, state.catalog.version - (chance.random() < 0.3))
    return Expected(NAMES[kind], number, seen)


def command(chance: random.Random, state: State, time_ns: int) -> Command:
    """Some commands come from a client, numbered, and some of these came before."""
    seen = (expected(chance, state),) if chance.random() < 0.1 else ()
    clients = list(state.tables[ClientSession])
    if chance.random() < 0.5 or not clients:
        return Command(action(chance, state), time_ns, seen)
    client = _some(chance, clients, 20)
    number = chance.randint(0, 9)
    return Command(action(chance, state), time_ns, seen, client, number, chance.randint(0, number))


def commands(seed: int, count: int) -> list[Command]:
    """A cluster's life: it is founded, mostly, and then anything happens."""
    chance = random.Random(seed)
    first = [Command(Found(CLUSTER, NewMember(uuid(1)), chance.randint(1, 3)))] if chance.random() < 0.9 else []
    first += [Command(AddMember(NewMember(uuid(n)))) for n in range(2, chance.randint(2, 5))]
    first.append(Command(ChangeSchema.of([CreateDatabase("a")])))
    first.append(Command(OpenClient("c", 20 * SECOND)))
    chance.shuffle(first)
    machine = Machine()
    log: list[Command] = []
    now = 0
    while len(log) < count:
        now += chance.choice((0, SECOND, SECOND))
        log.append(first.pop() if first else command(chance, machine.state, max(0, now - chance.randrange(4) * SECOND)))
        machine.apply(len(log), encode(log[-1]))
    return log
