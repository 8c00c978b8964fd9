"""Our own functions as \\df and drivers see them."""

from __future__ import annotations

import re

import pytest

from tests.sql.answers import ask
from tests.timeseries.points import Point, view_of
from tsdb.sql.bind.calls import SPECIAL
from tsdb.sql.catalog import static
from tsdb.sql.catalog.own_functions import own_functions
from tsdb.sql.expressions.functions import aggregates, timeseries
from tsdb.sql.query import Queries

VIEW = view_of([Point(0, "a", 1.0)])
# \df's query, as psql 15 sends it, without the schemas it leaves out.
DF = """SELECT n.nspname, p.proname, pg_catalog.pg_get_function_result(p.oid),
        pg_catalog.pg_get_function_arguments(p.oid), CASE p.prokind WHEN 'a' THEN 'agg' ELSE 'func' END
    FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2, 4"""


def test_df_lists_our_functions(queries: Queries) -> None:
    rows = ask(queries, VIEW, DF)[1]
    assert {row[0] for row in rows} == {"public"}
    assert len(rows) == len(own_functions())
    assert ("public", "last", "anyelement", 'value anyelement, "time" "any"', "agg") in rows


def test_every_function_of_the_tables_is_listed() -> None:
    listed = {f.name for f in own_functions()}
    builtin = {name for (name,) in static.values("pg_proc", "proname")}
    assert set(timeseries.TABLE) <= listed
    assert listed <= set(SPECIAL) | set(aggregates.AGGREGATES)
    assert listed & builtin == set()


def test_numbers_are_given_once_and_mean_the_function(queries: Queries) -> None:
    taken = {oid for (oid,) in static.values("pg_proc", "oid")}
    oids = [f.oid for f in own_functions()]
    assert len(set(oids)) == len(oids)
    assert not taken & set(oids)
    text = "SELECT oid FROM pg_proc WHERE oid = 'public.locf(anyelement,anyelement,boolean)'::regprocedure"
    assert ask(queries, VIEW, text)[1] == [(next(f.oid for f in own_functions() if f.name == "locf"),)]


@pytest.mark.parametrize("name", ["time_bucket", "histogram", "interpolate"])
def test_a_definition_can_be_shown(queries: Queries, name: str) -> None:
    oid = next(f.oid for f in own_functions() if f.name == name)
    text = ask(queries, VIEW, f"SELECT pg_get_functiondef({oid})")[1][0][0]
    assert re.match(rf"CREATE OR REPLACE FUNCTION public\.{name}\(", text)
