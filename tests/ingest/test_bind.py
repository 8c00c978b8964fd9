"""Schema on write: what is missing, what fits, what is refused and how that is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tsdb.errors import UndefinedColumn, UndefinedTable
from tsdb.ingest.bind import Bound, bind, missing
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Parsed, parse
from tsdb.model import schema
from tsdb.model.points import decode_tagset
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    MAX_COLUMNS,
    AddColumn,
    Catalog,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    Database,
    Role,
)
from tsdb.types import BOOL, FLOAT4, FLOAT8, INT2, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ, UINT8, SqlType

EMPTY = schema.apply(Catalog(), [CreateDatabase("db")])


def parsed(body: str) -> Parsed:
    return parse(body.encode(), now_ns=7)


def database(catalog: Catalog) -> Database:
    return catalog.databases["db"]


def written(catalog: Catalog, body: str) -> tuple[Catalog, Bound]:
    """The catalog after what the body needs, and the bound body."""
    lines = parsed(body)
    catalog = schema.apply(catalog, missing(lines, database(catalog)))
    assert missing(lines, database(catalog)) == ()
    return catalog, bind(lines, database(catalog))


def table(*columns: ColumnDefinition, keyed: bool = True, reference: bool = False) -> Catalog:
    time = () if reference else (LINE_PROTOCOL_TIME,)
    return schema.apply(EMPTY, [CreateSeries("db", "m", (*time, *columns), keyed=keyed, reference=reference)])


def rows(bound: Bound) -> list[dict[str, object]]:
    """Each point as column name → value, by series and then as written."""
    found = []
    for points in bound.points:
        by_number = points.series.by_number
        for row in range(len(points)):
            tags = decode_tagset(points.tagsets[points.tagset[row]])
            point: dict[str, object] = {by_number[number].name: value for number, value in tags.items()}
            point |= {by_number[number].name: values[row].as_py() for number, values in points.fields.items()}
            found.append(point)
    return found


def messages(bound: Bound) -> list[tuple[int, str]]:
    return [(error.line_number, error.message) for error in bound.errors]


def test_a_new_measurement_is_a_keyed_series_with_its_tags_and_fields() -> None:
    (change,) = missing(parsed('cpu,b=1,a=2 f=1,i=2i,u=3u,ok=t,s="x"'), database(EMPTY))
    assert change == CreateSeries(
        "db",
        "cpu",
        (
            LINE_PROTOCOL_TIME,
            ColumnDefinition("a", Role.TAG, TEXT),
            ColumnDefinition("b", Role.TAG, TEXT),
            ColumnDefinition("f", Role.FIELD, FLOAT8),
            ColumnDefinition("i", Role.FIELD, INT8),
            ColumnDefinition("u", Role.FIELD, UINT8),
            ColumnDefinition("ok", Role.FIELD, BOOL),
            ColumnDefinition("s", Role.FIELD, TEXT),
        ),
        keyed=True,
        if_not_exists=True,
    )


def test_new_tags_and_fields_are_added_to_a_series() -> None:
    catalog, _ = written(EMPTY, "m,a=1 f=1")
    assert missing(parsed("m,a=1,b=1 f=1,g=t\nm,a=2 h=1i"), database(catalog)) == (
        AddColumn("db", "m", ColumnDefinition("b", Role.TAG, TEXT), if_not_exists=True),
        AddColumn("db", "m", ColumnDefinition("g", Role.FIELD, BOOL), if_not_exists=True),
        AddColumn("db", "m", ColumnDefinition("h", Role.FIELD, INT8), if_not_exists=True),
    )


def test_points_hold_tags_by_value_and_fields_with_nulls() -> None:
    _, bound = written(EMPTY, 'm,a=1 f=1,s="x" 10\nm,b=2 s="y",ok=f 20\nm f=3,u=18446744073709551615u 30\nn f=1')
    assert rows(bound) == [
        {"a": "1", "f": 1.0, "s": "x", "ok": None, "u": None},
        {"b": "2", "f": None, "s": "y", "ok": False, "u": None},
        {"f": 3.0, "s": None, "ok": None, "u": 2**64 - 1},
        {"f": 1.0},
    ]
    assert [points.times.tolist() for points in bound.points] == [[10, 20, 30], [7]]
    assert all(
        values.type == points.series.by_number[number].kind.arrow
        for points in bound.points
        for number, values in points.fields.items()
    )


def test_integers_and_floats_in_one_new_body_make_a_float_field() -> None:
    catalog, bound = written(EMPTY, "m f=1i\nm f=2.5\nm f=3i")
    assert database(catalog).series["m"].by_name["f"].type == FLOAT8
    assert rows(bound) == [{"f": 1.0}, {"f": 2.5}, {"f": 3.0}]


def test_the_first_type_in_a_new_body_wins_and_the_other_lines_are_conflicts() -> None:
    _, bound = written(EMPTY, 'm value=1 1\nm value="x" 2\nm value=t 3\nm value=4u 4\nm value=5i 5')
    conflict = 'field type conflict: input field "value" on measurement "m" is type {}, already exists as type float'
    assert messages(bound) == [
        (2, conflict.format("string")),
        (3, conflict.format("boolean")),
        (4, conflict.format("unsigned")),
    ]
    assert bound.error_count == 3
    assert [points.times.tolist() for points in bound.points] == [[1, 5]]


@pytest.mark.parametrize(
    ("type_", "fitting", "refused"),
    [
        (FLOAT8, {"1": 1.0, "-2i": -2.0}, {"1u": "unsigned", "t": "boolean", '"1"': "string"}),
        (INT8, {"1i": 1, "5u": 5}, {"1": "float", "t": "boolean", '"1"': "string"}),
        (UINT8, {"1u": 1}, {"1i": "integer", "1": "float", "t": "boolean", '"1"': "string"}),
        (BOOL, {"t": True}, {"1i": "integer", "1": "float", "1u": "unsigned", '"t"': "string"}),
        (TEXT, {'"t"': "t"}, {"1i": "integer", "1": "float", "1u": "unsigned", "t": "boolean"}),
        (TIMESTAMPTZ, {}, {"1i": "integer", '"2026-01-01"': "string"}),
        (NUMERIC, {}, {"1i": "integer", "1": "float", '"1"': "string"}),
        (INT4, {"1i": 1, "5u": 5}, {"1": "float"}),
        (FLOAT4, {"0.5": 0.5, "0.1": float(np.float32(0.1)), "2i": 2.0}, {"1u": "unsigned"}),
    ],
)
def test_what_a_field_takes_and_what_it_refuses(
    type_: SqlType, fitting: dict[str, object], refused: dict[str, str]
) -> None:
    catalog = table(ColumnDefinition("f", Role.FIELD, type_))
    body = "\n".join(f"m f={value}" for value in [*fitting, *refused])
    bound = bind(parsed(body), database(catalog))
    assert [row["f"] for row in rows(bound)] == list(fitting.values())
    existing = {"float8": "float", "int8": "integer", "numeric": "unsigned", "bool": "boolean", "text": "string"}
    name = existing.get(type_.typname, type_.name) if type_ is not NUMERIC else "numeric"
    assert {message for _, message in messages(bound)} == {
        f'field type conflict: input field "f" on measurement "m" is type {kind}, already exists as type {name}'
        for kind in refused.values()
    }
    assert bound.error_count == len(refused)


def test_a_value_out_of_its_columns_range_is_refused() -> None:
    catalog = table(
        ColumnDefinition("small", Role.FIELD, INT2),
        ColumnDefinition("big", Role.FIELD, INT8),
        ColumnDefinition("real", Role.FIELD, FLOAT4),
    )
    values = ("small=32767i", "small=32768i", "small=-32769i", "big=9223372036854775808u", "big=9223372036854775807u")
    body = "".join(f"m {value}\n" for value in (*values, "real=1e39"))
    bound = bind(parsed(body), database(catalog))
    assert messages(bound) == [
        (2, 'value of field "small" on measurement "m" is out of range for type smallint'),
        (3, 'value of field "small" on measurement "m" is out of range for type smallint'),
        (4, 'value of field "big" on measurement "m" is out of range for type bigint'),
        (6, 'value of field "real" on measurement "m" is out of range for type real'),
    ]
    assert rows(bound) == [
        {"small": 32767, "big": None, "real": None},
        {"small": None, "big": 2**63 - 1, "real": None},
    ]


def test_a_line_refused_for_one_field_is_refused_whole() -> None:
    catalog, _ = written(EMPTY, "m f=1")
    _, bound = written(catalog, 'm g=1,f="x" 1\nm g=2,f=2 2')
    assert rows(bound) == [{"g": 2.0, "f": 2.0}]
    assert bound.error_count == 1


def test_the_first_line_decides_whether_a_name_is_a_tag_or_a_field() -> None:
    _, bound = written(EMPTY, "m,a=1 f=1 1\nm a=2 2\nm b=1 3\nm,b=1 f=1 4")
    assert messages(bound) == [(2, '"a" is a tag of "m", not a field'), (4, '"b" is a field of "m", not a tag')]
    assert [points.times.tolist() for points in bound.points] == [[1, 3]]


def test_the_time_column_is_neither_tag_nor_field() -> None:
    catalog = schema.apply(EMPTY, [CreateSeries("db", "m", (replace(LINE_PROTOCOL_TIME, name="at"),), keyed=True)])
    _, bound = written(catalog, "m at=1\nm,at=x f=1\nm f=2")
    assert messages(bound) == [(1, '"at" is the time of "m", not a field'), (2, '"at" is the time of "m", not a tag')]
    assert rows(bound) == [{"f": 2.0}]


def test_a_tag_column_of_another_type_takes_no_text() -> None:
    catalog = table(ColumnDefinition("id", Role.TAG, INT4))
    _, bound = written(catalog, "m,id=7 f=1\nm f=2")
    assert messages(bound) == [(1, 'tag "id" of "m" is of type integer, not text')]


def test_a_reference_table_refuses_its_lines() -> None:
    catalog = table(ColumnDefinition("f", Role.FIELD, FLOAT8), reference=True)
    catalog, bound = written(catalog, "m,new=1 f=1\nok f=1\nm f=2")
    message = '"m" is a reference table without a time: write to it with SQL'
    assert messages(bound) == [(1, message), (3, message)]
    assert rows(bound) == [{"f": 1.0}]
    assert "new" not in database(catalog).series["m"].by_name


def test_a_series_without_a_key_takes_every_line() -> None:
    catalog = table(ColumnDefinition("f", Role.FIELD, FLOAT8), keyed=False)
    _, bound = written(catalog, "m f=1 1\nm f=1 1")
    assert messages(bound) == []
    assert rows(bound) == [{"f": 1.0}, {"f": 1.0}]


def test_not_null_holds() -> None:
    catalog = table(
        ColumnDefinition("host", Role.TAG, TEXT, not_null=True),
        ColumnDefinition("f", Role.FIELD, FLOAT8, not_null=True),
    )
    _, bound = written(catalog, "m,host=a f=1 1\nm f=1 2\nm,host=a g=1 3")
    assert messages(bound) == [
        (2, 'null value in column "host" violates not-null constraint'),
        (3, 'null value in column "f" violates not-null constraint'),
    ]


def test_a_series_full_of_columns_refuses_only_lines_with_further_ones() -> None:
    catalog = table(*(ColumnDefinition(f"x{i}", Role.FIELD, FLOAT8) for i in range(MAX_COLUMNS - 3)))
    catalog, bound = written(catalog, "m,a=1 f=1\nm g=1\nm,b=1 f=1\nm,a=2 f=2\nm x1=1")
    assert len(database(catalog).series["m"].columns) == MAX_COLUMNS
    assert messages(bound) == [
        (2, f'"m" has {MAX_COLUMNS} columns already: no room for "g"'),
        (3, f'"m" has {MAX_COLUMNS} columns already: no room for "b"'),
    ]
    assert len(bound.points[0]) == 3


def test_a_schema_that_lacks_something_raises_so_that_missing_is_asked_again() -> None:
    with pytest.raises(UndefinedTable):
        bind(parsed("m f=1"), database(EMPTY))
    catalog, _ = written(EMPTY, "m,a=1 f=1")
    with pytest.raises(UndefinedColumn):
        bind(parsed("m,a=1 g=1"), database(catalog))
    with pytest.raises(UndefinedColumn):
        bind(parsed("m,b=1 f=1"), database(catalog))


def test_conflicts_are_capped_and_counted_exactly_without_the_parsers_errors() -> None:
    catalog, _ = written(EMPTY, "m f=1")
    lines = parse(b"m f=t\n" * 300 + b"bad\n", now_ns=0, limits=Limits(errors_max=5))
    bound = bind(lines, database(catalog))
    assert [error.line_number for error in bound.errors] == [1, 2, 3, 4, 5]
    assert bound.error_count == 300
    assert bound.points == []


def test_tag_sets_follow_the_numbers_of_their_columns_across_databases() -> None:
    other = schema.apply(EMPTY, [CreateSeries("db", "x", (LINE_PROTOCOL_TIME,), keyed=True)])
    for catalog in (EMPTY, other, EMPTY):
        _, bound = written(catalog, "m,a=1,b=2 f=1")
        assert rows(bound) == [{"a": "1", "b": "2", "f": 1.0}]
