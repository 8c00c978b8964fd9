"""Views of information_schema that are read as PostgreSQL reads them: the query that PostgreSQL 15 has for each, over
pg_catalog (``tsdb.sql.catalog`` holds the texts). Those that clients ask for all the time have rows of their own
(``live_information``), which costs less than their queries do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sqlglot import exp

from tsdb.errors import TsdbError
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.view import output_columns
from tsdb.sql.catalog import definitions
from tsdb.sql.catalog.relations import SystemRelation
from tsdb.sql.catalog.static import INFORMATION_SCHEMA
from tsdb.sql.expressions.relation import Relation
from tsdb.sql.statement import Fragment, Select, parse

_BY_QUERY = frozenset({
    "administrable_role_authorizations", "applicable_roles", "collation_character_set_applicability",
    "column_domain_usage", "column_privileges", "column_udt_usage", "constraint_table_usage", "data_type_privileges",
    "domain_constraints", "domain_udt_usage", "domains", "parameters", "role_column_grants", "role_routine_grants",
    "role_udt_grants", "role_usage_grants", "routine_privileges", "routines", "udt_privileges",
    "usage_privileges",
})  # fmt: skip


def is_one(found: SystemRelation) -> bool:
    """Whether a system relation's rows are those of its query."""
    return found.schema == INFORMATION_SCHEMA and found.described.name in _BY_QUERY


def bound(binder: Binder, name: str, found: SystemRelation) -> tuple[str, Relation]:
    """The text of such a view in FROM, and its relation."""
    before = binder.frame, binder.refused, binder.windows
    # Its names are those of the system: a table of the same name in the search path is not meant.
    binder.frame, binder.refused, binder.windows, binder.form = {}, "", {}, "extended"
    try:
        query = binder.bind_query(binder, _tree(found.oid), None)
    except TsdbError as error:
        error.position = None
        raise
    finally:
        binder.frame, binder.refused, binder.windows = before
    columns = [
        replace(made, name=column.name, typmod=column.typmod, number=column.number)
        for made, column in zip(output_columns(query.outputs), found.described.columns, strict=True)
    ]
    relation = Relation(name, binder.alias(), columns, block=query.block, schema=found.schema, oid=found.oid)
    return f"({query.sql}) AS {relation.alias}", relation


@lru_cache(maxsize=64)
def _tree(oid: int) -> exp.Expr:
    statement = parse(Fragment(definitions.system_views()[oid].rstrip().rstrip(";")))
    assert isinstance(statement, Select), "a view is a query"
    return statement.tree
