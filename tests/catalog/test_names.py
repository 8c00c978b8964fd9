"""Names and OIDs, both ways, and the texts of definitions."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from tests.fixtures.postgres import Connection
from tsdb.model.schema import Catalog, CreateDatabase, apply
from tsdb.sql.catalog import names, sizes, static
from tsdb.sql.catalog.outline import outline_of, quote_ident

OUTLINE = outline_of(apply(Catalog(), [CreateDatabase("tsdb")]), "tsdb")


@pytest.mark.parametrize(
    ("kind", "relation"),
    [("regtype", "pg_type"), ("regprocedure", "pg_proc"), ("regoperator", "pg_operator"), ("regclass", "pg_class")],
)
def test_every_name_leads_back_to_its_oid(kind: str, relation: str) -> None:
    oids = [oid for (oid,) in static.values(relation, "oid")]
    assert [oid for oid in oids if names.number(kind, OUTLINE, names.name(kind, OUTLINE, oid)) != oid] == []


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_name_is_read_as_it_was(name: str) -> None:
    assert names.parts(quote_ident(name)) == [name]
    assert names.parts(f"{quote_ident(name)}.{quote_ident(name)}") == [name, name]


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", 'a"b', '"a', "a b", "a..b", '""'])
def test_what_is_no_name_is_refused(text: str, ours: psycopg.Connection) -> None:
    with pytest.raises(errors.InvalidName):
        ours.execute("SELECT %s::text::regclass", (text,))


def test_names_and_oids_are_cast_both_ways(ours: psycopg.Connection) -> None:
    row = ours.execute(
        "SELECT 'metrics'::regclass, 'metrics'::regclass::oid::regclass::text, '\"Odd name\"'::regclass::text,"
        " 'public.metrics'::regclass = 'metrics'::regclass, 23::regtype, 'int4[]'::regtype::text, 'now'::regproc,"
        " to_regclass('nothing'), 0::regclass::text, 4000000000::oid::regclass::text, 10::regrole"
    ).fetchone()
    assert row == (
        "metrics", "metrics", '"Odd name"', True, "integer", "integer[]", "now", None, "-", "4000000000", "tsdb",
    )  # fmt: skip


def test_a_name_that_is_not_there_is_postgres_error(ours: psycopg.Connection) -> None:
    with pytest.raises(errors.UndefinedTable, match='relation "nothing" does not exist'):
        ours.execute("SELECT 'nothing'::regclass")
    with pytest.raises(errors.UndefinedObject, match='type "nothing" does not exist'):
        ours.execute("SELECT 'nothing'::regtype")
    with pytest.raises(errors.UndefinedFunction):
        ours.execute("SELECT 'nothing'::regproc")
    with pytest.raises(errors.InvalidSchemaName):
        ours.execute("SELECT 'nowhere.metrics'::regclass")


@pytest.mark.postgres
def test_types_functions_and_operators_print_as_in_postgres(postgres_15: Connection) -> None:
    """All of them, with their modifiers."""
    for kind, relation in (("regtype", "pg_type"), ("regprocedure", "pg_proc"), ("regoperator", "pg_operator")):
        rows = postgres_15.execute(
            f"SELECT oid, oid::{kind}::text FROM {relation} WHERE oid < 11000".encode()
        ).fetchall()
        known = {oid for (oid,) in static.values(relation, "oid")}
        differ = [(o, t, names.name(kind, OUTLINE, o)) for o, t in rows if o in known]  # type: ignore[arg-type]
        assert [d for d in differ if d[1] != d[2]] == []


@pytest.mark.postgres
def test_format_type_is_postgres(ours: psycopg.Connection, postgres_15: Connection) -> None:
    text = (
        "SELECT t, m, format_type(t, m) FROM unnest(ARRAY[16,17,18,19,20,23,25,26,1042,1043,1082,1083,1114,1184,"
        "1700,2205,1009,1015,1231,1185,22,30,0,99999]::oid[]) t, unnest(ARRAY[-1, 3, 10, 786441]) m ORDER BY 1, 2"
    )
    assert ours.execute(text.encode()).fetchall() == postgres_15.execute(text.encode()).fetchall()


@pytest.mark.postgres
def test_sizes_are_pretty_as_in_postgres(postgres_15: Connection) -> None:
    edges = [b * 1024**k + d for k in range(5) for b in (1, 5, 10, 20) for d in (-513, -512, -511, -1, 0, 1, 511, 512)]
    values = [sign * v for v in edges for sign in (1, -1)]
    rows = postgres_15.execute("SELECT v, pg_size_pretty(v) FROM unnest(%s::int8[]) v", (values,)).fetchall()
    assert [r for r in rows if sizes.pretty(r[0]) != r[1]] == []  # type: ignore[arg-type]
