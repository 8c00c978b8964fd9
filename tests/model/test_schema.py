"""Schema changes: what they do, what they refuse, and that numbers are never used twice."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb import errors
from tsdb.model.ring import Slots
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    AddColumn,
    AlterColumn,
    AlterColumnType,
    Catalog,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    DropColumn,
    DropDatabase,
    DropSeries,
    RenameColumn,
    RenameDatabase,
    RenameSeries,
    Role,
    SchemaChange,
    SetRetention,
    SetSlots,
    SettleSlots,
    applied,
    apply,
)
from tsdb.types import BOOL, FLOAT8, INT4, INT8, TEXT, Kind

HOST = ColumnDefinition("host", Role.TAG, TEXT)
USAGE = ColumnDefinition("usage", Role.FIELD, FLOAT8)
CPU = CreateSeries("d", "cpu", (LINE_PROTOCOL_TIME, HOST, USAGE), keyed=True, key=("host", "time"))


def catalog(*changes: SchemaChange) -> Catalog:
    return apply(Catalog(), [CreateDatabase("d"), CPU, *changes])


def test_a_created_series_has_its_columns_in_order_with_numbers_of_their_own() -> None:
    series = catalog().find("d").find("cpu")
    assert [c.name for c in series.columns] == ["time", "host", "usage"]
    assert len({c.number for c in series.columns}) == 3
    assert series.time is series.columns[0]
    assert series.key == (series.column("host").number, series.column("time").number)


def test_dropping_and_creating_again_gives_new_numbers() -> None:
    before = catalog()
    after = apply(before, [DropSeries("d", "cpu"), CPU])
    old, new = before.find("d").find("cpu"), after.find("d").find("cpu")
    assert old.number != new.number
    assert not {c.number for c in old.columns} & {c.number for c in new.columns}


def test_renaming_changes_no_number() -> None:
    before = catalog()
    after = apply(
        before, [RenameSeries("d", "cpu", "c"), RenameColumn("d", "c", "usage", "u"), RenameDatabase("d", "e")]
    )
    old, new = before.find("d").find("cpu"), after.find("e").find("c")
    assert old.number == new.number
    assert [c.number for c in old.columns] == [c.number for c in new.columns]
    assert new.column("u").type is FLOAT8


def test_a_new_type_of_another_kind_gives_the_column_a_new_number_and_remembers_the_old_one() -> None:
    before = catalog().find("d").find("cpu").column("usage")
    after = catalog(AlterColumnType("d", "cpu", "usage", TEXT)).find("d").find("cpu").column("usage")
    assert after.number != before.number
    assert after.former == ((before.number, Kind.FLOAT8),)


def test_a_new_type_of_the_same_kind_keeps_the_number() -> None:
    changes: list[SchemaChange] = [
        AddColumn("d", "cpu", ColumnDefinition("n", Role.FIELD, INT8)),
        AlterColumnType("d", "cpu", "n", INT4),
    ]
    column = catalog(*changes).find("d").find("cpu").column("n")
    assert column.type is INT4
    assert column.former == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (CreateDatabase("d"), errors.DuplicateDatabase),
        (CPU, errors.DuplicateTable),
        (DropDatabase("x"), errors.InvalidCatalogName),
        (DropSeries("d", "x"), errors.UndefinedTable),
        (RenameSeries("d", "cpu", "cpu"), errors.DuplicateTable),
        (AddColumn("d", "cpu", USAGE), errors.DuplicateColumn),
        (AddColumn("d", "cpu", ColumnDefinition("sequence", Role.FIELD, INT8)), errors.ReservedName),
        (AddColumn("d", "cpu", ColumnDefinition("t", Role.TIME, INT8)), errors.InvalidTableDefinition),
        (AddColumn("d", "cpu", ColumnDefinition("", Role.FIELD, INT8)), errors.InvalidName),
        (AddColumn("d", "cpu", ColumnDefinition("x" * 256, Role.FIELD, INT8)), errors.InvalidName),
        (DropColumn("d", "cpu", "nope"), errors.UndefinedColumn),
        (DropColumn("d", "cpu", "host"), errors.FeatureNotSupported),
        (RenameColumn("d", "cpu", "usage", "host"), errors.DuplicateColumn),
        (AlterColumnType("d", "cpu", "usage", BOOL), errors.DatatypeMismatch),
        (CreateSeries("d", "x", (HOST,), keyed=True), errors.InvalidTableDefinition),
        (CreateSeries("d", "x", (LINE_PROTOCOL_TIME, HOST, HOST), keyed=True), errors.DuplicateColumn),
        (CreateSeries("d", "x", (LINE_PROTOCOL_TIME,), keyed=True, key=("y",)), errors.UndefinedColumn),
    ],
)
def test_what_cannot_be_is_refused_by_its_condition(change: SchemaChange, error: type[Exception]) -> None:
    with pytest.raises(error):
        catalog(change)


def test_two_writers_may_add_the_same_column_at_once_but_not_with_different_types() -> None:
    again = AddColumn("d", "cpu", USAGE, if_not_exists=True)
    assert catalog(again).version == catalog().version
    with pytest.raises(errors.DuplicateColumn):
        catalog(AddColumn("d", "cpu", ColumnDefinition("usage", Role.FIELD, TEXT), if_not_exists=True))


def test_a_retention_floor_never_moves_back() -> None:
    moved = catalog(SetRetention("d", "cpu", 10, 500), SetRetention("d", "cpu", None, 100))
    assert moved.find("d").find("cpu").floor_ns == 500


def test_not_null_and_default_change_alone() -> None:
    changed = catalog(
        AlterColumn("d", "cpu", "usage", not_null=True), AlterColumn("d", "cpu", "usage", None, True, "1")
    )
    column = changed.find("d").find("cpu").column("usage")
    assert (column.not_null, column.default) == (True, "1")


NAMES = st.sampled_from(["a", "b", "c"])
CHANGES = st.one_of(
    st.builds(CreateDatabase, NAMES),
    st.builds(DropDatabase, NAMES),
    st.builds(CreateSeries, NAMES, NAMES, st.just((LINE_PROTOCOL_TIME, HOST, USAGE)), st.booleans()),
    st.builds(DropSeries, NAMES, NAMES),
    st.builds(RenameSeries, NAMES, NAMES, NAMES),
    st.builds(AddColumn, NAMES, NAMES, st.builds(ColumnDefinition, NAMES, st.just(Role.FIELD), st.just(INT8))),
    st.builds(DropColumn, NAMES, NAMES, NAMES),
    st.builds(AlterColumnType, NAMES, NAMES, NAMES, st.sampled_from([TEXT, FLOAT8, INT8])),
)


@given(st.lists(CHANGES, max_size=40))
def test_numbers_are_given_once_whatever_happens(changes: list[SchemaChange]) -> None:
    now = Catalog()
    owners: dict[tuple[str, int], object] = {}
    for change in changes:
        try:
            now = apply(now, [change])
        except errors.TsdbError:
            continue
        for database in now.databases.values():
            for series in database.series.values():
                assert owners.setdefault(("series", series.number), database.number) == database.number
                for column in series.columns:
                    assert owners.setdefault(("column", column.number), series.number) == series.number
                    assert column.number < now.next_column
                assert series.number < now.next_series


NAMES = st.sampled_from(["a", "b"])
CHANGES = st.one_of(
    st.builds(CreateDatabase, NAMES),
    st.builds(DropDatabase, NAMES),
    st.builds(RenameDatabase, NAMES, NAMES),
    st.builds(CreateSeries, NAMES, NAMES, st.just((LINE_PROTOCOL_TIME, HOST, USAGE)), st.just(True)),
    st.builds(DropSeries, NAMES, NAMES),
    st.builds(RenameSeries, NAMES, NAMES, NAMES),
    st.builds(AddColumn, NAMES, NAMES, st.sampled_from([USAGE, ColumnDefinition("x", Role.FIELD, INT8)])),
    st.builds(DropColumn, NAMES, NAMES, st.just("usage")),
    st.builds(AlterColumnType, NAMES, NAMES, st.just("usage"), st.sampled_from([INT8, TEXT])),
    st.builds(SetRetention, NAMES, NAMES, st.just(None), st.integers(0, 9)),
    st.builds(SetSlots, NAMES, NAMES, st.sampled_from([1, 2, 256]), st.integers(-3, 3)),
    st.builds(SettleSlots, NAMES, NAMES, st.integers(-3, 3), st.booleans()),
)


def listing(c: Catalog) -> tuple[object, ...]:
    """All there is in a catalog, looked up by name and by number."""
    databases = {name: (d.number, d.name, dict(d.series)) for name, d in c.databases.items()}
    by_number = {n: (d.name, d.number, s) for n, (d, s) in c.series_by_number.items()}
    assert by_number == {s.number: (d.name, d.number, s) for d in c.databases.values() for s in d.series.values()}
    assert len(c.series_by_number) == len(by_number)
    return (c.version, databases, by_number, c.next_database, c.next_series, c.next_column, c.next_location)


@given(st.lists(CHANGES, max_size=25), st.lists(CHANGES, max_size=8))
def test_changes_at_once_are_changes_one_by_one_and_leave_the_catalog_before_as_it_was(
    first: list[SchemaChange], then: list[SchemaChange]
) -> None:
    before = Catalog()
    for change in [CreateDatabase("a"), *first]:
        with contextlib.suppress(errors.TsdbError):
            before = apply(before, [change])
    seen = listing(before)
    one_by_one = before
    series: set[int] = set()
    databases: set[int] = set()
    try:
        for change in then:
            done = applied(one_by_one, [change])
            one_by_one = done.catalog
            series |= done.series
            databases |= done.databases
    except errors.TsdbError as error:
        with pytest.raises(type(error)):
            apply(before, then)
    else:
        at_once = applied(before, then)
        assert listing(at_once.catalog) == listing(one_by_one)
        assert (set(at_once.series), set(at_once.databases)) == (series, databases)
    assert listing(before) == seen


def test_a_change_of_nothing_gives_the_same_catalog() -> None:
    before = catalog()
    assert apply(before, []) is before
    assert apply(before, [AddColumn("d", "cpu", USAGE, if_not_exists=True)]) is before


def test_twenty_thousand_series_are_made_in_one_change_within_a_second_or_two() -> None:
    made = [CreateSeries("d", f"m{i}", (LINE_PROTOCOL_TIME, HOST, USAGE), keyed=True) for i in range(20_000)]
    started = time.process_time()
    assert len(catalog(*made).series_by_number) == 20_001
    assert time.process_time() - started < 4


def test_slots_follow_one_another_and_a_wish_is_settled_once() -> None:
    wished = catalog(SetSlots("d", "cpu", 8, 10))
    assert wished.find("d").find("cpu").slots == (Slots(10, 3, settled=False),)
    assert wished.find("d").slots_by_number.keys() == {wished.find("d").find("cpu").number}
    for wrong in (SettleSlots("d", "cpu", 11), SettleSlots("d", "other", 10)):
        with pytest.raises(errors.TsdbError):
            apply(wished, [wrong])
    again = apply(wished, [SetSlots("d", "cpu", 4, 9)])
    assert again.find("d").find("cpu").slots == (Slots(9, 2, settled=False),), "the last wish counts"
    settled = apply(again, [SettleSlots("d", "cpu", 9)])
    assert settled.find("d").find("cpu").slots == (Slots(9, 2),)
    with pytest.raises(errors.TsdbError, match="somebody else"):
        apply(settled, [SettleSlots("d", "cpu", 9)])
    with pytest.raises(errors.TsdbError, match="changed just now"):
        apply(settled, [SetSlots("d", "cpu", 1, 9)])
    dropped = apply(settled, [SetSlots("d", "cpu", 1, 10), SettleSlots("d", "cpu", 10, dropped=True)])
    assert dropped.find("d").find("cpu").slots == (Slots(9, 2),)
    with pytest.raises(errors.TsdbError, match="no power of two"):
        apply(settled, [SetSlots("d", "cpu", 3, 10)])
