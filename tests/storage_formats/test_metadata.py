"""The durable catalog: whatever the schema changes, what is loaded is what there was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.errors import DataCorrupted, TsdbError
from tsdb.model.privileges import ON_DATABASE, ON_SERIES, Privilege
from tsdb.model.relations import Definition, SequenceOptions, Use, ViewColumn
from tsdb.model.role_changes import (
    AddToken,
    AlterRole,
    CreateRole,
    DropOwned,
    DropRole,
    DropToken,
    GrantPrivileges,
    GrantRole,
    ReassignOwned,
    RenameRole,
    RevokeRole,
    SetOwner,
    SetSecret,
)
from tsdb.model.roles import FIRST, Roles, Token
from tsdb.model.roles import Role as UserRole
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    AddColumn,
    AlterColumn,
    AlterColumnType,
    Applied,
    Catalog,
    ColumnDefinition,
    ConstraintDefinition,
    CreateDatabase,
    CreateNamespace,
    CreateSequence,
    CreateSeries,
    CreateView,
    DropColumn,
    DropDatabase,
    DropNamespace,
    DropSequence,
    DropSeries,
    DropView,
    IndexDefinition,
    MoveRelation,
    RenameColumn,
    RenameDatabase,
    RenameNamespace,
    RenameSeries,
    RenameView,
    Role,
    SchemaChange,
    SetComment,
    SetRetention,
    SetSlots,
    SettleSlots,
    applied,
)
from tsdb.storage import keys, metadata
from tsdb.storage.frame import seal
from tsdb.storage.keys import state_key
from tsdb.storage.rocks import Rocks
from tsdb.types import BY_NAME, UINT8

names = st.sampled_from(["a", "b", "Ünïcode", 'with "quotes"'])
types = st.sampled_from([*(BY_NAME[name] for name in ("int8", "float8", "text", "bool", "numeric", "text[]")), UINT8])
definitions = st.builds(
    ColumnDefinition,
    st.sampled_from(["x", "y", "z"]),
    st.sampled_from([Role.TAG, Role.FIELD]),
    types,
    st.sampled_from([-1, 7]),
    st.booleans(),
    st.none() | st.just("1 + 1"),
)
schemas = st.sampled_from(["public", "s1", "s2"])
uses = st.lists(st.builds(Use, st.integers(1, 9), schemas, names, st.just(((1, "x"), (2, "y")))), max_size=2).map(tuple)
role_names = st.sampled_from(["tsdb", "r1", "r2", "r3", "pg_read_all_data"])
role_values = st.builds(
    UserRole, st.just(0), role_names, st.booleans(), st.booleans(), login=st.booleans(), connection_limit=st.just(3)
)
privileges = st.sampled_from([Privilege.SELECT, Privilege.INSERT | Privilege.DELETE, ON_SERIES, ON_DATABASE])
maybe_ns = st.none() | st.integers(-(2**63), 2**63 - 1)
changes: st.SearchStrategy[SchemaChange] = st.one_of(
    st.builds(CreateDatabase, names),
    st.builds(DropDatabase, names),
    st.builds(RenameDatabase, names, names),
    st.builds(
        lambda database, name, columns, keyed, retention: CreateSeries(
            database, name, (LINE_PROTOCOL_TIME, *columns), keyed, False, retention, ("time",)
        ),
        names, names, st.lists(definitions, max_size=3), st.booleans(), maybe_ns,
    ),
    st.builds(DropSeries, names, names),
    st.builds(RenameSeries, names, names, names),
    st.builds(AddColumn, names, names, definitions),
    st.builds(DropColumn, names, names, st.sampled_from(["x", "y"])),
    st.builds(RenameColumn, names, names, st.sampled_from(["x", "y"]), st.sampled_from(["y", "z"])),
    st.builds(AlterColumnType, names, names, st.sampled_from(["x", "y"]), types),
    st.builds(AlterColumn, names, names, st.sampled_from(["x", "y"]), st.booleans(), st.booleans(), st.just("now()")),
    st.builds(SetRetention, names, names, maybe_ns, maybe_ns),
    st.builds(SetSlots, names, names, st.sampled_from([1, 2, 256]), st.integers(-3, 3)),
    st.builds(SettleSlots, names, names, st.integers(-3, 3), st.booleans()),
    st.builds(CreateRole, role_values, st.lists(role_names, max_size=2).map(tuple)),
    st.builds(AlterRole, role_names, st.just((("verifier", "v"), ("superuser", True), ("valid_until_us", 5)))),
    st.builds(RenameRole, role_names, role_names),
    st.builds(DropRole, role_names),
    st.builds(GrantRole, role_names, role_names, st.booleans()),
    st.builds(RevokeRole, role_names, role_names, st.booleans()),
    st.builds(GrantPrivileges, names, st.none() | names, privileges, st.none() | role_names, st.booleans()),
    st.builds(SetOwner, names, st.none() | names, role_names),
    st.builds(ReassignOwned, names, st.lists(role_names, min_size=1, max_size=2).map(tuple), role_names),
    st.builds(DropOwned, names, st.lists(role_names, min_size=1, max_size=2).map(tuple)),
    st.builds(AddToken, role_names, st.builds(Token, names, st.binary(min_size=32, max_size=32), st.integers(0, 9))),
    st.builds(DropToken, names),
    st.builds(
        lambda database, name, schema, definition: CreateSeries(
            database, name, (replace(definition, counts=SequenceOptions(), sequence=None),), False, True, schema=schema,
            constraints=(ConstraintDefinition("c", (definition.name,), text="x > 0"),),
            indexes=(IndexDefinition(((definition.name, "", True, False), (None, "lower(x)", False, True))),),
            definition=Definition("SELECT 1", (), "Europe/Berlin"), populated=False,
        ),
        names, names, schemas, definitions,
    ),
    st.builds(CreateNamespace, names, schemas, st.booleans()),
    st.builds(DropNamespace, names, schemas, st.booleans()),
    st.builds(RenameNamespace, names, schemas, schemas),
    st.builds(MoveRelation, names, names, schemas),
    st.builds(
        CreateView, names, schemas, names, st.builds(Definition, st.just("SELECT 1"), uses),
        st.lists(st.builds(ViewColumn, names, types), min_size=1, max_size=2).map(tuple), st.booleans(),
    ),
    st.builds(DropView, names, names, st.booleans()),
    st.builds(RenameView, names, names, names),
    st.builds(CreateSequence, names, schemas, names, st.builds(SequenceOptions, st.just(BY_NAME["int4"]))),
    st.builds(DropSequence, names, names, st.booleans()),
    st.builds(SetComment, names, st.sampled_from(["database", "schema", "relation", "column"]), names, st.just("c")),
    st.builds(SetSecret, st.binary(min_size=32, max_size=32)),
)  # fmt: skip


def test_a_catalog_of_version_1_is_read_with_the_defaults(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        batch = rocks.batch()
        for name, number, record in (
            ("catalog", (), [7, 2, 2, 3, 5]),
            ("database", (1,), ["d", [[1, 0, 2**64 - 1]]]),
            ("series", (1,), [1, "s", [[2, "time", 1, 1184, 2, -1, True, None, []]], True, False, None, None, []]),
        ):
            value = seal(metadata.MAGIC, 1, msgspec.msgpack.encode(record))
            batch.put("state", state_key(name, *number), value)
        rocks.write(batch, sync=False)
        catalog = metadata.load(rocks)
    assert catalog.find("d").owner == catalog.find("d").find("s").owner == FIRST
    assert catalog.find("d").grants is None
    assert catalog.roles == Roles()


def store(rocks: Rocks, changed: Applied) -> int:
    batch = rocks.batch()
    metadata.store(batch, changed)
    records = len(batch)
    rocks.write(batch, sync=False)
    return records


def test_what_is_loaded_is_what_there_was_after_any_changes(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:

        @given(st.lists(changes, max_size=20))
        @settings(max_examples=60)
        def check(changes: list[SchemaChange]) -> None:
            catalog = Catalog()
            old = metadata.load(rocks)
            store(
                rocks,
                Applied(
                    catalog,
                    frozenset(old.series_by_number),
                    frozenset(old.databases_by_number),
                    frozenset(old.roles.stored),
                    {v.number: None for d in old.databases.values() for v in d.views.values()},
                    {s.number: None for d in old.databases.values() for s in d.sequences.values()},
                ),
            )
            first = (CreateDatabase("a"), CreateSeries("a", "a", (LINE_PROTOCOL_TIME,), True))
            for change in (*first, *changes):
                try:
                    done = applied(catalog, [change])
                except TsdbError:
                    continue
                store(rocks, done)
                catalog = done.catalog
                assert metadata.load(rocks) == catalog

        check()


def catalog_of(count: int) -> Applied:
    series = [CreateSeries("d", f"s{i}", (LINE_PROTOCOL_TIME,), True) for i in range(count)]
    return applied(Catalog(), [CreateDatabase("d"), *series])


def test_a_change_writes_the_records_it_touched_and_the_numbers(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        assert metadata.load(rocks) == Catalog()
        first = catalog_of(50)
        assert store(rocks, first) == 1 + 1 + 50
        assert store(rocks, applied(first.catalog, [])) == 0
        second = applied(first.catalog, [RenameSeries("d", "s7", "t")])
        assert store(rocks, second) == 1 + 1
        assert store(rocks, applied(second.catalog, [RenameDatabase("d", "e")])) == 1 + 1
        assert store(rocks, applied(second.catalog, [DropSeries("d", "t")])) == 1 + 1


def test_a_series_without_its_database_is_corrupted(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        store(rocks, catalog_of(1))
        batch = rocks.batch()
        batch.delete("state", keys.state_key(metadata.DATABASE, 1))
        rocks.write(batch, sync=False)
        with pytest.raises(DataCorrupted, match="series of databases that it does not have"):
            metadata.load(rocks)


@pytest.mark.parametrize("name", [metadata.NUMBERS, metadata.DATABASE, metadata.SERIES])
def test_any_changed_byte_of_a_record_is_found(tmp_path: Path, name: str) -> None:
    with Rocks.open(tmp_path) as rocks:
        store(rocks, catalog_of(1))
        key, value = next(rocks.scan("state", keys.state_key(name)))
        for position in range(len(value)):
            broken = bytearray(value)
            broken[position] ^= 0x10
            batch = rocks.batch()
            batch.put("state", key, bytes(broken))
            rocks.write(batch, sync=False)
            with pytest.raises(DataCorrupted):
                metadata.load(rocks)
